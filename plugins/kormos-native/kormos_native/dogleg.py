"""Steps inside a smaller trust region, from the steps in a larger one.

Symbols: ``g`` gradient (n,), ``H`` Hessian, ``s`` step (n,), ``r = g + H s`` its residual
(n,); all float64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from kormos_core.loop import ops

__all__ = ["Path", "dogleg"]


class Path(NamedTuple):
    """Where conjugate gradients went: first along ``-g``, in the end to ``s``.

    Attributes
    ----------
    g, s, r : tensor, shape (n,)
        Gradient, last step and its residual.
    curvature : tensor, scalar, float64
        ``g' H g``.
    """

    g: Any
    s: Any
    r: Any
    curvature: Any


def dogleg(path: Path, radius: Any) -> tuple[Any, Any]:
    """Return the step to the edge of a region, or the last one where that is inside.

    Parameters
    ----------
    path : Path
        Where conjugate gradients went.
    radius : tensor, scalar, float64
        Longest step.

    Returns
    -------
    step : tensor, shape (n,)
        The step.
    decrease : tensor, scalar, float64
        What the quadratic model falls by.

    Notes
    -----
    Cost: no product; seven operations on vectors. The way from the minimizer along ``-g``
    straight to ``s`` stands for that of conjugate gradients, in which it cuts the corners.
    All along it the model falls and the distance grows, as they do there, because the
    directions are conjugate and turn away from none of those before: the step is as good as
    the Cauchy point, which is what the convergence of trust regions rests on. Products along
    ``g`` and ``s`` are known from ``g' H g`` and from ``H s = r - g``.

    References
    ----------
    M. J. D. Powell, "A new algorithm for unconstrained optimization", 1970,
    doi:10.1016/B978-0-12-597050-1.50006-3.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, equation
    (4.16) and lemma 4.2, doi:10.1007/978-0-387-40065-5.
    """
    g, s, r, along_g = path
    gg, gs, ss = ops.vdot(g, g), ops.vdot(g, s), ops.vdot(s, s)
    along_s, across = ops.vdot(s, r) - gs, ops.vdot(g, r) - gg  # s' H s and g' H s
    inside = ss <= radius**2

    length = ops.sqrt(gg)
    convex = along_g > 0.0
    t = ops.where(convex, gg / ops.where(convex, along_g, 1.0), math.inf)
    short = t * length >= radius  # the edge is met along -g
    t = ops.minimum(t, radius / length)

    along = -t * (gs + t * gg)  # (-t g)' (s + t g)
    square = ss + t * (2.0 * gs + t * gg)
    room = ops.maximum(radius**2 - t * t * gg, 0.0)
    share = room / (along + ops.sqrt(along * along + square * room))
    share = ops.where(short, 0.0, share)

    a = ops.where(inside, 0.0, -t * (1.0 - share))
    b = ops.where(inside, 1.0, share)
    slope = a * gg + b * gs
    return a * g + b * s, -slope - 0.5 * (a * a * along_g + b * (2.0 * a * across + b * along_s))
