"""What a solve ended with, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, final

from kormos_core.errors import UnsupportedError
from kormos_core.fit_statistics import FitStatistics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FitStatistics", "Result", "Status"]


@final
class Status(Enum):
    """Why a solve stopped; the value is the sentence told to the user."""

    GRAD_TOL = "The gradient norm fell below its tolerance."
    F_TOL = "The loss changed by less than its tolerance."
    X_TOL = "The parameters or the trust region changed by less than their tolerance."
    STAGNATED = "No further progress was possible at this precision."
    LINESEARCH_FAILED = "The line search found no acceptable step."
    NONFINITE = "The loss or its gradient became NaN or infinite."
    MAX_ITER = "The iteration limit was reached."
    MAX_EVALS = "The evaluation limit was reached."
    MAX_TIME = "The time limit was reached."
    STOPPED_BY_CALLBACK = "A callback asked to stop."
    INTERRUPTED = "The user interrupted the solve."
    CONSTRAINTS_VIOLATED = "The constraints or bounds could not be satisfied."

    @property
    def converged(self) -> bool:
        """Whether a tolerance of the solver was met."""
        return self in {Status.GRAD_TOL, Status.F_TOL, Status.X_TOL}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Outcome of one solve.

    A solver fills in ``x``, ``loss``, ``status``, ``message``, ``num_iterations`` and
    ``raw``; kormos measures the rest itself, because a solver's own word is not
    believed.

    Attributes
    ----------
    x : ndarray, shape (n,), float64
        The best accepted point.
    loss : float
        The loss at ``x``.
    status : Status
        Why the solve stopped.
    message : str
        The reason in words, the solver's own ones included.
    num_iterations : int
        Accepted iterations.
    grad_norm : float
        Euclidean norm of the gradient at ``x`` (projected onto the bounds where there
        are any); NaN where it could not be measured. General constraints are not taken
        into account: under them it need not vanish.
    fg_evals : int
        Sweeps over the data for a loss, or for a loss and its gradient.
    hessp_evals : int
        Hessian-vector products that the solver asked for, a sweep over the data each.
    wall_time_s : float
        Seconds from the first evaluation to the end, callbacks included.
    solver : str
        Full name of the solver.
    raw : object
        What the solver's library returned, or None where it was stopped before it
        could return anything.
    statistics : FitStatistics or None
        What the residuals tell of the parameters; of least-squares solvers that minimize
        the sum of squares itself, where m residuals and n parameters have ``m n² <= 2**32``.
    """

    x: NDArray[np.float64]
    loss: float
    status: Status
    message: str
    num_iterations: int
    grad_norm: float = float("nan")
    fg_evals: int = 0
    hessp_evals: int = 0
    wall_time_s: float = 0.0
    solver: str = ""
    raw: Any = None
    statistics: FitStatistics | None = None

    @property
    def converged(self) -> bool:
        """Whether a tolerance of the solver was met."""
        return self.status.converged

    @property
    def degrees_of_freedom(self) -> int:
        """Observations of a least-squares fit less parameters."""
        return self._of_residuals().degrees_of_freedom

    def covariance(self) -> NDArray[np.float64]:
        """Return the covariance of the parameters of a least-squares fit.

        Returns
        -------
        ndarray, shape (n, n), float64
            See `FitStatistics.covariance`.

        Raises
        ------
        UnsupportedError
            If the solver was no least-squares solver, or there is no covariance.
        """
        return self._of_residuals().covariance()

    def standard_errors(self) -> NDArray[np.float64]:
        """Return the standard error of each parameter of a least-squares fit.

        Returns
        -------
        ndarray, shape (n,), float64
            In the order of ``x``: of the model's trainable weights, one after the other.

        Raises
        ------
        UnsupportedError
            As of `covariance`.
        """
        return self._of_residuals().standard_errors()

    def _of_residuals(self) -> FitStatistics:
        if self.statistics is None:
            message = (
                f"there are no statistics of residuals: the solver was {self.solver or 'none'}. "
                "Allowed are least-squares solvers without a robust loss, of m residuals and n "
                "parameters with m n**2 <= 2**32, whose solve came to a finite point. Fit by one, "
                "such as native:levenberg-marquardt."
            )
            raise UnsupportedError(message)
        return self.statistics

    def __str__(self) -> str:
        """Summarize the solve in one line."""
        return (
            f"{self.solver}: {self.status.name} after {self.num_iterations} iterations, "
            f"loss {self.loss:.6g}, |g| {self.grad_norm:.2e}, "
            f"{self.fg_evals} evaluations, {self.hessp_evals} Hessian products, "
            f"{self.wall_time_s:.2f} s. {self.message}"
        )
