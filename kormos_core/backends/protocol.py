"""What a backend must offer: devices, compilation, derivatives.

Symbols: ``x`` parameters (n,), ``v`` direction (n,), both flat float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Backend", "BatchFunction", "HVPKind"]

HVPKind = Literal["forward-over-reverse", "reverse-over-reverse"]
"""Ways to differentiate twice that a backend offers."""


class BatchFunction(Protocol):
    """A traceable scalar loss of flat parameters and one batch."""

    def __call__(self, x: Any, batch: Any, /) -> Any:
        """Return the scalar float64 loss tensor for `x`, shape (n,), and one batch."""
        ...


class Backend(Protocol):
    """Compilation and derivatives on one Keras backend.

    A batch is a structure of tensors (None leaves allowed) that is passed through.
    What `compile_*` returns takes NumPy parameters and gives NumPy results.

    Attributes
    ----------
    name : str
        Keras's name of the backend.
    """

    name: str

    def to_device(self, array: Any) -> Any:
        """Put `array` on the device as a tensor of the same dtype."""
        ...

    def compile_value(
        self, loss: BatchFunction, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], float]:
        """Compile the `loss` of a batch, by XLA if `jit`, or not at all if `eager`."""
        ...

    def compile_value_and_grad(
        self, loss: BatchFunction, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], tuple[float, NDArray[np.float64]]]:
        """Compile the `loss` of a batch and its gradient, (n,); `jit` and `eager` as above."""
        ...

    def compile_hvp(
        self, loss: BatchFunction, kind: HVPKind, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], NDArray[np.float64], Any], NDArray[np.float64]]:
        """Compile the product of kind `kind` of `loss`, (n,); `jit` and `eager` as above."""
        ...

    def compile_map(
        self, function: Callable[[Any, Any], Any], *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], Any]:
        """Compile a `function` of parameters and a batch; `jit` and `eager` as above."""
        ...
