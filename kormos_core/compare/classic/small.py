"""Functions of two to four parameters: (1) to (5), (7), (13) and (14) of the paper.

Symbols: ``x`` parameters (n,); each function gives the residuals (m,).
"""

from __future__ import annotations

import math
from typing import Any, Final

from keras import ops

from kormos_core.compare.classic.function import ClassicFunction, constant

__all__ = ["SMALL"]


def _rosenbrock(x: Any) -> Any:
    """(1) A curved valley with steep walls: short steps all along it."""
    return ops.stack([10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]])


def _freudenstein_roth(x: Any) -> Any:
    """(2) A local minimum, to which a descent from the start may well go."""
    first = -13.0 + x[0] + ((5.0 - x[1]) * x[1] - 2.0) * x[1]
    second = -29.0 + x[0] + ((x[1] + 1.0) * x[1] - 14.0) * x[1]
    return ops.stack([first, second])


def _powell_badly_scaled(x: Any) -> Any:
    """(3) Parameters nearly 10⁶ times apart, curvatures nearly 10¹⁸ times."""
    first = 1e4 * x[0] * x[1] - 1.0
    return ops.stack([first, ops.exp(-x[0]) + ops.exp(-x[1]) - 1.0001])


def _brown_badly_scaled(x: Any) -> Any:
    """(4) Curvatures of the same size at the start, and 10¹² times apart at the minimum."""
    return ops.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0])


def _beale(x: Any) -> Any:
    """(5) A valley that runs to infinity; the Hessian is indefinite at the start."""
    powers = ops.stack([x[1], x[1] * x[1], x[1] * x[1] * x[1]])
    return constant((1.5, 2.25, 2.625)) - x[0] * (1.0 - powers)


def _helical_valley(x: Any) -> Any:
    """(7) A valley that winds around an axis half a turn; singular on the axis.

    The paper's angle over 2 pi, from -1/4 to 3/4 with its jump where x1 = 0 and x2 < 0, is
    the angle to the second axis in one call.
    """
    theta = 0.25 + ops.arctan2(-x[0], x[1]) / (2.0 * math.pi)
    radius = ops.sqrt(x[0] * x[0] + x[1] * x[1])
    return ops.stack([10.0 * (x[2] - 10.0 * theta), 10.0 * (radius - 1.0), x[2]])


def _powell_singular(x: Any) -> Any:
    """(13) A Hessian of rank two at the minimum: Newton's method converges only linearly."""
    third, fourth = x[1] - 2.0 * x[2], x[0] - x[3]
    return ops.stack(
        [
            x[0] + 10.0 * x[1],
            math.sqrt(5.0) * (x[2] - x[3]),
            third * third,
            math.sqrt(10.0) * fourth * fourth,
        ]
    )


def _wood(x: Any) -> Any:
    """(14) Two curved valleys, coupled, with a saddle on the way that holds solvers up."""
    return ops.stack(
        [
            10.0 * (x[1] - x[0] * x[0]),
            1.0 - x[0],
            math.sqrt(90.0) * (x[3] - x[2] * x[2]),
            1.0 - x[2],
            math.sqrt(10.0) * (x[1] + x[3] - 2.0),
            (x[1] - x[3]) / math.sqrt(10.0),
        ]
    )


SMALL: Final = (
    ClassicFunction(
        name="Rosenbrock", number=1, residuals=_rosenbrock, x0=(-1.2, 1.0), minima=(0.0,)
    ),
    ClassicFunction(
        name="Freudenstein and Roth",
        number=2,
        residuals=_freudenstein_roth,
        x0=(0.5, -2.0),
        minima=(0.0, 48.98425367924),
    ),
    ClassicFunction(
        name="Powell badly scaled",
        number=3,
        residuals=_powell_badly_scaled,
        x0=(0.0, 1.0),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Brown badly scaled",
        number=4,
        residuals=_brown_badly_scaled,
        x0=(1.0, 1.0),
        minima=(0.0,),
    ),
    ClassicFunction(name="Beale", number=5, residuals=_beale, x0=(1.0, 1.0), minima=(0.0,)),
    ClassicFunction(
        name="helical valley",
        number=7,
        residuals=_helical_valley,
        x0=(-1.0, 0.0, 0.0),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Powell singular",
        number=13,
        residuals=_powell_singular,
        x0=(3.0, -1.0, 0.0, 1.0),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Wood", number=14, residuals=_wood, x0=(-3.0, -1.0, -3.0, -1.0), minima=(0.0,)
    ),
)
