"""Float64 on torch, where Keras rounds it to float32."""

from __future__ import annotations

import contextlib
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, final

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["computing_in", "left"]


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
        kwargs = kwargs or {}
        cast = func is torch.Tensor.to and args[1:] == (torch.float32,)
        if self.wide and (cast or kwargs.get("dtype") is torch.float32):
            first = args[0] if args else None
            is_wide = isinstance(first, float) or getattr(first, "dtype", 0) is torch.float64
            if is_wide and not _asked_for(inspect.currentframe()):
                if cast:
                    return first
                kwargs = {**kwargs, "dtype": torch.float64}
        if func is torch.linalg.cholesky:
            factor, failed = torch.linalg.cholesky_ex(*args, **kwargs)
            return torch.where((failed == 0)[..., None, None], factor, torch.nan)
        return func(*args, **kwargs)


def _asked_for(frame: FrameType | None) -> bool:
    """Tell whether a tensor is cast by name, and not within another function of Keras."""
    name = "cast"
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
