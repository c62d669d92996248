"""The models of NIST's nonlinear regression problems, in `keras.ops`.

Each function takes the predictors, tensors of shape (n, 1), then the parameters, scalars, in
NIST's order, and gives the predicted response, shape (n, 1), in the dtype of both. Where NIST
writes one model twice in different words, as for Hahn1 and Thurber, it is here once.

References
----------
National Institute of Standards and Technology, Statistical Reference Datasets, Nonlinear
Regression. doi:10.18434/T43G6C
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMULAS"]


def _bennett(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 * (b2 + x) ** (-1 / b3)


def _saturation(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1 - ops.exp(-b2 * x))


def _decay_over_line(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return ops.exp(-b1 * x) / (b2 + b3 * x)


def _power(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * x**b2


def _enso(x: Any, *b: Any) -> Any:
    b1, b2, b3, b4, b5, b6, b7, b8, b9 = b
    return (
        b1
        + _harmonic(x, 12, b2, b3)
        + _harmonic(x, b4, b5, b6)
        + _harmonic(x, b7, b8, b9)  # NIST gives each period before its amplitudes
    )


def _harmonic(x: Any, period: Any, cosine: Any, sine: Any) -> Any:
    angle = 2 * math.pi * x / period
    return cosine * ops.cos(angle) + sine * ops.sin(angle)


def _eckerle(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return (b1 / b2) * ops.exp(-0.5 * ((x - b3) / b2) ** 2)


def _gauss(x: Any, *b: Any) -> Any:
    b1, b2, b3, b4, b5, b6, b7, b8 = b
    first = b3 * ops.exp(-((x - b4) ** 2) / b5**2)
    second = b6 * ops.exp(-((x - b7) ** 2) / b8**2)
    return b1 * ops.exp(-b2 * x) + first + second


def _cubic_over_cubic(x: Any, *b: Any) -> Any:
    b1, b2, b3, b4, b5, b6, b7 = b
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def _kirby(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any) -> Any:
    return (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2)


def _lanczos(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any) -> Any:
    return b1 * ops.exp(-b2 * x) + b3 * ops.exp(-b4 * x) + b5 * ops.exp(-b6 * x)


def _mgh09(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def _mgh10(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 * ops.exp(b2 / (x + b3))


def _mgh17(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any) -> Any:
    return b1 + b2 * ops.exp(-x * b4) + b3 * ops.exp(-x * b5)


def _misra1b(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1 - (1 + b2 * x / 2) ** -2)


def _misra1c(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1 - (1 + 2 * b2 * x) ** -0.5)


def _misra1d(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * b2 * x * (1 + b2 * x) ** -1


def _nelson(x1: Any, x2: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 - b2 * x1 * ops.exp(-b3 * x2)  # the logarithm of the response


def _rat42(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 / (1 + ops.exp(b2 - b3 * x))


def _rat43(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    return b1 / (1 + ops.exp(b2 - b3 * x)) ** (1 / b4)


def _roszman(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    return b1 - b2 * x - ops.arctan(b3 / (x - b4)) / math.pi


FORMULAS: dict[str, Callable[..., Any]] = {
    "Bennett5": _bennett,
    "BoxBOD": _saturation,
    "Chwirut1": _decay_over_line,
    "Chwirut2": _decay_over_line,
    "DanWood": _power,
    "Eckerle4": _eckerle,
    "ENSO": _enso,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubic_over_cubic,
    "Kirby2": _kirby,
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": _mgh09,
    "MGH10": _mgh10,
    "MGH17": _mgh17,
    "Misra1a": _saturation,
    "Misra1b": _misra1b,
    "Misra1c": _misra1c,
    "Misra1d": _misra1d,
    "Nelson": _nelson,
    "Rat42": _rat42,
    "Rat43": _rat43,
    "Roszman1": _roszman,
    "Thurber": _cubic_over_cubic,
}
