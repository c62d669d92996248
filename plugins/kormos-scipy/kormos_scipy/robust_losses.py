"""Robust losses: large residuals count less than their squares.

Symbols: ``r`` residuals (m,), ``s`` their scale (m,), ``C`` the raw residual from which on
one counts less, ``t = s C`` (m,), ``z = r²`` (m,); all float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kormos_core import LeastSquaresObjective

__all__ = ["ROBUST_LOSSES", "RobustLoss", "Vector"]

Vector: TypeAlias = NDArray[np.float64]
"""A vector of numbers."""
_Rho: TypeAlias = Callable[[Vector], tuple[Vector, Vector, Vector]]


def _soft_l1(z: Vector) -> tuple[Vector, Vector, Vector]:
    root = np.sqrt(1.0 + z)
    return 2.0 * (root - 1.0), 1.0 / root, -0.5 / root**3


def _huber(z: Vector) -> tuple[Vector, Vector, Vector]:
    root = np.sqrt(np.maximum(z, 1.0))
    outlies = z > 1.0
    return (
        np.where(outlies, 2.0 * root - 1.0, z),
        1.0 / root,
        np.where(outlies, -0.5 / root**3, 0.0),
    )


def _cauchy(z: Vector) -> tuple[Vector, Vector, Vector]:
    slope = 1.0 / (1.0 + z)
    return np.log1p(z), slope, -(slope**2)


def _arctan(z: Vector) -> tuple[Vector, Vector, Vector]:
    slope = 1.0 / (1.0 + z**2)
    return np.arctan(z), slope, -2.0 * z * slope**2


_RHO: Final[dict[str, _Rho]] = {
    "soft_l1": _soft_l1,
    "huber": _huber,
    "cauchy": _cauchy,
    "arctan": _arctan,
}

ROBUST_LOSSES: Final = tuple(_RHO)
"""SciPy's names of the losses that are not linear in the squares."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class RobustLoss:
    """Cost ``0.5 * sum(t² rho(r² / t²))`` of residuals that have a scale each.

    SciPy's own losses take one scale for all residuals. Those of weighted samples differ,
    and what an outlier is should not depend on its weight.

    Attributes
    ----------
    name : {"soft_l1", "huber", "cauchy", "arctan"}
        What rho is.
    t : ndarray, shape (m,), float64
        Residual from which on it counts less, as it is scaled; 0 where it has no weight.
    """

    name: str
    t: Vector

    @classmethod
    def of(cls, objective: LeastSquaresObjective, name: str, f_scale: float) -> RobustLoss:
        """Build the loss of an objective.

        Parameters
        ----------
        objective : LeastSquaresObjective
            Whose residuals it is of.
        name : str
            What rho is.
        f_scale : float
            Raw residual C from which on it counts less, in units of the target.

        Returns
        -------
        RobustLoss
            The loss.
        """
        return cls(name, np.abs(objective.residual_scale()) * f_scale)

    def __call__(self, z: Vector) -> Vector:
        """Evaluate in the form that SciPy takes.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            Squares of the residuals.

        Returns
        -------
        ndarray, shape (3, m), float64
            Twice the cost of each, and its first and second derivatives for ``z``; 0, 1 and
            0 where there is no weight.
        """
        weighed = self.t > 0
        squares = np.where(weighed, self.t, 1.0) ** 2
        with np.errstate(over="ignore"):  # costs of inf are rejected
            rho, slope, curvature = _RHO[self.name](np.where(weighed, z, 0.0) / squares)
            return np.stack([squares * rho, slope, np.where(weighed, curvature / squares, 0.0)])

    def cost(self, r: Vector) -> float:
        """Evaluate the cost.

        Parameters
        ----------
        r : ndarray, shape (m,), float64
            The residuals.

        Returns
        -------
        float
            The cost, which takes the place of half the sum of squares; NaN or infinite where
            a residual is.
        """
        if not bool(np.isfinite(r).all()):
            return float(np.sum(np.abs(r)))  # arctan would call it finite
        return float(0.5 * np.sum(self(_squared(r))[0]))

    def weigh(self, r: Vector) -> Vector:
        """Multiply residuals so that ``J' weigh(r)`` is the gradient of the cost.

        Parameters
        ----------
        r : ndarray, shape (m,), float64
            The residuals.

        Returns
        -------
        ndarray, shape (m,), float64
            Each times its first derivative of rho.
        """
        return np.asarray(r * self(_squared(r))[1])


def _squared(r: Vector) -> Vector:
    with np.errstate(over="ignore"):
        return np.asarray(r**2)
