"""Functions of tensors for callers who have NumPy arrays, on every backend.

Symbols: ``x`` parameters (n,), ``v`` direction (n,), ``hv`` Hessian-vector product (n,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kormos_core.backends.current import current_backend

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.backends.protocol import BatchFunction, Product

__all__ = ["compile_hvp", "compile_map", "compile_value", "compile_value_and_grad"]


def compile_value(
    loss: BatchFunction, *, jit: bool, eager: bool, keep_float64: bool = False
) -> Callable[[NDArray[np.float64], Any], float]:
    """Compile the loss of a batch.

    Parameters
    ----------
    loss : callable
        Takes ``x`` and a structure of tensors; gives a scalar.
    jit, eager, keep_float64 : bool
        As for `Backend.compile`.

    Returns
    -------
    callable
        The function of an array and a structure of tensors.
    """
    backend = current_backend()
    compiled = backend.compile(loss, jit=jit, eager=eager, keep_float64=keep_float64, relax=True)
    return lambda x, batch: float(compiled(backend.to_device(x), batch))


def compile_value_and_grad(
    loss: BatchFunction, *, jit: bool, eager: bool, keep_float64: bool = False
) -> Callable[[NDArray[np.float64], Any], tuple[float, NDArray[np.float64]]]:
    """Compile the loss of a batch and its gradient.

    Parameters
    ----------
    loss : callable
        Takes ``x`` and a structure of tensors; gives a scalar.
    jit, eager, keep_float64 : bool
        As for `Backend.compile`.

    Returns
    -------
    callable
        Gives the loss and the gradient, shape (n,).
    """
    backend = current_backend()

    def both(x: Any, batch: Any) -> tuple[Any, Any]:
        return backend.value_and_grad(lambda z: loss(z, batch), x)

    compiled = backend.compile(both, jit=jit, eager=eager, keep_float64=keep_float64, relax=True)

    def value_and_grad(x: NDArray[np.float64], batch: Any) -> tuple[float, NDArray[np.float64]]:
        f, g = compiled(backend.to_device(x), batch)
        return float(f), backend.to_host(g)

    return value_and_grad


def compile_hvp(
    linearize: Callable[[Any, Any], Product],
    *,
    jit: bool,
    eager: bool,
    keep_float64: bool = False,
) -> Callable[[NDArray[np.float64], NDArray[np.float64], Any], NDArray[np.float64]]:
    """Compile Hessian products.

    Parameters
    ----------
    linearize : callable
        Makes the product, a function of ``v``, of ``x`` and a structure of tensors.
    jit, eager, keep_float64 : bool
        As for `Backend.compile`.

    Returns
    -------
    callable
        Gives ``hv`` for ``x``, ``v`` and a structure of tensors.
    """
    backend = current_backend()
    compiled = backend.compile(
        lambda x, v, batch: linearize(x, batch)(v),
        jit=jit,
        eager=eager,
        keep_float64=keep_float64,
        relax=True,
    )

    def hvp(x: NDArray[np.float64], v: NDArray[np.float64], batch: Any) -> NDArray[np.float64]:
        return backend.to_host(compiled(backend.to_device(x), backend.to_device(v), batch))

    return hvp


def compile_map(
    function: Callable[[Any, Any], Any],
    *,
    jit: bool,
    eager: bool,
    keep_float64: bool = False,
) -> Callable[[NDArray[np.float64], Any], Any]:
    """Compile any function of parameters and a batch.

    Parameters
    ----------
    function : callable
        Takes ``x`` and a structure of tensors; gives such a structure.
    jit, eager, keep_float64 : bool
        As for `Backend.compile`. It is compiled for each size of a batch: Keras weights the
        metric of each output's loss by that.

    Returns
    -------
    callable
        The function of an array and a structure of tensors.
    """
    backend = current_backend()
    compiled = backend.compile(function, jit=jit, eager=eager, keep_float64=keep_float64)
    return lambda x, batch: compiled(backend.to_device(x), batch)
