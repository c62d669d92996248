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
from kormos_core.objective.kinds import FINITE_DIFFERENCE
from kormos_core.objective.sweep import Data, Inputs, Slices, Whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.backends import Product
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
    """

    size: int
    precision: str
    batch: Traceable
    kind: str
    sweep: Sweep
    data: Data
    mean: bool
    divisible: bool = True

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
            whole = Inputs(self.data.source, self.data.seeds, self.data.totals)
            return self.batch.product(self.kind, x, whole)
        zeros = [keras.ops.zeros((self.size,), "float64")]

        def product(v: Any) -> Any:
            return self._total(
                lambda inputs: [self.batch.product(self.kind, x, inputs)(v)], zeros
            )[0]

        return product

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
        few = Data(inputs.arrays, inputs.seeds, inputs.totals)
        return lambda v: self._difference(x, v, Whole(), few)

    def _difference(
        self, x: Any, v: Any, sweep: Sweep | None = None, data: Data | None = None
    ) -> Any:
        """Return a central difference of the gradient; the loop traces it once."""
        ops = keras.ops
        length = ops.maximum(ops.norm(v), 1e-300)
        step = (
            STEPS["float64" if self.precision == "float64" else "float32"]
            * ops.maximum(1.0, ops.norm(x))
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
