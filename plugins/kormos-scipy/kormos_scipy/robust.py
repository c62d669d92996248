"""A sum of squares as an objective whose outliers count less.

Symbols: ``x`` parameters (n,), ``v`` direction (n,), ``u`` vector of the residuals' length
(m,), ``J`` their Jacobian (m, n); all float64.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_scipy.robust_losses import RobustLoss

if TYPE_CHECKING:
    from kormos_core import Bounds, Counts, LeastSquaresObjective
    from kormos_scipy.robust_losses import Vector

__all__ = ["RobustObjective"]


@final
class RobustObjective:
    """A sum of squares whose value and gradient are those of a robust cost.

    Residuals, their Jacobian and its products are those of the objective beneath: a solver
    of least squares takes them with a loss of its own, while histories and best points are
    of what it minimizes.

    Parameters
    ----------
    objective : LeastSquaresObjective
        The objective beneath.
    loss : {"soft_l1", "huber", "cauchy", "arctan"}
        What rho is.
    f_scale : float
        Raw residual from which on it counts less, in units of the target, above 0.

    Notes
    -----
    Cost: a value takes the residuals, a gradient a product with the Jacobian's transpose as
    well. Both are for nothing at the point where they were evaluated last, as is a gradient
    where the dense Jacobian was. Memory: two vectors of m, one of n.
    """

    def __init__(self, objective: LeastSquaresObjective, *, loss: str, f_scale: float) -> None:
        self._objective = objective
        self._loss_name = loss
        self._f_scale = f_scale
        self._loss: RobustLoss | None = None
        self._known: tuple[bytes, Vector] | None = None
        self._known_grad: tuple[bytes, Vector] | None = None

    @property
    def size(self) -> int:
        """Number of parameters n."""
        return self._objective.size

    @property
    def bounds(self) -> Bounds | None:
        """Box on the parameters."""
        return self._objective.bounds

    @property
    def constraints(self) -> tuple[Any, ...]:
        """General constraints."""
        return self._objective.constraints

    @property
    def counts(self) -> Counts:
        """Evaluations so far, of the objective beneath."""
        return self._objective.counts

    @property
    def num_residuals(self) -> int:
        """Number of residuals m."""
        return self._objective.num_residuals

    def value(self, x: Vector) -> float:
        """Return the robust cost at ``x``, shape (n,)."""
        return self._robust().cost(self._residuals_at(x))

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return the robust cost and its gradient, shape (n,), at ``x``, shape (n,)."""
        value, key = self.value(x), x.tobytes()
        if self._known_grad is None or self._known_grad[0] != key:
            self._known_grad = (key, self._gradient(x, value))
        return value, self._known_grad[1].copy()

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """Refuse: residuals tell nothing of their own curvature.

        Parameters
        ----------
        x, v : ndarray, shape (n,), float64
            The point and a direction.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise self._no_hessian(f"Hessian product of {x.size} parameters with {v.size}")

    def hessian(self, x: Vector) -> Vector:
        """Refuse: residuals tell nothing of their own curvature.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise self._no_hessian(f"Hessian of {x.size} parameters")

    def residual_scale(self) -> Vector:
        """Return what raw residuals are multiplied by, shape (m,)."""
        return self._objective.residual_scale()

    def residuals(self, x: Vector) -> Vector:
        """Return the residuals beneath, shape (m,), at ``x``, shape (n,)."""
        return self._residuals_at(x).copy()

    def jacobian(self, x: Vector) -> Vector:
        """Return the residuals' Jacobian, shape (m, n), at ``x``."""
        jacobian = self._objective.jacobian(x)
        key = x.tobytes()
        if self._known is not None and self._known[0] == key:
            weighed = self._robust().weigh(self._known[1])
            self._known_grad = (key, np.asarray(jacobian.T @ weighed))
        return jacobian

    def jvp(self, x: Vector, v: Vector) -> Vector:
        """Return ``J(x) v``, shape (m,)."""
        return self._objective.jvp(x, v)

    def vjp(self, x: Vector, u: Vector) -> Vector:
        """Return ``J(x)' u``, shape (n,)."""
        return self._objective.vjp(x, u)

    def ggn_vp(self, x: Vector, v: Vector) -> Vector:
        """Return ``J(x)' J(x) v``, shape (n,), of the residuals beneath."""
        return self._objective.ggn_vp(x, v)

    def diagnose(self, x: Vector) -> str:
        """Tell where numbers that are not finite come from.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Returns
        -------
        str
            What the objective beneath tells; empty where it tells nothing.
        """
        diagnose = getattr(self._objective, "diagnose", None)
        return str(diagnose(x)) if diagnose is not None else ""

    def _gradient(self, x: Vector, value: float) -> Vector:
        if not math.isfinite(value):
            return np.full(self.size, np.nan)
        weighed = self._robust().weigh(self._residuals_at(x))
        return np.array(self._objective.vjp(x, weighed), dtype=np.float64)

    def _residuals_at(self, x: Vector) -> Vector:
        key = x.tobytes()
        if self._known is None or self._known[0] != key:
            self._known = (key, np.array(self._objective.residuals(x), dtype=np.float64))
        return self._known[1]

    def _robust(self) -> RobustLoss:
        if self._loss is None:
            self._loss = RobustLoss.of(self._objective, self._loss_name, self._f_scale)
        return self._loss

    def _no_hessian(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"a robust cost (loss={self._loss_name!r}) has no {what}. It has values, gradients, "
            "residuals and products with their Jacobian. Use loss='linear'."
        )
