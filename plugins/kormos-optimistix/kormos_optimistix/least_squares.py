"""The least-squares solvers of optimistix.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``J`` their Jacobian (m, n); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import optimistix

from kormos_core.loop import minimize_in_graph
from kormos_core.options import POSITIVE, check_options
from kormos_optimistix.settings import MAX_EVALS, RULES, TOLERANCE, tolerances
from kormos_optimistix.stepwise import Stepwise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_optimistix.settings import Settings

__all__ = ["Dogleg", "GaussNewton", "IndirectLevenbergMarquardt", "LevenbergMarquardt"]


def _solve(
    solver: Settings,
    objective: Any,
    x0: NDArray[np.float64],
    maxiter: int,
    callback: Callback,
) -> Result:
    method = Stepwise(solver=solver, num_residuals=objective.num_residuals)
    return minimize_in_graph(method, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LevenbergMarquardt:
    """Minimize a sum of squares by damped Gauss-Newton steps: `optimistix.LevenbergMarquardt`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the residuals are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's, with its own linear solver, QR. `gtol` and `max_evals` are
    kormos's: optimistix tests no gradient. Cost: one Jacobian a step, rejected ones included;
    it counts as one evaluation. Memory: three matrices of m x n numbers, so the data are
    arrays and not many.

    References
    ----------
    D. W. Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters",
    J. SIAM 11(2), 1963, doi:10.1137/0111030.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, RULES)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return _solve(self, objective, x0, maxiter, callback)

    def build(self) -> Any:
        """Return optimistix's solver."""
        return optimistix.LevenbergMarquardt(**tolerances(self))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IndirectLevenbergMarquardt:
    """Minimize squares by damped steps: `optimistix.IndirectLevenbergMarquardt`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the residuals are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    lambda_0 : float
        Damping at which the search for that of the region begins.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's, with its own linear solver. `gtol` and `max_evals` are
    kormos's: optimistix tests no gradient. Cost: one Jacobian a step, rejected ones included;
    it counts as one evaluation. Memory: three matrices of m x n numbers, so the data are
    arrays and not many.

    References
    ----------
    J. J. Moré, "The Levenberg-Marquardt Algorithm: Implementation and Theory", in "Numerical
    Analysis", LNM 630, Springer, 1978, doi:10.1007/BFb0067700.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    lambda_0: float = 1.0
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"lambda_0": POSITIVE, **RULES})

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return _solve(self, objective, x0, maxiter, callback)

    def build(self) -> Any:
        """Return optimistix's solver."""
        return optimistix.IndirectLevenbergMarquardt(**tolerances(self), lambda_0=self.lambda_0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Dogleg:
    """Minimize a sum of squares by dogleg steps in a trust region: `optimistix.Dogleg`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the residuals are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's, with its own linear solver. `gtol` and `max_evals` are
    kormos's: optimistix tests no gradient. Cost: one Jacobian a step, rejected ones included;
    it counts as one evaluation. Memory: three matrices of m x n numbers, so the data are
    arrays and not many.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, section 4.1,
    doi:10.1007/978-0-387-40065-5.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, RULES)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return _solve(self, objective, x0, maxiter, callback)

    def build(self) -> Any:
        """Return optimistix's solver."""
        return optimistix.Dogleg(**tolerances(self))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GaussNewton:
    """Minimize a sum of squares by Gauss-Newton steps: `optimistix.GaussNewton`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the residuals are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's, with its own linear solver. `gtol` and `max_evals` are
    kormos's: optimistix tests no gradient. Cost: one Jacobian a step, rejected ones included;
    it counts as one evaluation. Memory: three matrices of m x n numbers, so the data are
    arrays and not many. Every step is taken whole, one
    that goes up too.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, section 10.3,
    doi:10.1007/978-0-387-40065-5.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, RULES)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return _solve(self, objective, x0, maxiter, callback)

    def build(self) -> Any:
        """Return optimistix's solver."""
        return optimistix.GaussNewton(**tolerances(self))
