"""The residuals' linear model without a matrix: steps by conjugate gradients.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``r`` residuals (m,), ``J``
their Jacobian (m, n), ``s`` step (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kormos_core.loop import ops
from kormos_native.conjugate_gradients import Equation, conjugate_gradients
from kormos_native.dogleg import Path, dogleg
from kormos_native.linearization import Linearized, Step

if TYPE_CHECKING:
    from kormos_core.loop import GraphObjective

__all__ = ["truncated_model"]

_TERM: Final = 1e-2  # of the gradient, that a step's residual may be
_AT_EDGE: Final = 0.99  # of the radius


def truncated_model(
    graph: GraphObjective, x: Any, radius: Any | None, maxcg: int | None
) -> Linearized:
    """Linearize the residuals by products alone.

    Parameters
    ----------
    graph : GraphObjective
        The objective, a sum of squares.
    x : tensor, shape (n,)
        The point.
    radius : tensor, scalar, or None
        Of the trust region; None for none.
    maxcg : int or None
        Most products.

    Returns
    -------
    Linearized
        The model; costs an evaluation of loss and gradient, and the products. The scale is 1.
        Its `cosine` is that of the angle between the residuals and the way along which they
        fall most steeply, ``J g``. Regions may only be smaller than `radius`; steps in them
        cost no product.

    References
    ----------
    T. Steihaug, "The Conjugate Gradient Method and Trust Regions in Large Scale
    Optimization", SIAM J. Numer. Anal. 20(3), 1983, doi:10.1137/0720042.
    """
    f, g = graph.value_and_grad(x)
    square = ops.vdot(g, g)
    limit = maxcg or min(max(20, 2 * x.shape[0]), 200)
    equation = Equation(g, _TERM * ops.sqrt(square), limit, graph.epsilon, radius)
    found = conjugate_gradients(graph.gauss_newton_at(x), equation)
    path = Path(g, found.step, found.residual, found.curvature)

    def within(radius: Any, guess: Any) -> Step:
        del guess
        s, promised = dogleg(path, radius)
        length = ops.sqrt(ops.vdot(s, s))
        return Step(s, length, ops.cast(length >= _AT_EDGE * radius, "float64"), promised)

    def undamped() -> Step:
        s = found.step
        promised = -0.5 * ops.vdot(s, g + found.residual)
        return Step(s, ops.sqrt(ops.vdot(s, s)), 0.0, promised)

    size = ops.sqrt(2.0 * ops.abs(f) * ops.maximum(found.curvature, 0.0))
    return Linearized(
        f=f,
        g=g,
        scale=ops.ones_like(x),
        cosine=square / ops.where(size > 0.0, size, 1.0),
        num_products=found.num_products,
        within=within,
        undamped=undamped,
    )
