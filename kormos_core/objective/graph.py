"""The objective inside a trace, and what compiles functions of it.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); all float64 tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, final

import keras

from kormos_core.errors import KormosError, UnsupportedError
from kormos_core.objective.curvature import STEPS
from kormos_core.objective.gauss_newton import GAUSS_NEWTON
from kormos_core.objective.kinds import FINITE_DIFFERENCE
from kormos_core.objective.rows import DENSE, Squares, fold_rows
from kormos_core.objective.sweep import Data, Inputs, Slices, Whole
from kormos_core.objective.whole_jacobian import whole_jacobian

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.backends import Forward, Product
    from kormos_core.objective.rows import Rows
    from kormos_core.objective.sweep import Sweep

__all__ = ["EPSILON", "Graph", "Traceable"]

EPSILON = {
    "float64": 2.220446049250313e-16,
    "float32": 1.1920928955078125e-07,
    "float16": 0.0009765625,
    "bfloat16": 0.0078125,
}
"""Relative rounding error of the dtypes that a loss is computed in."""


class Traceable(Protocol):
    """What one batch contributes: traceable functions of tensors.

    Attributes
    ----------
    faults : list of Exception
        What was raised while a function was traced or run, where it does not pass as it is.
    """

    faults: list[Exception]

    def loss(self, x: Any, inputs: Inputs, /) -> Any:
        """Return the part of the loss at `x` that a batch `inputs` gives, scalar, float64."""
        ...

    def slope(self, x: Any, inputs: Inputs, /) -> tuple[Any, Any]:
        """Return that part, and the part of the gradient, shape (n,), that `inputs` gives."""
        ...

    def product(self, kind: str, x: Any, inputs: Inputs, /) -> Product:
        """Return the function of a `kind` from ``v`` to the part of ``H(x) v`` of `inputs`."""
        ...

    def alone(self, x: Any, inputs: Inputs, /) -> Inputs:
        """Return `inputs` that count as if they were the whole data at `x`."""
        ...

    def forward(self, inputs: Inputs, /) -> Forward:
        """Return what the loss of `inputs` is a sum of squares of, and what makes it."""
        ...

    def unusable(self, error: Exception, /) -> KormosError:
        """Return what to raise from an `error` of the backend or of what was traced."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The whole loss as tensors in, tensors out (`kormos_core.loop.GraphObjective`).

    Attributes
    ----------
    size : int
        Number of parameters n.
    precision : str
        Dtype that the loss is computed in.
    batch : Traceable
        What one batch contributes.
    kind : str
        Kind of Hessian product.
    sweep : Sweep
        The way through the data.
    data : Data
        The data as tensors of the trace.
    mean : bool
        Whether a batch counts with its share of the samples.
    divisible : bool
        Whether some of the samples estimate the loss of all: not so for sums.
    rows : str
        How rows of the Jacobian of residuals are made.
    penalty : ndarray, shape (n,), float64, or None
        What parameters are multiplied by to be residuals too, for their regularization.
    """

    size: int
    precision: str
    batch: Traceable
    kind: str
    sweep: Sweep
    data: Data
    mean: bool
    divisible: bool = True
    rows: str = DENSE
    penalty: NDArray[np.float64] | None = None

    @property
    def epsilon(self) -> float:
        """Relative rounding error of the loss."""
        return EPSILON[self.precision]

    def on(self, data: Data | None) -> Graph:
        """Return the same objective on other data of the same kind.

        Parameters
        ----------
        data : Data or None
            The data; None where there is none yet.

        Returns
        -------
        Graph
            The objective.
        """
        return replace(self, data=data)  # type: ignore[arg-type]

    def value(self, x: Any) -> Any:
        """Return the loss, scalar, at ``x``, shape (n,).

        Parameters
        ----------
        x : tensor, shape (n,)
            The parameters.

        Returns
        -------
        tensor, scalar
            The loss.
        """
        zeros = [keras.ops.zeros((), "float64")]
        return self._total(lambda inputs: [self.batch.loss(x, inputs)], zeros)[0]

    def value_and_grad(self, x: Any) -> tuple[Any, Any]:
        """Return the loss, scalar, and its gradient, shape (n,), at ``x``, shape (n,)."""
        zeros = [keras.ops.zeros((), "float64"), keras.ops.zeros((self.size,), "float64")]
        f, g = self._total(lambda inputs: list(self.batch.slope(x, inputs)), zeros)
        return f, g

    def hvp_at(self, x: Any, *, fraction: float = 1.0, part: Any = 0) -> Product:
        """Return the function that multiplies directions with the Hessian at one point.

        Parameters
        ----------
        x : tensor, shape (n,)
            The point.
        fraction : float
            Share of the samples that the Hessian is estimated from.
        part : tensor, scalar, int32
            Which samples these are: part 0, 1, 2, ... of the data, taken in turn.

        Returns
        -------
        callable
            Gives ``hv``, shape (n,), for a direction of shape (n,).

        Raises
        ------
        UnsupportedError
            If a fraction is asked of data or a loss that cannot be divided.
        """
        if fraction < 1.0:
            return self._estimate(x, fraction, part)
        if self.kind == FINITE_DIFFERENCE:
            return lambda v: self._difference(x, v)
        if isinstance(self.sweep, Whole):
            return self.batch.product(self.kind, x, Inputs(*self.data))
        zeros = [keras.ops.zeros((self.size,), "float64")]

        def product(v: Any) -> Any:
            return self._total(
                lambda inputs: [self.batch.product(self.kind, x, inputs)(v)], zeros
            )[0]

        return product

    def gauss_newton_at(self, x: Any) -> Product:
        """Return the function that multiplies directions with ``J' J`` at one point.

        Parameters
        ----------
        x : tensor, shape (n,)
            The point.

        Returns
        -------
        callable
            Gives a tensor of shape (n,) for a direction of shape (n,).
        """
        return replace(self, kind=GAUSS_NEWTON).hvp_at(x)

    def normal_equations(self, x: Any) -> Squares:
        """Return loss, gradient and ``J' J`` of a sum of squares, in one sweep.

        Parameters
        ----------
        x : tensor, shape (n,)
            The point.

        Returns
        -------
        Squares
            ``matrix`` is ``J' J``, shape (n, n).
        """
        ops = keras.ops

        def step(totals: list[Any], rows: Rows, weight: Any) -> list[Any]:
            f, g, gram = totals
            half = 0.5 * weight * ops.sum(ops.square(rows.r))
            across = ops.transpose(rows.jac)
            slope = ops.matmul(across, rows.r)
            return [f + half, g + weight * slope, gram + weight * ops.matmul(across, rows.jac)]

        zeros = [ops.zeros((), "float64"), ops.zeros((self.size,), "float64")]
        zeros.append(ops.zeros((self.size, self.size), "float64"))
        f, g, gram = self._fold_rows(x, step, zeros, lambda total: total)
        d = self._penalty_tensor()
        if d is None:
            return Squares(f, g, gram)
        half = 0.5 * ops.sum(ops.square(d * x))
        return Squares(f + half, g + d * d * x, gram + ops.diag(ops.square(d)))

    def triangle(self, x: Any) -> Squares:
        """Return loss, gradient and the triangular factor of a sum of squares, in one sweep.

        Batch by batch the factor of what has been seen is stacked upon the next rows and
        made triangular again, so that memory is that of one batch and nothing is squared.

        Parameters
        ----------
        x : tensor, shape (n,)
            The point.

        Returns
        -------
        Squares
            ``matrix`` is upper triangular, shape (n, n), with ``matrix' matrix == J' J``.

        References
        ----------
        A. Bjorck, "Numerical Methods for Least Squares Problems", SIAM, 1996,
        doi:10.1137/1.9781611971484, section 6.2 (sequential orthogonalization by blocks).
        """
        ops = keras.ops
        n = self.size

        def stacked(factor: Any, jac: Any, r: Any) -> list[Any]:
            both = ops.concatenate([jac, ops.expand_dims(r, 1)], axis=1)
            triangle = ops.qr(ops.concatenate([factor, both], axis=0))[1]
            # of a stream's rows the number is not known, of the factor's it is
            return [ops.reshape(triangle, (n + 1, n + 1))]

        def step(state: list[Any], rows: Rows, weight: Any) -> list[Any]:
            root = ops.sqrt(ops.convert_to_tensor(weight, dtype="float64"))
            return stacked(state[0], root * rows.jac, root * rows.r)

        empty = [ops.zeros((n + 1, n + 1), "float64")]
        (augmented,) = self._fold_rows(x, step, empty, ops.sqrt)
        d = self._penalty_tensor()
        if d is not None:
            (augmented,) = stacked(augmented, ops.diag(d), d * x)
        factor, z = augmented[:n, :n], augmented[:n, n]
        f = 0.5 * ops.sum(ops.square(augmented[:, n]))
        return Squares(f, ops.matmul(ops.transpose(factor), z), factor, z)

    def residuals_and_jacobian(self, x: Any, num_residuals: int) -> Rows:
        """Return all residuals at ``x``, `num_residuals` in number, and their Jacobian."""
        return whole_jacobian(self, x, num_residuals)

    def _fold_rows(
        self,
        x: Any,
        step: Callable[[list[Any], Rows, Any], list[Any]],
        state: list[Any],
        root: Callable[[Any], Any],
    ) -> list[Any]:
        def batch(state: list[Any], inputs: Inputs, weight: Any) -> list[Any]:
            return fold_rows(
                self.batch.forward,
                x,
                inputs,
                self.rows,
                lambda inner, rows: step(inner, rows, weight),
                state,
            )

        ended, total = self.sweep.fold(self.data, batch, state, mean=self.mean)
        if isinstance(total, float):
            return ended
        return [value / root(total) for value in ended]

    def _penalty_tensor(self) -> Any:
        if self.penalty is None:
            return None
        return keras.ops.convert_to_tensor(self.penalty, dtype="float64")

    def _total(self, evaluate: Callable[[Inputs], list[Any]], zeros: list[Any]) -> list[Any]:
        return self.sweep.total(self.data, evaluate, zeros, mean=self.mean)

    def _estimate(self, x: Any, fraction: float, part: Any) -> Product:
        """Take one slice of the samples for all of them."""
        try:
            return self._product_of_part(x, fraction, part)
        except KormosError as error:
            self.batch.faults.append(error)  # Keras rewrites what is raised within its cond
            raise

    def _product_of_part(self, x: Any, fraction: float, part: Any) -> Product:
        if not isinstance(self.sweep, (Whole, Slices)) or not self.divisible:
            message = (
                f"hvp_fraction={fraction!r} cannot be honored: the Hessian of some of the samples "
                "estimates that of all only where the data are arrays and the losses means over "
                "samples. Allowed is 1 here. Leave it out."
            )
            raise UnsupportedError(message)
        leaves = [leaf for leaf in keras.tree.flatten(self.data.source) if leaf is not None]
        total = leaves[0].shape[0]
        length = math.ceil(fraction * total)
        parts = max(1, total // length)
        index = keras.ops.mod(part, parts)
        inputs = self.batch.alone(x, Slices.cut(self.data, index, index * length, length))
        if self.kind != FINITE_DIFFERENCE:
            return self.batch.product(self.kind, x, inputs)
        few = Data(*inputs)
        return lambda v: self._difference(x, v, Whole(), few)

    def _difference(
        self, x: Any, v: Any, sweep: Sweep | None = None, data: Data | None = None
    ) -> Any:
        """Return a central difference of the gradient; the loop traces it once."""
        ops = keras.ops
        # not ops.norm, which is one of float32 on some backends, where 1e-300 is 0
        length = ops.maximum(ops.sqrt(ops.sum(ops.square(v))), 1e-300)
        step = (
            STEPS["float64" if self.precision == "float64" else "float32"]
            * ops.maximum(1.0, ops.sqrt(ops.sum(ops.square(x))))
            / length
        )
        sweep, data = sweep or self.sweep, data or self.data
        zeros = ops.zeros((self.size,), "float64")

        def gradient(z: Any) -> Any:
            return sweep.total(
                data, lambda inputs: [self.batch.slope(z, inputs)[1]], [zeros], mean=self.mean
            )[0]

        def side(number: Any, total: Any) -> tuple[Any, Any]:
            sign = ops.cast(1 - 2 * number, "float64")
            return number + 1, total + sign * gradient(x + sign * step * v)

        start = (ops.convert_to_tensor(0, "int32"), zeros)
        _, total = ops.while_loop(lambda number, _: number < 2, side, start)
        return total / (2.0 * step)
