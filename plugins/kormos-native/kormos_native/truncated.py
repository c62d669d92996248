"""The residuals' linear model without a matrix: steps by conjugate gradients.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``p`` step (n,); all float64
tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keras import ops

from kormos_native.conjugate_gradients import Equation, conjugate_gradients
from kormos_native.damping import DampedModel
from kormos_native.linearization import Linearized

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import GraphObjective

__all__ = ["truncated_model"]

_TERM: Final = 1e-2  # of the gradient, that a step's residual may be


def truncated_model(
    graph: GraphObjective, x: Any, scale: Any, maxcg: int | None
) -> tuple[Linearized, Callable[[Any, Any], tuple[Any, Any, Any]]]:
    """Linearize the residuals by products alone.

    Parameters
    ----------
    graph : GraphObjective
        The objective, a sum of squares.
    x : tensor, shape (n,)
        The point.
    scale : tensor, shape (n,)
        Not used but for its shape: parameters have the scale 1.
    maxcg : int or None
        Most products for a step.

    Returns
    -------
    model : Linearized
        The model; costs an evaluation of loss and gradient.
    step : callable
        From the radius of a trust region and a damping that is not used to the step, a
        damping of 1 where the region cut it short or 0, and the number of products.

    References
    ----------
    T. Steihaug, "The Conjugate Gradient Method and Trust Regions in Large Scale
    Optimization", SIAM J. Numer. Anal. 20(3), 1983, doi:10.1137/0720042.
    """
    f, g = graph.value_and_grad(x)
    product = graph.gauss_newton_at(x)
    norm = ops.sqrt(ops.vdot(g, g))
    n = x.shape[0]
    limit = maxcg or min(max(20, 2 * n), 200)

    def step(radius: Any, guess: Any) -> tuple[Any, Any, Any]:
        del guess
        tolerance = _TERM * norm
        found = conjugate_gradients(product, Equation(g, tolerance, limit, graph.epsilon, radius))
        length = ops.sqrt(ops.vdot(found.step, found.step))
        cut = ops.cast(length >= 0.99 * radius, "float64")
        return found.step, cut, found.num_products

    def bend(p: Any) -> Any:
        return ops.vdot(p, product(p))

    one = ops.ones_like(scale)
    model = DampedModel(g, _no_damping, bend, ops.zeros_like(f))
    return Linearized(f, g, norm * one, one, model), step


def _no_damping(damping: Any) -> tuple[Any, Any]:
    message = f"conjugate gradients know no damping, and were asked for {damping}"
    raise NotImplementedError(message)
