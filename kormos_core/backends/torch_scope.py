"""Float64 on torch, where Keras rounds it to float32."""

from __future__ import annotations

import contextlib
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, final

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cholesky", "computing_in", "left"]


_CHOLESKY: Final = torch.linalg.cholesky
_FLOAT32: Final = (torch.float32,)
_TO: Final = torch.Tensor.to


@final
class _AsElsewhere(TorchFunctionMode):
    """Let `keras.ops` do on torch what they do on other backends.

    Keras's rules of promotion know no float64 on torch: matrix products, means, maxima and
    other operations round float64 to float32 first, which is left out where `wide` is set;
    what is cast by name stays cast. And a matrix that is not positive definite has a
    Cholesky factor of NaNs.
    """

    wide = True

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call `func` of `args` and `kwargs`, or what it should be; `types` do not matter."""
        del types
        # This is in the way of every call; most need nothing, and pass by a few comparisons.
        if func is _CHOLESKY:
            return cholesky(*args, **(kwargs or {}))
        rounds = args[1:] == _FLOAT32 if func is _TO else _made_float32(kwargs)
        if rounds and self.wide and args and _is_wide(args[0]) and not _asked_for():
            if func is _TO:
                return args[0]
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs) if kwargs else func(*args)


def cholesky(matrices: Any, **options: Any) -> Any:
    """Return Cholesky factors, of NaN where a matrix is not positive definite.

    Parameters
    ----------
    matrices : tensor, shape (..., n, n)
        The matrices.
    **options
        Those of `torch.linalg.cholesky_ex`.

    Returns
    -------
    tensor, shape (..., n, n)
        The factors.
    """
    factors, failed = torch.linalg.cholesky_ex(matrices, **options)
    return torch.where((failed == 0)[..., None, None], factors, torch.nan)


def _made_float32(kwargs: Any) -> bool:
    return bool(kwargs) and kwargs.get("dtype") is torch.float32


def _is_wide(value: Any) -> bool:
    return isinstance(value, float) or getattr(value, "dtype", None) is torch.float64


def _asked_for() -> bool:
    """Tell whether a tensor is cast by name, and not within another function of Keras."""
    name = "cast"
    frame = inspect.currentframe()
    for _ in range(2):  # this function and who called it
        frame = frame and frame.f_back
    while frame and str(frame.f_globals.get("__name__")).partition(".")[0] == "keras":
        name, frame = frame.f_code.co_name, frame.f_back
    return name in {"cast", "convert_to_tensor"}


_MODE: ContextVar[_AsElsewhere | None] = ContextVar("mode", default=None)


@contextlib.contextmanager
def computing_in(dtype: str) -> Iterator[None]:
    """Enter a scope where Keras rounds no float64, or suspend it.

    Parameters
    ----------
    dtype : str
        ``"float64"`` to enter it, anything else to suspend it.

    Yields
    ------
    None
        Nothing.
    """
    wide, mode = dtype == "float64", _MODE.get()
    if mode is None:
        if wide:
            mode = _AsElsewhere()
            before = _MODE.set(mode)
            try:
                with mode:
                    yield
            finally:
                _MODE.reset(before)
        else:
            yield
        return
    mode.wide, was = wide, mode.wide
    try:
        yield
    finally:
        mode.wide = was


@contextlib.contextmanager
def left() -> Iterator[None]:
    """Leave the scope for a while: `torch.compile` takes no functions that watch.

    It has to be the innermost one of its sort, as it is where no layers are called.

    Yields
    ------
    None
        Nothing.
    """
    mode = _MODE.get()
    if mode is None:
        yield
        return
    before = _MODE.set(None)
    mode.__exit__(None, None, None)
    try:
        yield
    finally:
        mode.__enter__()
        _MODE.reset(before)
