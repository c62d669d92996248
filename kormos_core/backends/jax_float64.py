"""Traces without the detours that Keras takes through float32.

Operations of Keras that ask for the type of a result get float32 for float64, on every
backend but TensorFlow: `keras.ops.mean` of float64, and with it the mean squared error,
`tanh`, `sin`, `var`, `norm` and others cast to float32, compute and cast back. What is
lost is half of the digits, of losses and gradients. So where everything is meant to be
float64, a trace is gone through once more, and what was narrowed is computed as it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_function", "in_float64"]

_WIDE: Final = np.dtype("float64")
_NARROW: Final = np.dtype("float32")

# What computes in the dtype of its operands. Through all else float32 goes as it is.
_FOLLOWERS: Final = frozenset(
    {
        "abs",
        "acos",
        "acosh",
        "add",
        "add_any",
        "argmax",
        "argmin",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "broadcast_in_dim",
        "cbrt",
        "ceil",
        "clamp",
        "concatenate",
        "conv_general_dilated",
        "copy",
        "copy_p",
        "cos",
        "cosh",
        "cumlogsumexp",
        "cummax",
        "cummin",
        "cumprod",
        "cumsum",
        "digamma",
        "div",
        "dot_general",
        "dynamic_slice",
        "dynamic_update_slice",
        "eq",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expand_dims",
        "expm1",
        "floor",
        "gather",
        "ge",
        "gt",
        "integer_pow",
        "is_finite",
        "le",
        "lgamma",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "pad",
        "pow",
        "reduce_max",
        "reduce_min",
        "reduce_prod",
        "reduce_sum",
        "reduce_window_max",
        "reduce_window_min",
        "reduce_window_sum",
        "rem",
        "reshape",
        "rev",
        "round",
        "rsqrt",
        "scatter",
        "scatter-add",
        "select_and_gather_add",
        "select_and_scatter_add",
        "select_n",
        "sign",
        "sin",
        "sinh",
        "slice",
        "sort",
        "split",
        "sqrt",
        "square",
        "squeeze",
        "stop_gradient",
        "sub",
        "tan",
        "tanh",
        "transpose",
    }
)
_CALLS: Final = frozenset({"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"})
_LOOPS: Final = frozenset({"while", "scan", "cond"})


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a traceable function that keeps to float64.

    Parameters
    ----------
    function : callable
        Takes and gives structures of arrays; it is not differentiated any more.

    Returns
    -------
    callable
        The function.
    """

    def wide(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = as_function(closed, keep_float64=True)(*jax.tree.leaves(arguments))
        return jax.tree.structure(shape).unflatten(results)

    return wide


def as_function(closed: Any, *, keep_float64: bool) -> Callable[..., list[Any]]:
    """Return a closed trace as a function of its inputs, a list of results.

    Parameters
    ----------
    closed : jax.extend.core.ClosedJaxpr
        The trace.
    keep_float64 : bool
        Whether what it narrows to float32 is computed in float64.

    Returns
    -------
    callable
        The function.
    """
    if not (keep_float64 and _narrows(closed.jaxpr)):
        return jaxpr_as_fun(closed)  # type: ignore[no-any-return]

    def function(*values: Any) -> list[Any]:
        results = _evaluate(closed.jaxpr, [*closed.consts, *values])
        pairs = zip(results, closed.jaxpr.outvars, strict=True)
        return [_to(value, atom.aval.dtype) for value, atom in pairs]

    return function


def _narrows(jaxpr: Any) -> bool:
    """Tell whether anything in a trace is rounded from float64 to float32."""
    return any(_is_narrowing(eqn) or any(map(_narrows, _inner(eqn))) for eqn in jaxpr.eqns)


def _is_narrowing(eqn: Any) -> bool:
    return (
        eqn.primitive.name == "convert_element_type"
        and eqn.params["new_dtype"] == _NARROW
        and bool(eqn.invars[0].aval.dtype == _WIDE)
    )


def _inner(eqn: Any) -> list[Any]:
    parts = [
        part
        for parameter in eqn.params.values()
        for part in (parameter if isinstance(parameter, (list, tuple)) else (parameter,))
    ]
    return [part for part in (getattr(p, "jaxpr", p) for p in parts) if hasattr(part, "eqns")]


def _to(value: Any, dtype: Any) -> Any:
    same = getattr(value, "dtype", None) == dtype
    return value if same else jax.lax.convert_element_type(value, dtype)


def _evaluate(jaxpr: Any, values: list[Any]) -> list[Any]:
    """Go through a trace; what it has as float32 may come, and may be given, as float64."""
    found = dict(zip([*jaxpr.constvars, *jaxpr.invars], values, strict=True))

    def look(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else found[atom]

    for eqn in jaxpr.eqns:
        results = _apply(eqn, [look(atom) for atom in eqn.invars])
        found.update(zip(eqn.outvars, results, strict=True))
    return [look(atom) for atom in jaxpr.outvars]


def _apply(eqn: Any, operands: list[Any]) -> list[Any]:
    """Return the results of one equation."""
    name, wide = eqn.primitive.name, any(map(_is_wide, eqn.invars, operands))
    casts = name == "convert_element_type" and eqn.params["new_dtype"] in {_WIDE, _NARROW}
    if _is_narrowing(eqn) or (wide and casts):
        return operands
    if name in _CALLS and (wide or any(map(_narrows, _inner(eqn)))):
        closed = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        return _evaluate(closed.jaxpr, [*closed.consts, *operands])
    if wide and name in _FOLLOWERS:
        return _bind(eqn, [_widened(value) for value in operands], _dtypes_of(eqn))
    if name in _LOOPS and (wide or any(map(_narrows, _inner(eqn)))):
        return _bind(eqn, [_widened(value) for value in operands], _loop_in_float64(eqn))
    if wide:
        pairs = zip(operands, eqn.invars, strict=True)
        operands = [_to(value, atom.aval.dtype) for value, atom in pairs]
    return _bind(eqn, operands, {})


def _dtypes_of(eqn: Any) -> dict[str, Any]:
    """Return float64 for what an equation has as float32 among its parameters."""
    return {
        key: _WIDE
        for key, value in eqn.params.items()
        if isinstance(value, (np.dtype, type)) and value in {_NARROW, np.float32}
    }


def _is_wide(atom: Any, value: Any) -> bool:
    dtype = getattr(atom.aval, "dtype", None)
    return dtype == _NARROW and getattr(value, "dtype", None) == _WIDE


def _widened(value: Any) -> Any:
    """Return float64 in place of float32."""
    if getattr(value, "dtype", None) != _NARROW:
        return value
    if np.ndim(value) == 0 and not isinstance(value, jax.Array):
        return np.float64(str(value))  # a constant such as 0.99, as somebody wrote it
    return _to(value, _WIDE)


def _loop_in_float64(eqn: Any) -> dict[str, Any]:
    """Return the traces within a loop or branch, which take and give no float32 any more."""

    def wide(closed: Any) -> Any:
        def function(*values: Any) -> list[Any]:
            results = _evaluate(closed.jaxpr, [*closed.consts, *values])
            return [_widened(value) for value in results]

        like = [
            jax.ShapeDtypeStruct(
                aval.shape,
                _WIDE if aval.dtype == _NARROW else aval.dtype,
                weak_type=aval.weak_type,
            )
            for aval in closed.in_avals
        ]
        return jax.make_jaxpr(function)(*like)

    return {
        key: tuple(map(wide, value)) if isinstance(value, tuple) else wide(value)
        for key, value in eqn.params.items()
        if isinstance(value, ClosedJaxpr)
        or (isinstance(value, tuple) and value and isinstance(value[0], ClosedJaxpr))
    }


def _bind(eqn: Any, operands: list[Any], changed: dict[str, Any]) -> list[Any]:
    bound = eqn.primitive.get_bind_params({**eqn.params, **changed})
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # as JAX before 0.8
    results = eqn.primitive.bind(*functions, *operands, **params)
    return list(results) if eqn.primitive.multiple_results else [results]
