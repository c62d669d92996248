"""A plain function of one flat tensor as an objective.

Symbols: ``x`` parameters (n,), ``f`` value, ``g`` gradient (n,), ``v`` direction (n,).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

from kormos_core.backends import (
    compile_hvp,
    compile_map,
    compile_value,
    compile_value_and_grad,
    current_backend,
)
from kormos_core.curvature import GAUSS_NEWTON, CheckedHVP, dense_hessian
from kormos_core.data import reason_of
from kormos_core.errors import UnsupportedError
from kormos_core.objective.compiled import compile_on_graph
from kormos_core.objective.faults import guarded, is_out_of_memory
from kormos_core.objective.graph import Graph
from kormos_core.objective.kinds import kinds_of, linearize
from kormos_core.objective.numerics import Numerics
from kormos_core.objective.residuals import ResidualFace, Residuals
from kormos_core.objective.sweep import Data, Inputs, Whole
from kormos_core.protocols import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from kormos_core.backends import Forward, Product
    from kormos_core.protocols import Bounds

__all__ = ["FunctionObjective", "allowed_function"]

_NO_SQUARES: Final = (
    "the solver needs residuals, and the function gives a single number. Allowed is a function "
    "that gives residuals: pass such to kormos.least_squares, or use another solver, such as "
    "native:lbfgs."
)


def allowed_function(wanted: str) -> str:
    """Say how a function is to make what is wanted of it.

    Parameters
    ----------
    wanted : str
        What it is to give.

    Returns
    -------
    str
        The beginning of a sentence.
    """
    told = f"Allowed is one that makes {wanted} of its tensor by keras.ops"
    if keras.config.backend() == "torch":  # it multiplies no array with a tensor
        told += ", its NumPy constants made tensors by keras.ops.convert_to_tensor"
    return told


class _Function:
    """A function as the one batch of an objective."""

    wanted = "a scalar tensor"

    def __init__(self, function: Callable[[Any], Any], *, eager: bool) -> None:
        self._function = function
        self.eager = eager
        self.faults: list[Exception] = []

    def loss(self, x: Any, inputs: Inputs | None) -> Any:
        """Return the value at `x`; there are no `inputs`."""
        del inputs
        return keras.ops.reshape(keras.ops.cast(self._function(x), "float64"), ())

    def slope(self, x: Any, inputs: Inputs | None) -> tuple[Any, Any]:
        """Return value and gradient at `x`; there are no `inputs`."""
        return current_backend().value_and_grad(lambda z: self.loss(z, inputs), x)

    def product(self, kind: str, x: Any, inputs: Inputs | None) -> Product:
        """Return the function from ``v`` to ``H(x) v`` of a kind; there are no `inputs`."""
        return linearize(kind)(lambda z: self.loss(z, inputs), x)

    def alone(self, x: Any, inputs: Inputs) -> Inputs:
        """Return `inputs`, whatever `x`: they are all there is."""
        del x
        return inputs

    def forward(self, inputs: Inputs | None) -> Forward:
        """Refuse to make residuals of `inputs`."""
        del inputs
        raise UnsupportedError(_NO_SQUARES)

    def unusable(self, error: Exception, arrays: Any = None) -> UnsupportedError:
        """Return what to raise from an `error` in the function; there are no `arrays`."""
        del arrays
        cure = allowed_function(self.wanted)
        if is_out_of_memory(error):
            cure = "Allowed is what the memory holds. Let it make less at a time"
        return UnsupportedError(
            f"the function cannot be evaluated: {type(error).__name__}: {reason_of(error)}. "
            f"{cure}. Call it by itself on a tensor of shape (n,)."
        )


@final
class _Residuals(_Function):
    """A function that gives residuals, as the one batch of half the sum of their squares."""

    wanted = "residuals"

    def loss(self, x: Any, inputs: Inputs | None) -> Any:
        """Return half the sum of squares at `x`; there are no `inputs`."""
        outputs, head = self.forward(inputs)(x)
        del outputs
        return head()

    def product(self, kind: str, x: Any, inputs: Inputs | None) -> Product:
        """Return the function from ``v`` to ``H(x) v`` of a kind, or ``J' J v``."""
        if kind == GAUSS_NEWTON:
            return current_backend().gauss_newton(self.forward(inputs), x)
        return super().product(kind, x, inputs)

    def forward(self, inputs: Inputs | None) -> Forward:
        """Return the function to residuals and half the sum of their squares; no `inputs`."""
        del inputs
        ops = keras.ops

        def forward(x: Any) -> tuple[list[Any], Callable[[], Any]]:
            outputs = [
                ops.cast(ops.convert_to_tensor(r), "float64")
                for r in keras.tree.flatten(self._function(x))
            ]
            return outputs, lambda: sum(0.5 * ops.sum(ops.square(r)) for r in outputs)

        return forward


