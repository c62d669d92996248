"""Truncated conjugate gradients: steps of Newton's method from Hessian products.

Symbols: ``g`` gradient (n,), ``H`` Hessian, ``s`` step (n,), ``r = g + H s`` residual (n,),
``p`` direction (n,), ``hp`` its product (n,), ``z`` preconditioned residual (n,); all float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kormos_core.loop import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import State
    from kormos_native.preconditioners import Gathering

__all__ = [
    "BOUNDARY",
    "CONVERGED",
    "CURVED",
    "LIMITED",
    "Equation",
    "Truncated",
    "conjugate_gradients",
]

LIMITED: Final = 0
"""Outcome: as many products were made as are allowed."""

CONVERGED: Final = 1
"""Outcome: the residual is as small as was asked for."""

CURVED: Final = 2
"""Outcome: a direction without positive curvature, or whose product is not finite."""

BOUNDARY: Final = 3
"""Outcome: the edge of the trust region."""

_LEAST_CURVATURE: Final = 0.1  # of |p| |hp|, that a step along negative curvature reckons with


class Equation(NamedTuple):
    """Newton's equation ``H s = -g`` at one point, and how far to solve it.

    Attributes
    ----------
    g : tensor, shape (n,)
        The gradient, not 0.
    tolerance : tensor, scalar, float64
        Euclidean norm of the residual that is small enough.
    limit : int, or tensor, scalar, int32
        Most products.
    epsilon : float
        Relative rounding error of products: curvature below this is none.
    radius : tensor, scalar, float64, or None
        Longest step; None for no limit.
    """

    g: Any
    tolerance: Any
    limit: Any
    epsilon: float
    radius: Any = None


class Truncated(NamedTuple):
    """An approximate solution of Newton's equation.

    Attributes
    ----------
    step : tensor, shape (n,)
        The step; 0 where not even the first direction was good for one.
    residual : tensor, shape (n,)
        ``g + H step`` by recursion, a product that is not finite taken for 0.
    curvature : tensor, scalar, float64
        ``p' H p`` of the first direction ``p``.
    num_products : tensor, scalar, int32
        Products that were made.
    outcome : tensor, scalar, int32
        Why there are no more.
    gathered : dict of str to tensor
        What was gathered on the way.
    """

    step: Any
    residual: Any
    curvature: Any
    num_products: Any
    outcome: Any
    gathered: State


class _Iterate(NamedTuple):
    """Where the iteration is."""

    step: Any
    residual: Any
    direction: Any
    rz: Any
    curvature: Any
    num_products: Any
    outcome: Any
    gathered: State


class _Stride(NamedTuple):
    """What the product of a direction tells about the next step along it."""

    hp: Any
    curvature: Any
    length: Any
    curved: Any
    leaves: Any


def _unchanged(r: Any) -> Any:
    return r


def conjugate_gradients(
    product: Callable[[Any], Any],
    equation: Equation,
    precondition: Callable[[Any], Any] = _unchanged,
    gathering: Gathering | None = None,
) -> Truncated:
    """Solve Newton's equation as far as it is worth it.

    Parameters
    ----------
    product : callable
        Multiplies with the Hessian; traced once.
    equation : Equation
        What is solved.
    precondition : callable
        Multiplies with an approximate inverse of the Hessian, symmetric and positive
        definite.
    gathering : Gathering or None
        Takes the directions and their products.

    Returns
    -------
    Truncated
        The step. It leads downhill, and the quadratic model falls all along the way to it.

    Notes
    -----
    Cost: one product an iteration and a handful of operations on vectors. Memory: four
    vectors. Where a direction has negative curvature, the step goes along it to the edge of
    the trust region. Without a region it goes as far as if the curvature were positive, but
    at least a tenth of ``|p| |hp|``: this deviates from algorithm 7.1, which stops, and
    halves the iterations on Rosenbrock's function. Curvature that is 0 but for rounding ends
    the iteration where it is.

    References
    ----------
    T. Steihaug, "The Conjugate Gradient Method and Trust Regions in Large Scale
    Optimization", SIAM J. Numer. Anal. 20(3), 1983, section 2, doi:10.1137/0720042.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, algorithms
    7.1 and 7.2, doi:10.1007/978-0-387-40065-5.
    """
    z = precondition(equation.g)
    zero = ops.zeros_like(equation.tolerance)
    none = ops.cast(zero, "int32")
    first = _Iterate(
        step=ops.zeros_like(equation.g),
        residual=equation.g,
        direction=-z,
        rz=ops.vdot(equation.g, z),
        curvature=zero,
        num_products=none,
        outcome=none,
        gathered={} if gathering is None else gathering.start,
    )

    def goes_on(*loop: Any) -> Any:
        iterate = _Iterate(*loop)
        return ops.logical_and(iterate.outcome == LIMITED, iterate.num_products < equation.limit)

    def advance(*loop: Any) -> tuple[Any, ...]:
        iterate = _Iterate(*loop)
        stride = _stride(iterate, product(iterate.direction), equation)
        after = _next(iterate, stride, precondition, equation.tolerance)
        if gathering is not None:
            seen = (iterate.direction, stride.hp, stride.curvature, iterate.num_products)
            after = after._replace(gathered=gathering.add(iterate.gathered, *seen))
        return tuple(after)

    last = _Iterate(*ops.while_loop(goes_on, advance, tuple(first)))
    return Truncated(
        last.step,
        last.residual,
        last.curvature,
        last.num_products,
        last.outcome,
        last.gathered,
    )


def _stride(iterate: _Iterate, hp: Any, equation: Equation) -> _Stride:
    """Return how far to go along the direction."""
    p = iterate.direction
    curvature = ops.vdot(p, hp)
    finite = ops.isfinite(curvature)
    hp = ops.where(finite, hp, 0.0)
    curvature = ops.where(finite, curvature, 0.0)
    pp = ops.vdot(p, p)
    size = ops.sqrt(pp * ops.vdot(hp, hp))
    least = equation.epsilon * size
    curved = curvature <= least
    length = iterate.rz / ops.where(curved, 1.0, curvature)
    if equation.radius is None:
        downwards = ops.logical_and(curved, curvature < -least)
        reckoned = ops.maximum(-curvature, _LEAST_CURVATURE * size)
        bent = ops.where(downwards, iterate.rz / ops.where(downwards, reckoned, 1.0), 0.0)
        return _Stride(hp, curvature, ops.where(curved, bent, length), curved, curved)
    sp = ops.vdot(iterate.step, p)
    room = ops.maximum(equation.radius**2 - ops.vdot(iterate.step, iterate.step), 0.0)
    edge = room / (sp + ops.sqrt(sp * sp + pp * room))
    leaves = ops.logical_or(curved, length >= edge)
    return _Stride(hp, curvature, ops.where(leaves, edge, length), curved, leaves)


def _next(
    iterate: _Iterate, stride: _Stride, precondition: Callable[[Any], Any], tolerance: Any
) -> _Iterate:
    """Return the iterate after the stride."""
    p, count = iterate.direction, iterate.num_products
    residual = iterate.residual + stride.length * stride.hp
    z = precondition(residual)
    rz = ops.vdot(residual, z)
    small = ops.vdot(residual, residual) <= tolerance**2
    inside = ops.where(small, CONVERGED, LIMITED)
    outcome = ops.where(stride.leaves, ops.where(stride.curved, CURVED, BOUNDARY), inside)
    return _Iterate(
        step=iterate.step + stride.length * p,
        residual=residual,
        direction=(rz / iterate.rz) * p - z,
        rz=rz,
        curvature=ops.where(count == 0, stride.curvature, iterate.curvature),
        num_products=count + 1,
        outcome=ops.cast(outcome, "int32"),
        gathered=iterate.gathered,
    )
