"""Models fitted to data: (6), (8) to (12) and (15) to (19) of the paper.

Symbols: ``x`` parameters (n,), ``t`` where data were taken (m,), ``y`` data (m,); each
function gives the residuals (m,).
"""

from __future__ import annotations

import math
from typing import Any, Final

from keras import ops

from kormos_core.compare.classic.function import ClassicFunction, constant
from kormos_core.compare.classic.tables import (
    BARD,
    GAUSSIAN,
    KOWALIK_OSBORNE_T,
    KOWALIK_OSBORNE_Y,
    MEYER,
    OSBORNE_1,
    OSBORNE_2,
)

__all__ = ["DATA_FITTING"]


def _jennrich_sampson(x: Any) -> Any:
    """(6) Exponentials so steep that a long step overflows; a large residual; m = 10."""
    t = constant(range(1, 11))
    return 2.0 + 2.0 * t - (ops.exp(t * x[0]) + ops.exp(t * x[1]))


def _bard(x: Any) -> Any:
    """(8) Poles next to the fit, and a second minimum at infinity."""
    u = constant(range(1, 16))
    v = 16.0 - u
    return constant(BARD) - (x[0] + u / (v * x[1] + ops.minimum(u, v) * x[2]))


def _gaussian(x: Any) -> Any:
    """(9) A start so good that only the last digits are left to find."""
    t = constant([(8 - i) / 2 for i in range(1, 16)])
    return x[0] * ops.exp(-0.5 * x[1] * ops.square(t - x[2])) - constant(GAUSSIAN)


def _meyer(x: Any) -> Any:
    """(10) A bent valley with curvatures 10¹⁶ times apart; f falls from 10⁹ to 88."""
    t = constant([45 + 5 * i for i in range(1, 17)])
    return x[0] * ops.exp(x[1] / (t + x[2])) - constant(MEYER)


def _gulf(x: Any) -> Any:
    """(11) A power of a distance: not differentiable where x2 meets y; m = 99.

    The paper prints "mi" for the minus sign in the distance; its software has the minus.
    """
    t = [i / 100 for i in range(1, 100)]
    y = constant([25.0 + (-50.0 * math.log(ti)) ** (2 / 3) for ti in t])
    return ops.exp(-ops.power(ops.abs(y - x[1]), x[2]) / x[0]) - constant(t)


def _box(x: Any) -> Any:
    """(12) A whole line of minima, and two more of their own; m = 10."""
    t = constant([i / 10 for i in range(1, 11)])
    modes = ops.exp(-t * x[0]) - ops.exp(-t * x[1])
    return modes - x[2] * (ops.exp(-t) - ops.exp(-10.0 * t))


def _kowalik_osborne(x: Any) -> Any:
    """(15) A quotient with its pole near by, and a second minimum at infinity."""
    t = constant(KOWALIK_OSBORNE_T)
    return constant(KOWALIK_OSBORNE_Y) - x[0] * (t * (t + x[1])) / (t * (t + x[2]) + x[3])


def _brown_dennis(x: Any) -> Any:
    """(16) Fourth powers, a start that is far away, and a large residual; m = 20."""
    t = constant([i / 5 for i in range(1, 21)])
    first = x[0] + t * x[1] - ops.exp(t)
    second = x[2] + x[3] * ops.sin(t) - ops.cos(t)
    return first * first + second * second


def _osborne_1(x: Any) -> Any:
    """(17) Two exponentials that almost cancel each other; scales 100 times apart."""
    t = constant([10 * i for i in range(33)])
    return constant(OSBORNE_1) - (x[0] + x[1] * ops.exp(-t * x[3]) + x[2] * ops.exp(-t * x[4]))


def _biggs_exp6(x: Any) -> Any:
    """(18) A start at which two exponentials are the same: rounding decides; m = 13.

    As long as they stay the same, the least is the second minimum of the paper. It is a
    saddle: downhill, to 0, leads a difference between the two.
    """
    t = constant([i / 10 for i in range(1, 14)])
    y = ops.exp(-t) - 5.0 * ops.exp(-10.0 * t) + 3.0 * ops.exp(-4.0 * t)
    first, second = x[2] * ops.exp(-t * x[0]), x[3] * ops.exp(-t * x[1])
    return first - second + x[5] * ops.exp(-t * x[4]) - y


def _osborne_2(x: Any) -> Any:
    """(19) An exponential and three bells that overlap: eleven parameters."""
    t = constant([i / 10 for i in range(65)])
    model = x[0] * ops.exp(-t * x[4])
    for height, width, center in ((1, 5, 8), (2, 6, 9), (3, 7, 10)):
        model = model + x[height] * ops.exp(-x[width] * ops.square(t - x[center]))
    return constant(OSBORNE_2) - model


DATA_FITTING: Final = (
    ClassicFunction(
        name="Jennrich and Sampson",
        number=6,
        residuals=_jennrich_sampson,
        x0=(0.3, 0.4),
        minima=(124.3621823556,),
    ),
    ClassicFunction(
        name="Bard",
        number=8,
        residuals=_bard,
        x0=(1.0, 1.0, 1.0),
        minima=(8.214877306579e-3, 17.42869333333),
    ),
    ClassicFunction(
        name="Gaussian",
        number=9,
        residuals=_gaussian,
        x0=(0.4, 1.0, 0.0),
        minima=(1.127932769619e-8,),
    ),
    ClassicFunction(
        name="Meyer",
        number=10,
        residuals=_meyer,
        x0=(0.02, 4000.0, 250.0),
        minima=(87.94585517085,),
    ),
    ClassicFunction(
        name="Gulf research and development",
        number=11,
        residuals=_gulf,
        x0=(5.0, 2.5, 0.15),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Box three-dimensional",
        number=12,
        residuals=_box,
        x0=(0.0, 10.0, 20.0),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Kowalik and Osborne",
        number=15,
        residuals=_kowalik_osborne,
        x0=(0.25, 0.39, 0.415, 0.39),
        minima=(3.075056038492e-4, 1.027343048695e-3),
    ),
    ClassicFunction(
        name="Brown and Dennis",
        number=16,
        residuals=_brown_dennis,
        x0=(25.0, 5.0, -5.0, -1.0),
        minima=(85822.20162636,),
    ),
    ClassicFunction(
        name="Osborne 1",
        number=17,
        residuals=_osborne_1,
        x0=(0.5, 1.5, -1.0, 0.01, 0.02),
        minima=(5.464894697483e-5,),
    ),
    ClassicFunction(
        name="Biggs EXP6",
        number=18,
        residuals=_biggs_exp6,
        x0=(1.0, 2.0, 1.0, 1.0, 1.0, 1.0),
        minima=(0.0, 5.6556499255e-3),
    ),
    ClassicFunction(
        name="Osborne 2",
        number=19,
        residuals=_osborne_2,
        x0=(1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5),
        minima=(4.013773629355e-2,),
    ),
)
