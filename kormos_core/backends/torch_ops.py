"""The functions of `keras.ops` that loops are made of, straight on torch.

Where nothing is compiled, a step of a loop is as dear as what is called for it: what Keras
does around a function of torch takes several times as long as the function, and what keeps
Keras from rounding float64 (`torch_scope`) as long again. These take tensors, and beside one
tensor also Python numbers; dtypes are those of torch, so that float64 stays float64.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import keras
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["OPS"]

_DTYPES = {
    "bool": torch.bool,
    "int32": torch.int32,
    "int64": torch.int64,
    "float32": torch.float32,
    "float64": torch.float64,
}


def _tensor(value: Any, beside: Any = None) -> torch.Tensor:
    """Turn a number into a tensor that fits the other one's device."""
    if isinstance(value, torch.Tensor):
        return value
    device = beside.device if isinstance(beside, torch.Tensor) else None
    for kind, dtype in ((bool, torch.bool), (int, torch.int32), (float, torch.float64)):
        if isinstance(value, kind):
            return torch.tensor(value, dtype=dtype, device=device)
    return keras.ops.convert_to_tensor(value)


def _where(condition: Any, first: Any, second: Any) -> torch.Tensor:
    if not isinstance(first, torch.Tensor) and not isinstance(second, torch.Tensor):
        first = _tensor(first, condition)
    return torch.where(_tensor(condition), first, second)


def _maximum(first: Any, second: Any) -> torch.Tensor:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.maximum(first, second)
    if isinstance(first, torch.Tensor):
        return torch.clamp(first, min=second)
    return torch.clamp(second, min=first)


def _minimum(first: Any, second: Any) -> torch.Tensor:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.minimum(first, second)
    if isinstance(first, torch.Tensor):
        return torch.clamp(first, max=second)
    return torch.clamp(second, max=first)


def _logical_and(first: Any, second: Any) -> torch.Tensor:
    return torch.logical_and(_tensor(first, second), _tensor(second, first))


def _logical_or(first: Any, second: Any) -> torch.Tensor:
    return torch.logical_or(_tensor(first, second), _tensor(second, first))


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reduction over an axis, or over all."""

    def reduce(x: torch.Tensor, axis: int | None = None) -> torch.Tensor:
        found: torch.Tensor = function(x) if axis is None else function(x, dim=axis)
        return found

    return reduce


def _sum(x: torch.Tensor, axis: int | None = None) -> torch.Tensor:
    dtype = x.dtype if x.is_floating_point() else torch.int32  # of bools, too
    return torch.sum(x, dim=axis, dtype=dtype)


def _argmax(x: torch.Tensor) -> torch.Tensor:
    x = x.to(torch.int32) if x.dtype is torch.bool else x
    return torch.argmax(x).to(torch.int32)


def _stack(tensors: Sequence[Any], axis: int = 0) -> torch.Tensor:
    return torch.stack([*tensors], dim=axis)


def _unstack(x: torch.Tensor, num: int | None = None) -> tuple[torch.Tensor, ...]:
    del num
    return x.unbind()


def _cast(x: Any, dtype: str) -> torch.Tensor:
    return _tensor(x).to(_DTYPES[dtype])


def _take(x: torch.Tensor, indices: torch.Tensor, axis: int = 0) -> torch.Tensor:
    taken = torch.index_select(x, axis, indices.reshape(-1))
    return taken if indices.ndim else taken.squeeze(axis)


def _slice(x: torch.Tensor, start: Sequence[Any], shape: Sequence[int]) -> torch.Tensor:
    return x[_ranges(start, shape)]


def _slice_update(x: torch.Tensor, start: Sequence[Any], updates: torch.Tensor) -> torch.Tensor:
    updated = x.clone()
    updated[_ranges(start, updates.shape)].copy_(updates)
    return updated


def _ranges(start: Sequence[Any], shape: Sequence[int]) -> tuple[slice, ...]:
    begins = map(int, start)
    return tuple(slice(begin, begin + length) for begin, length in zip(begins, shape, strict=True))


def _transpose(x: torch.Tensor) -> torch.Tensor:
    return x.mT


def _solve_triangular(a: torch.Tensor, b: torch.Tensor, *, lower: bool = False) -> torch.Tensor:
    return torch.linalg.solve_triangular(a, b, upper=not lower)


def _cholesky(x: torch.Tensor) -> torch.Tensor:
    """Return the factor; of a matrix that is not positive definite it is NaN."""
    factor, failed = torch.linalg.cholesky_ex(x)
    return torch.where(failed == 0, factor, torch.nan)


def _argsort(x: torch.Tensor) -> torch.Tensor:
    return torch.argsort(x, stable=True).to(torch.int32)


def _flip(x: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.flip(x, (axis,))


def _concatenate(tensors: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
    return torch.cat([*tensors], dim=axis)


def _cond(condition: Any, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
    return if_true() if bool(condition) else if_false()


def _while_loop(
    goes_on: Callable[..., Any], body: Callable[..., Any], variables: tuple[Any, ...]
) -> tuple[Any, ...]:
    while bool(goes_on(*variables)):
        variables = body(*variables)
    return tuple(variables)


OPS = SimpleNamespace(
    abs=torch.abs,
    all=_reduced(torch.all),
    any=_reduced(torch.any),
    arange=keras.ops.arange,
    argmax=_argmax,
    argsort=_argsort,
    bitwise_and=torch.bitwise_and,
    bitwise_xor=torch.bitwise_xor,
    cast=_cast,
    cholesky=_cholesky,
    clip=torch.clamp,
    concatenate=_concatenate,
    cond=_cond,
    convert_to_tensor=keras.ops.convert_to_tensor,
    cumsum=torch.cumsum,
    diagonal=torch.diagonal,
    equal=torch.eq,
    expand_dims=torch.unsqueeze,
    eye=keras.ops.eye,
    flip=_flip,
    full=keras.ops.full,
    isfinite=torch.isfinite,
    isnan=torch.isnan,
    logical_and=_logical_and,
    logical_not=torch.logical_not,
    logical_or=_logical_or,
    matmul=torch.matmul,
    max=_reduced(torch.amax),
    maximum=_maximum,
    minimum=_minimum,
    ones=keras.ops.ones,
    ones_like=torch.ones_like,
    qr=torch.linalg.qr,
    reshape=torch.reshape,
    right_shift=torch.bitwise_right_shift,
    rsqrt=torch.rsqrt,
    sign=torch.sign,
    slice=_slice,
    slice_update=_slice_update,
    solve_triangular=_solve_triangular,
    sqrt=torch.sqrt,
    square=torch.square,
    stack=_stack,
    sum=_sum,
    take=_take,
    transpose=_transpose,
    unstack=_unstack,
    vdot=torch.dot,
    where=_where,
    while_loop=_while_loop,
    zeros=keras.ops.zeros,
    zeros_like=torch.zeros_like,
)
"""The functions by their names in `keras.ops`."""
