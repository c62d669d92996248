"""A plain function of one flat tensor as an objective.

Symbols: ``x`` parameters (n,), ``f`` value, ``g`` gradient (n,), ``v`` direction (n,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import keras

from kormos_core.backends import current_backend
from kormos_core.objective.curvature import FINITE_DIFFERENCE, HVP_KINDS, CheckedHVP
from kormos_core.objective.objective import dense_hessian
from kormos_core.protocols import Counts

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.protocols import Bounds

__all__ = ["FunctionObjective"]


@final
class FunctionObjective:
    """A function written in `keras.ops` (`Objective`).

    Parameters
    ----------
    function : callable
        Takes a float64 tensor of shape (n,) and gives a scalar tensor.
    size : int
        Number of parameters n.
    bounds : Bounds or None
        Box on the parameters.
    constraints : tuple
        General constraints in the solver library's form.
    hvp : str
        Kind of Hessian product to start with.
    jit : bool
        Whether XLA compiles the function.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        size: int,
        *,
        bounds: Bounds | None = None,
        constraints: tuple[Any, ...] = (),
        hvp: str = HVP_KINDS[0],
        jit: bool = False,
    ) -> None:
        backend = current_backend()
        self.size = size
        self.bounds = bounds
        self.constraints = constraints
        self.counts = Counts()
        self.dtype = "float64"

        def loss(x: Any, batch: Any) -> Any:
            del batch
            return keras.ops.reshape(keras.ops.cast(function(x), "float64"), ())

        self._value = backend.compile_value(loss, jit=jit, eager=False)
        self._value_and_grad = backend.compile_value_and_grad(loss, jit=jit, eager=False)
        compiled = {
            kind: backend.compile_hvp(loss, kind, jit=jit, eager=False)  # type: ignore[arg-type]
            for kind in HVP_KINDS
            if kind != FINITE_DIFFERENCE
        }
        self._hvp = CheckedHVP(
            {kind: lambda x, v, p=product: p(x, v, None) for kind, product in compiled.items()},  # type: ignore[misc]
            lambda x: self.value_and_grad(x)[1],
            kind=hvp,
            dtype=self.dtype,
            unusable={},
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
