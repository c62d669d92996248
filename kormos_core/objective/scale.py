"""Gradients of what is computed in float16, whose small parts would vanish.

The least number of float16 is 6e-8, and the part that one of many samples has in the
gradient of a mean is often less. So a multiple of the loss is differentiated, as Keras's
own LossScaleOptimizer does it, and the loss itself only where the multiple overflows. The
factor is a power of two: it rounds nothing.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.backends import current_backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["scaled_slope", "scaled_up", "with_fallback"]

_SCALE = 2.0**15  # what Keras begins with


def scaled_up(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that gives a multiple of a `loss`; traceable."""
    return lambda *arguments: _SCALE * loss(*arguments)


def scaled_slope(loss: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Return a loss and its gradient, found from a multiple of it; traceable.

    Parameters
    ----------
    loss : callable
        Takes `x` and gives a scalar, float64.
    x : tensor, shape (n,)
        The parameters.

    Returns
    -------
    tuple of (tensor, scalar; tensor, shape (n,))
        ``f`` and ``g``.
    """
    backend, ops = current_backend(), keras.ops
    f, g = backend.value_and_grad(scaled_up(loss), x)
    g = ops.cond(
        ops.all(ops.isfinite(g)),
        lambda: g / _SCALE,
        lambda: backend.value_and_grad(loss, x)[1],
    )
    return f / _SCALE, g


def with_fallback(
    scaled: Callable[..., tuple[float, NDArray[np.float64]]],
    plain: Callable[..., tuple[float, NDArray[np.float64]]],
) -> Callable[..., tuple[float, NDArray[np.float64]]]:
    """Return the function that gives ``f`` and ``g``, outside of any trace.

    Parameters
    ----------
    scaled : callable
        Gives both of a loss that is `scaled_up`.
    plain : callable
        Gives both of the loss itself, of the same arguments.

    Returns
    -------
    callable
        Gives both of the loss, from `plain` where `scaled` overflows.
    """

    def value_and_grad(*arguments: Any) -> tuple[float, NDArray[np.float64]]:
        f, g = scaled(*arguments)
        return (f / _SCALE, g / _SCALE) if np.isfinite(g).all() else plain(*arguments)

    return value_and_grad
