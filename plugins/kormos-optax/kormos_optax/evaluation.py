"""The loss as a function that optax can evaluate and differentiate.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); float64 tensors.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import GraphObjective

__all__ = ["is_finite", "loss_of"]


def loss_of(graph: GraphObjective) -> Callable[[Any], Any]:
    """Return the loss, whose derivative is the objective's own gradient.

    Parameters
    ----------
    graph : GraphObjective
        The objective.

    Returns
    -------
    callable
        From ``x`` to ``f``. A differentiation costs one evaluation of loss and gradient,
        which goes through the data slice by slice as kormos does, whatever JAX would keep.
        However many places call it, it is traced once.
    """
    # a partial is a function of its own to JAX, which keeps traces by the function
    both = jax.jit(functools.partial(graph.value_and_grad))
    alone = jax.jit(functools.partial(graph.value))

    def along(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        f, g = both(*primals)
        return f, jax.numpy.vdot(g, tangents[0])

    loss: Callable[[Any], Any] = jax.custom_jvp(alone)
    loss.defjvp(along)  # type: ignore[attr-defined]
    return loss


def is_finite(f: Any, g: Any) -> Any:
    """Tell whether loss `f` and gradient `g`, (n,), are finite; traced."""
    return jax.numpy.isfinite(f) & jax.numpy.all(jax.numpy.isfinite(g))
