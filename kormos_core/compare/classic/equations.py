"""Systems of equations of any size: (27) to (34) of the paper; n is 10.

Symbols: ``x`` parameters (n,); each function gives the residuals (m,).
"""

from __future__ import annotations

import functools
import operator
from typing import Any, Final

from keras import ops

from kormos_core.compare.classic.function import ClassicFunction, constant

__all__ = ["EQUATIONS"]

_N: Final = 10
_M: Final = 20  # residuals of the linear functions


def _brown_almost_linear(x: Any) -> Any:
    """(27) All but one residual linear; where f = 1, the product of all is flat like a plain."""
    n = x.shape[0]
    product = functools.reduce(operator.mul, (x[j] for j in range(n)))
    linear = x[:-1] + (ops.sum(x) - (n + 1.0))
    return ops.concatenate([linear, ops.reshape(product - 1.0, (1,))])


def _discrete_boundary_value(x: Any) -> Any:
    """(28) A differential equation, the worse conditioned the finer its grid."""
    n = x.shape[0]
    h = 1.0 / (n + 1)
    t = constant([(i + 1) * h for i in range(n)])
    padded = ops.pad(x, (1, 1))
    s = x + t + 1.0
    return 2.0 * x - padded[:-2] - padded[2:] + 0.5 * h * h * s * s * s


def _discrete_integral_equation(x: Any) -> Any:
    """(29) The same equation in integral form: a dense Hessian, well conditioned."""
    n = x.shape[0]
    h = 1.0 / (n + 1)
    t = [(i + 1) * h for i in range(n)]
    kernel = constant([[min(a, b) * (1.0 - max(a, b)) for b in t] for a in t])
    s = x + constant(t) + 1.0
    return x + 0.5 * h * ops.sum(kernel * (s * s * s), axis=1)


def _broyden_tridiagonal(x: Any) -> Any:
    """(30) A band of three, each residual quadratic."""
    padded = ops.pad(x, (1, 1))
    return (3.0 - 2.0 * x) * x - padded[:-2] - 2.0 * padded[2:] + 1.0


def _broyden_banded(x: Any) -> Any:
    """(31) A band of seven, with a cubic on the diagonal."""
    n = x.shape[0]
    band = [[float(i != j and i - 5 <= j <= i + 1) for j in range(n)] for i in range(n)]
    neighbors = ops.sum(constant(band) * (x * (1.0 + x)), axis=1)
    return x * (2.0 + 5.0 * ops.square(x)) + 1.0 - neighbors


def _linear_full_rank(x: Any) -> Any:
    """(32) A parabola as round as can be, with a residual that stays."""
    shift = 2.0 / _M * ops.sum(x) + 1.0
    return ops.pad(x, (0, _M - x.shape[0])) - shift


def _linear_rank_1(x: Any) -> Any:
    """(33) Curved along one direction only, steeply: a hyperplane of minima."""
    s = ops.sum(constant(range(1, x.shape[0] + 1)) * x)
    return constant(range(1, _M + 1)) * s - 1.0


def _linear_rank_1_with_zeros(x: Any) -> Any:
    """(34) The same, with parameters and residuals that do not matter at all."""
    s = ops.sum(constant(range(2, x.shape[0])) * x[1:-1])
    return constant([*range(_M - 1), 0]) * s - 1.0


_GRID: Final = tuple(j / (_N + 1) * (j / (_N + 1) - 1.0) for j in range(1, _N + 1))

EQUATIONS: Final = (
    ClassicFunction(
        name="Brown almost-linear",
        number=27,
        residuals=_brown_almost_linear,
        x0=(0.5,) * _N,
        minima=(0.0, 1.0),
    ),
    ClassicFunction(
        name="discrete boundary value",
        number=28,
        residuals=_discrete_boundary_value,
        x0=_GRID,
        minima=(0.0,),
    ),
    ClassicFunction(
        name="discrete integral equation",
        number=29,
        residuals=_discrete_integral_equation,
        x0=_GRID,
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Broyden tridiagonal",
        number=30,
        residuals=_broyden_tridiagonal,
        x0=(-1.0,) * _N,
        minima=(0.0,),
    ),
    ClassicFunction(
        name="Broyden banded",
        number=31,
        residuals=_broyden_banded,
        x0=(-1.0,) * _N,
        minima=(0.0,),
    ),
    ClassicFunction(
        name="linear, full rank",
        number=32,
        residuals=_linear_full_rank,
        x0=(1.0,) * _N,
        minima=(float(_M - _N),),
    ),
    ClassicFunction(
        name="linear, rank 1",
        number=33,
        residuals=_linear_rank_1,
        x0=(1.0,) * _N,
        minima=(_M * (_M - 1) / (2 * (2 * _M + 1)),),
    ),
    ClassicFunction(
        name="linear, rank 1 with zero columns and rows",
        number=34,
        residuals=_linear_rank_1_with_zeros,
        x0=(1.0,) * _N,
        minima=((_M * _M + 3 * _M - 6) / (2 * (2 * _M - 3)),),
    ),
)
