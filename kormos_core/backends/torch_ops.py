"""The functions of `keras.ops` that loops are made of, straight on torch.

Where nothing is compiled, a step of a loop is as dear as what is called for it: what Keras
does around a function of torch takes several times as long as the function, and what keeps
Keras from rounding float64 (`torch_scope`) as long again. So what loops mostly ask for, of
tensors and of a Python number beside one, is asked of torch itself; everything else that a
function of `keras.ops` takes is left to it, in that scope.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import keras
import torch

from kormos_core.backends.torch_scope import cholesky, computing_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["OPS"]

_DTYPES: Final = {
    "bool": torch.bool,
    "int32": torch.int32,
    "int64": torch.int64,
    "float32": torch.float32,
    "float64": torch.float64,
}
_FLOATS: Final = (torch.float64, torch.float32)
_INTS: Final = (torch.int32, torch.int64)


def _by_keras(name: str) -> Callable[..., Any]:
    """Return Keras's function of a `name`, kept from rounding."""
    function = getattr(keras.ops, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        with computing_in("float64"):
            return function(*arguments, **keywords)

    return call


def _of_one(name: str, function: Callable[[Any], Any], *dtypes: Any) -> Callable[..., Any]:
    """Return a `function` of one tensor, of some `dtypes` or of all; Keras's for other calls."""
    other = _by_keras(name)

    def call(x: Any, *arguments: Any, **keywords: Any) -> Any:
        fits = isinstance(x, torch.Tensor) and (not dtypes or x.dtype in dtypes)
        if fits and not arguments and not keywords:
            return function(x)
        return other(x, *arguments, **keywords)

    return call


def _of_two(name: str, function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return a `function` of operands that need no promotion; Keras's for others."""
    other = _by_keras(name)
    return lambda a, b: function(a, b) if _fit(a, b) else other(a, b)


def _fit(a: Any, b: Any) -> bool:
    """Tell whether two operands are tensors of one dtype, or a tensor and a number for it."""
    if isinstance(a, torch.Tensor):
        return a.dtype is b.dtype if isinstance(b, torch.Tensor) else _takes(a, b)
    return isinstance(b, torch.Tensor) and _takes(b, a)


def _takes(tensor: torch.Tensor, number: Any) -> bool:
    if tensor.dtype in _FLOATS:
        return isinstance(number, (float, int)) and not isinstance(number, bool)
    return type(number) is int and tensor.dtype in _INTS


def _along(name: str, function: Callable[..., Any], *dtypes: Any) -> Callable[..., Any]:
    """Return a reduction of one tensor over one axis or all; Keras's for other calls."""
    other = _by_keras(name)

    def reduce(x: Any, axis: Any = None, **keywords: Any) -> Any:
        if keywords or not isinstance(x, torch.Tensor) or x.dtype not in dtypes:
            return other(x, axis=axis, **keywords)
        if axis is None:
            return function(x)
        return function(x, dim=axis) if type(axis) is int else other(x, axis=axis)

    return reduce


def _extreme(clamp: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the elementwise extreme of operands that need no promotion."""

    def extreme(a: Any, b: Any) -> torch.Tensor:
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return function(a, b)
        tensor, number = (a, b) if isinstance(a, torch.Tensor) else (b, a)
        return torch.clamp(tensor, **{clamp: number})

    return extreme


def _logical(name: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    other = _by_keras(name)

    def logical(a: Any, b: Any) -> Any:
        if isinstance(a, torch.Tensor):
            if isinstance(b, torch.Tensor):
                return function(a, b)
            if isinstance(b, bool):
                return function(a, torch.tensor(b, device=a.device))
        return other(a, b)

    return logical


def _where(condition: Any, *branches: Any) -> Any:
    if isinstance(condition, torch.Tensor) and len(branches) == 2:
        a, b = branches
        if _fit(a, b):
            return torch.where(condition, a, b)
        if type(a) is int and type(b) is int:
            return torch.where(
                condition, torch.tensor(a, dtype=torch.int32, device=condition.device), b
            )
    return _OTHER["where"](condition, *branches)


def _sum(x: torch.Tensor, dim: int | None = None) -> torch.Tensor:
    return torch.sum(x, dim=dim, dtype=torch.int32 if x.dtype is torch.bool else x.dtype)


def _argmax(x: torch.Tensor) -> torch.Tensor:
    return torch.argmax(x.to(torch.int32) if x.dtype is torch.bool else x).to(torch.int32)


def _joined(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    other = _by_keras(name)

    def join(tensors: Sequence[Any], axis: int = 0) -> Any:
        parts = [*tensors]
        first = parts[0].dtype if parts and isinstance(parts[0], torch.Tensor) else None
        if all(isinstance(part, torch.Tensor) and part.dtype is first for part in parts):
            return function(parts, dim=axis)
        return other(parts, axis=axis)

    return join


def _unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    return _OTHER["unstack"](x, num, axis) if axis else x.unbind()


def _cast(x: Any, dtype: Any) -> Any:
    known = _DTYPES.get(dtype) if isinstance(dtype, str) else None
    if known is not None and isinstance(x, torch.Tensor):
        return x.to(known)
    return _OTHER["cast"](x, keras.backend.standardize_dtype(dtype))


def _take(x: Any, indices: Any, axis: int | None = None) -> Any:
    tensors = isinstance(x, torch.Tensor) and isinstance(indices, torch.Tensor)
    if not tensors or indices.dtype not in _INTS:
        return _OTHER["take"](x, indices, axis=axis)
    if axis is None and x.ndim == 1:
        return x[indices]
    if axis is None or axis < 0:
        return _OTHER["take"](x, indices, axis=axis)
    return x[(*(slice(None),) * axis, indices)]


def _slice(x: torch.Tensor, start: Sequence[Any], shape: Sequence[int]) -> torch.Tensor:
    return x[_ranges(start, shape)]


def _slice_update(x: torch.Tensor, start: Sequence[Any], updates: torch.Tensor) -> torch.Tensor:
    updated = x.clone()
    updated[_ranges(start, updates.shape)].copy_(updates)
    return updated


def _ranges(start: Sequence[Any], shape: Sequence[int]) -> tuple[slice, ...]:
    begins = map(int, start)
    return tuple(slice(begin, begin + length) for begin, length in zip(begins, shape, strict=True))


def _reshape(x: Any, newshape: Any) -> Any:
    if isinstance(x, torch.Tensor) and isinstance(newshape, tuple):
        return torch.reshape(x, newshape)
    return _OTHER["reshape"](x, newshape)


def _transpose(x: Any, axes: Any = None) -> Any:
    matrix = isinstance(x, torch.Tensor) and x.ndim == 2
    return x.mT if matrix and axes is None else _OTHER["transpose"](x, axes)


def _matmul(a: Any, b: Any) -> Any:
    tensors = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
    alike = tensors and a.dtype is b.dtype and a.dtype in _FLOATS
    return torch.matmul(a, b) if alike else _OTHER["matmul"](a, b)


def _vdot(a: Any, b: Any) -> Any:
    tensors = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
    alike = tensors and a.dtype is b.dtype and a.dtype in _FLOATS and a.ndim == b.ndim == 1
    return torch.dot(a, b) if alike else _OTHER["vdot"](a, b)


def _solve_triangular(a: Any, b: Any, *, lower: bool = False) -> Any:
    tensors = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
    if tensors and a.dtype is b.dtype and a.ndim == b.ndim:
        return torch.linalg.solve_triangular(a, b, upper=not lower)
    return _OTHER["solve_triangular"](a, b, lower=lower)


def _clip(x: Any, x_min: Any, x_max: Any) -> Any:
    numbers = isinstance(x, torch.Tensor) and x.dtype in _FLOATS
    if numbers and isinstance(x_min, float) and isinstance(x_max, float):
        return torch.clamp(x, x_min, x_max)
    return _OTHER["clip"](x, x_min, x_max)


def _flip(x: Any, axis: Any = None) -> Any:
    fits = isinstance(x, torch.Tensor) and type(axis) is int
    return torch.flip(x, (axis,)) if fits else _OTHER["flip"](x, axis=axis)


def _expand_dims(x: Any, axis: Any) -> Any:
    fits = isinstance(x, torch.Tensor) and type(axis) is int
    return torch.unsqueeze(x, axis) if fits else _OTHER["expand_dims"](x, axis)


def _cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    fits = isinstance(x, torch.Tensor) and x.dtype in _FLOATS
    if fits and axis is not None and dtype is None:
        return torch.cumsum(x, axis)
    return _OTHER["cumsum"](x, axis=axis, dtype=dtype)


def _cond(condition: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    return true_fn() if bool(condition) else false_fn()


def _while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    if maximum_iterations is not None or not isinstance(loop_vars, tuple):
        return _OTHER["while_loop"](cond, body, loop_vars, maximum_iterations)
    while bool(cond(*loop_vars)):
        loop_vars = body(*loop_vars)
    return tuple(loop_vars)


_NUMBERS: Final = (*_FLOATS, *_INTS)
_OTHER: Final = {
    name: _by_keras(name)
    for name in (
        *("cast", "clip", "cumsum", "expand_dims", "flip", "matmul", "reshape", "take"),
        *("solve_triangular", "transpose", "unstack", "vdot", "where", "while_loop"),
    )
}

OPS = SimpleNamespace(
    abs=_of_one("abs", torch.abs),
    all=_along("all", torch.all, torch.bool),
    any=_along("any", torch.any, torch.bool),
    arange=_by_keras("arange"),
    argmax=_of_one("argmax", _argmax, torch.bool, *_NUMBERS),
    argsort=_of_one("argsort", lambda x: torch.argsort(x, stable=True).to(torch.int32), *_NUMBERS),
    bitwise_and=_of_two("bitwise_and", torch.bitwise_and),
    bitwise_xor=_of_two("bitwise_xor", torch.bitwise_xor),
    cast=_cast,
    cholesky=_of_one("cholesky", cholesky, *_FLOATS),
    clip=_clip,
    concatenate=_joined("concatenate", torch.cat),
    cond=_cond,
    convert_to_tensor=_by_keras("convert_to_tensor"),
    cumsum=_cumsum,
    diagonal=_of_one("diagonal", torch.diagonal),
    equal=_of_two("equal", torch.eq),
    expand_dims=_expand_dims,
    eye=_by_keras("eye"),
    flip=_flip,
    full=_by_keras("full"),
    isfinite=_of_one("isfinite", torch.isfinite),
    isnan=_of_one("isnan", torch.isnan),
    logical_and=_logical("logical_and", torch.logical_and),
    logical_not=_of_one("logical_not", torch.logical_not),
    logical_or=_logical("logical_or", torch.logical_or),
    matmul=_matmul,
    max=_along("max", torch.amax, *_NUMBERS),
    maximum=_of_two("maximum", _extreme("min", torch.maximum)),
    minimum=_of_two("minimum", _extreme("max", torch.minimum)),
    ones=_by_keras("ones"),
    ones_like=_of_one("ones_like", torch.ones_like),
    qr=_of_one("qr", torch.linalg.qr, *_FLOATS),
    reshape=_reshape,
    right_shift=_of_two("right_shift", torch.bitwise_right_shift),
    rsqrt=_of_one("rsqrt", torch.rsqrt, *_FLOATS),
    sign=_of_one("sign", torch.sign, *_NUMBERS),
    slice=_slice,
    slice_update=_slice_update,
    solve_triangular=_solve_triangular,
    sqrt=_of_one("sqrt", torch.sqrt, *_FLOATS),
    square=_of_one("square", torch.square, *_NUMBERS),
    stack=_joined("stack", torch.stack),
    sum=_along("sum", _sum, torch.bool, *_FLOATS, torch.int32),
    take=_take,
    transpose=_transpose,
    unstack=_unstack,
    vdot=_vdot,
    where=_where,
    while_loop=_while_loop,
    zeros=_by_keras("zeros"),
    zeros_like=_of_one("zeros_like", torch.zeros_like),
)
"""The functions by their names in `keras.ops`."""
