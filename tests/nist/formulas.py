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


def bennett(x, b1, b2, b3):
    return b1 * (b2 + x) ** (-1 / b3)


def saturation(x, b1, b2):
    return b1 * (1 - ops.exp(-b2 * x))


def decay_over_line(x, b1, b2, b3):
    return ops.exp(-b1 * x) / (b2 + b3 * x)


def power(x, b1, b2):
    return b1 * x**b2


def enso(x, *b):
    b1, b2, b3, b4, b5, b6, b7, b8, b9 = b
    return (
        b1
        + harmonic(x, 12, b2, b3)
        + harmonic(x, b4, b5, b6)
        + harmonic(x, b7, b8, b9)  # NIST gives each period before its amplitudes
    )


def harmonic(x, period, cosine, sine):
    angle = 2 * math.pi * x / period
    return cosine * ops.cos(angle) + sine * ops.sin(angle)


def eckerle(x, b1, b2, b3):
    return (b1 / b2) * ops.exp(-0.5 * ((x - b3) / b2) ** 2)


def gauss(x, *b):
    b1, b2, b3, b4, b5, b6, b7, b8 = b
    first = b3 * ops.exp(-((x - b4) ** 2) / b5**2)
    second = b6 * ops.exp(-((x - b7) ** 2) / b8**2)
    return b1 * ops.exp(-b2 * x) + first + second


def cubic_over_cubic(x, *b):
    b1, b2, b3, b4, b5, b6, b7 = b
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def kirby(x, b1, b2, b3, b4, b5):
    return (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2)


def lanczos(x, b1, b2, b3, b4, b5, b6):
    return b1 * ops.exp(-b2 * x) + b3 * ops.exp(-b4 * x) + b5 * ops.exp(-b6 * x)


def mgh09(x, b1, b2, b3, b4):
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def mgh10(x, b1, b2, b3):
    return b1 * ops.exp(b2 / (x + b3))


def mgh17(x, b1, b2, b3, b4, b5):
    return b1 + b2 * ops.exp(-x * b4) + b3 * ops.exp(-x * b5)


def misra1b(x, b1, b2):
    return b1 * (1 - (1 + b2 * x / 2) ** -2)


def misra1c(x, b1, b2):
    return b1 * (1 - (1 + 2 * b2 * x) ** -0.5)


def misra1d(x, b1, b2):
    return b1 * b2 * x * (1 + b2 * x) ** -1


def nelson(x1, x2, b1, b2, b3):
    return b1 - b2 * x1 * ops.exp(-b3 * x2)  # the logarithm of the response


def rat42(x, b1, b2, b3):
    return b1 / (1 + ops.exp(b2 - b3 * x))


def rat43(x, b1, b2, b3, b4):
    return b1 / (1 + ops.exp(b2 - b3 * x)) ** (1 / b4)


def roszman(x, b1, b2, b3, b4):
    return b1 - b2 * x - ops.arctan(b3 / (x - b4)) / math.pi


FORMULAS: dict[str, Callable[..., Any]] = {
    "Bennett5": bennett,
    "BoxBOD": saturation,
    "Chwirut1": decay_over_line,
    "Chwirut2": decay_over_line,
    "DanWood": power,
    "Eckerle4": eckerle,
    "ENSO": enso,
    "Gauss1": gauss,
    "Gauss2": gauss,
    "Gauss3": gauss,
    "Hahn1": cubic_over_cubic,
    "Kirby2": kirby,
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Lanczos3": lanczos,
    "MGH09": mgh09,
    "MGH10": mgh10,
    "MGH17": mgh17,
    "Misra1a": saturation,
    "Misra1b": misra1b,
    "Misra1c": misra1c,
    "Misra1d": misra1d,
    "Nelson": nelson,
    "Rat42": rat42,
    "Rat43": rat43,
    "Roszman1": roszman,
    "Thurber": cubic_over_cubic,
}
