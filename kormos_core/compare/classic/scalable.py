"""Functions of any number of parameters: (20) to (26) and (35) of the paper.

n is 10 unless the paper gives its minimum for another, where it is that one.

Symbols: ``x`` parameters (n,); each function gives the residuals (m,).
"""

from __future__ import annotations

import math
from typing import Any, Final

from keras import ops

from kormos_core.compare.classic.function import ClassicFunction, constant

__all__ = ["SCALABLE"]

_N: Final = 10
_A: Final = 1e-5  # weight of the penalty functions' first terms


def _watson(x: Any) -> Any:
    """(20) A polynomial, the worse conditioned the higher its degree; m = 31."""
    n, t = x.shape[0], [i / 29 for i in range(1, 30)]
    powers = constant([[ti**j for j in range(n)] for ti in t])
    slopes = constant([[j * ti ** max(j - 1, 0) for j in range(n)] for ti in t])
    fit = ops.sum(slopes * x, axis=1) - ops.square(ops.sum(powers * x, axis=1)) - 1.0
    return ops.concatenate([fit, ops.stack([x[0], x[1] - x[0] * x[0] - 1.0])])


def _extended_rosenbrock(x: Any) -> Any:
    """(21) Rosenbrock's valley n/2 times: few different eigenvalues."""
    odd, even = x[0::2], x[1::2]
    return ops.concatenate([10.0 * (even - ops.square(odd)), 1.0 - odd])


def _extended_powell_singular(x: Any) -> Any:
    """(22) Powell's singular function n/4 times: half of the Hessian's rank is missing."""
    a, b, c, d = (x[i::4] for i in range(4))
    return ops.concatenate(
        [
            a + 10.0 * b,
            math.sqrt(5.0) * (c - d),
            ops.square(b - 2.0 * c),
            math.sqrt(10.0) * ops.square(a - d),
        ]
    )


def _penalty_1(x: Any) -> Any:
    """(23) A steep valley around a sphere; along it the function is 10⁴ times flatter."""
    last = ops.sum(ops.square(x)) - 0.25
    return ops.concatenate([math.sqrt(_A) * (x - 1.0), ops.reshape(last, (1,))])


def _penalty_2(x: Any) -> Any:
    """(24) A valley in which the function hardly changes: 10⁶ times flatter than across."""
    n = x.shape[0]
    e = ops.exp(x / 10.0)
    y = constant([math.exp(i / 10) + math.exp((i - 1) / 10) for i in range(2, n + 1)])
    last = ops.sum(constant(range(n, 0, -1)) * ops.square(x)) - 1.0
    return ops.concatenate(
        [
            x[:1] - 0.2,
            math.sqrt(_A) * (e[1:] + e[:-1] - y),
            math.sqrt(_A) * (e[1:] - math.exp(-0.1)),
            ops.reshape(last, (1,)),
        ]
    )


def _variably_dimensioned(x: Any) -> Any:
    """(25) A fourth power along one direction, from a start where it is all that counts."""
    s = ops.sum(constant(range(1, x.shape[0] + 1)) * (x - 1.0))
    return ops.concatenate([x - 1.0, ops.stack([s, s * s])])


def _trigonometric(x: Any) -> Any:
    """(26) Many local minima; the paper gives one of them."""
    n = x.shape[0]
    i = constant(range(1, n + 1))
    return n - ops.sum(ops.cos(x)) + i * (1.0 - ops.cos(x)) - ops.sin(x)


def _chebyquad(x: Any) -> Any:
    """(35) Nodes of a quadrature: any order of them will do."""
    n, y = x.shape[0], 2.0 * x - 1.0
    before, current = ops.ones_like(y), y
    means = []
    for i in range(1, n + 1):
        exact = 0.0 if i % 2 else -1.0 / (i * i - 1)
        means.append(ops.sum(current) / n - exact)
        before, current = current, 2.0 * y * current - before
    return ops.stack(means)


SCALABLE: Final = (
    ClassicFunction(
        name="Watson, n=6",
        number=20,
        residuals=_watson,
        x0=(0.0,) * 6,
        minima=(2.287670053552e-3,),
    ),
    ClassicFunction(
        name="Watson, n=9",
        number=20,
        residuals=_watson,
        x0=(0.0,) * 9,
        minima=(1.399760138099e-6,),
    ),
    ClassicFunction(
        name="extended Rosenbrock",
        number=21,
        residuals=_extended_rosenbrock,
        x0=(-1.2, 1.0) * (_N // 2),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="extended Powell singular",
        number=22,
        residuals=_extended_powell_singular,
        x0=(3.0, -1.0, 0.0, 1.0) * 3,
        minima=(0.0,),
    ),
    ClassicFunction(
        name="penalty I, n=4",
        number=23,
        residuals=_penalty_1,
        x0=(1.0, 2.0, 3.0, 4.0),
        minima=(2.2499775009e-5,),
    ),
    ClassicFunction(
        name="penalty I, n=10",
        number=23,
        residuals=_penalty_1,
        x0=tuple(float(j) for j in range(1, 11)),
        minima=(7.08765146709e-5,),
    ),
    ClassicFunction(
        name="penalty II, n=4",
        number=24,
        residuals=_penalty_2,
        x0=(0.5,) * 4,
        minima=(9.376293007355e-6,),
    ),
    ClassicFunction(
        name="penalty II, n=10",
        number=24,
        residuals=_penalty_2,
        x0=(0.5,) * 10,
        minima=(2.936605374567e-4,),
    ),
    ClassicFunction(
        name="variably dimensioned",
        number=25,
        residuals=_variably_dimensioned,
        x0=tuple(1.0 - j / _N for j in range(1, _N + 1)),
        minima=(0.0,),
    ),
    ClassicFunction(
        name="trigonometric",
        number=26,
        residuals=_trigonometric,
        x0=(1.0 / _N,) * _N,
        minima=(0.0, 2.795056121879e-5),
    ),
    ClassicFunction(
        name="Chebyquad",
        number=35,
        residuals=_chebyquad,
        x0=tuple(j / 9 for j in range(1, 9)),
        minima=(3.516873725678e-3,),
    ),
)