@final
class FunctionObjective(ResidualFace):
    """A function written in `keras.ops` (`Objective`).

    Parameters
    ----------
    function : callable
        Takes a float64 tensor of shape (n,) and gives a scalar tensor, or with `squares`
        a structure of tensors: residuals.
    size : int
        Number of parameters n.
    bounds : Bounds or None
        Box on the parameters.
    constraints : tuple
        General constraints in the solver library's form.
    numerics : Numerics or None
        How it is differentiated and compiled; None for the defaults.
    squares : bool
        Whether half the sum of squares of what the function gives is to be minimized.

    Raises
    ------
    UnsupportedError
        If a kind of product is asked for that functions do not have.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        size: int,
        *,
        bounds: Bounds | None = None,
        constraints: tuple[Any, ...] = (),
        numerics: Numerics | None = None,
        squares: bool = False,
    ) -> None:
        self.numerics = numerics = numerics or Numerics()
        if numerics.hvp == GAUSS_NEWTON and not squares:
            message = (
                "hvp='gauss-newton' needs a loss of a model's outputs, and a plain function has "
                "none. Allowed are the other kinds. Leave it out, fit a model, or give residuals "
                "to kormos.least_squares."
            )
            raise UnsupportedError(message)
        backend = current_backend()
        self.size = size
        self.bounds = bounds
        self.constraints = constraints
        self.counts = Counts()
        self.dtype = "float64"
        kind = _Residuals if squares else _Function
        self._batch = batch = kind(function, eager=numerics.eager)
        self._squares = squares
        self._compiled: dict[Hashable, Callable[..., Any]] = {}
        self._products: dict[str, Callable[..., NDArray[np.float64]]] = {}
        self._how = how = {
            "jit": bool(numerics.jit),
            "eager": numerics.eager,
            "keep_float64": numerics.precision == "float64",
        }
        self._value = guarded(compile_value(batch.loss, **how), batch)
        self._value_and_grad = guarded(compile_value_and_grad(batch.loss, **how), batch)
        self._differences = compile_map(
            lambda x, rest: backend.push_forward(batch.forward(None), x, *rest), **how
        )
        self._hvp = CheckedHVP(
            self._product,
            lambda x: self.value_and_grad(x)[1],
            gauss_newton=self._difference_product,
            kinds=kinds_of(numerics.hvp),
            dtype=numerics.precision,
            unusable={},
        )

    def _product(self, kind: str) -> Callable[..., NDArray[np.float64]]:
        def product(x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
            if kind not in self._products:
                self._products[kind] = compile_hvp(
                    lambda x, _: self._batch.product(kind, x, None),
                    **self._how,
                )
            return self._products[kind](x, v, None)

        return product

    def _difference_product(
        self, x: NDArray[np.float64], v: NDArray[np.float64], step: float
    ) -> NDArray[np.float64]:
        self.counts.value_and_grad += 1
        hv = self._differences(x, (v, np.float64(step)))
        return np.asarray(keras.ops.convert_to_numpy(hv))

    def choose_hvp(self, x: NDArray[np.float64]) -> str:
        """Check Hessian products at ``x``, (n,), and return the kind to use.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Returns
        -------
        str
            The kind that in-graph products will be of.
        """
        return self._hvp.choose(x)

    def compile(self, function: Callable[..., Any], key: Hashable) -> Callable[..., Any]:
        """Compile a traceable function of the objective and further tensors.

        Parameters
        ----------
        function : callable
            Takes a `GraphObjective` and structures of tensors; gives such structures.
        key : hashable
            What the function does: equal keys mean equal functions.

        Returns
        -------
        callable
            The function of the tensors alone, arrays allowed.
        """
        graph = Graph(
            size=self.size,
            precision=self.numerics.precision,
            batch=self._batch,
            kind=self._hvp.current,
            sweep=Whole(),
            data=Data(None, (), None),
            mean=False,
            divisible=False,
        )
        return compile_on_graph(
            function,
            key=key,
            graph=graph,
            cache=self._compiled,
            jit=self.numerics.jit,
            eager=self._how["eager"],
        )

    def prepare_residuals(self, x: NDArray[np.float64]) -> None:
        """See that the function gives residuals, and keep a point where it does.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Raises
        ------
        UnsupportedError
            If it gives a scalar.
        """
        if not self._squares:
            raise UnsupportedError(_NO_SQUARES)
        self._residuals.begin_at(x)

    @cached_property
    def _residuals(self) -> Residuals:
        return Residuals(
            self._batch,
            lambda: [(1, Inputs((None, None, None), (), None))],
            self.size,
            penalty=None,
            counts=self.counts,
            mean=False,
            how=self._how,
        )

    def value(self, x: NDArray[np.float64]) -> float:
        """Return the value at ``x``, shape (n,)."""
        self.counts.value += 1
        return self._value(x, None)

    def value_and_grad(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the value and its gradient, shape (n,), at ``x``, shape (n,)."""
        self.counts.value_and_grad += 1
        return self._value_and_grad(x, None)

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,)."""
        self.counts.hvp += 1
        return self._hvp(x, v)

    def hessian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dense Hessian, shape (n, n), from n products."""
        return dense_hessian(self.hvp, x)

    def diagnose(self, x: NDArray[np.float64]) -> str:
        """Say where the function at `x` stops being finite: its inside is not known."""
        del x
        return ""
