"""The objective as a function of optimistix, whose derivatives are kormos's own.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``r`` residuals (m,), ``J``
their Jacobian (m, n); float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import GraphObjective

__all__ = ["function_of", "placeholder"]


def function_of(graph: GraphObjective, num_residuals: int | None) -> Callable[..., Any]:
    """Return what optimistix evaluates and differentiates.

    Parameters
    ----------
    graph : GraphObjective
        The objective.
    num_residuals : int or None
        Number of residuals m; None for a scalar loss.

    Returns
    -------
    callable
        From ``x`` and optimistix's ``args``, which are not used, to ``f`` or ``r``, and no
        further output. A linearization costs one evaluation.
    """
    if num_residuals is None:
        return _with_slope(graph.value_and_grad)
    return _with_slope(lambda x: graph.residuals_and_jacobian(x, num_residuals))


def placeholder(num_residuals: int | None) -> Callable[..., Any]:
    """Return a function of the same structure that evaluates nothing.

    Parameters
    ----------
    num_residuals : int or None
        As of `function_of`.

    Returns
    -------
    callable
        As of `function_of`.
    """
    shape = () if num_residuals is None else (num_residuals,)
    return _with_slope(
        lambda x: (jnp.full(shape, x[0]), jnp.broadcast_to(x, (*shape, x.shape[0])))
    )


def _with_slope(evaluate: Callable[[Any], Any]) -> Callable[..., Any]:
    """Make a function of one that gives values and derivatives."""

    def along(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        value, slope = evaluate(*primals)
        return value, slope @ tangents[0]

    function: Any = jax.custom_jvp(lambda x: evaluate(x)[0])
    function.defjvp(along)
    return lambda x, args: (function(x), args)
