"""MINPACK's Levenberg-Marquardt method for small sums of squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_scipy.least_squares_options import check_levenberg_marquardt
from kormos_scipy.least_squares_run import run_least_squares

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, LeastSquaresObjective, Result

__all__ = ["LeastSquaresLM"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresLM:
    """Minimize a sum of squares by the Levenberg-Marquardt method.

    Attributes
    ----------
    ftol : float
        Ends the solve once a step lowers the loss, and was foretold to lower it, by at most
        this part of it.
    xtol : float
        Ends the solve once the trust region is smaller than this part of the scaled
        parameters' norm.
    gtol : float
        Ends the solve once the cosine between the residuals and each column of the Jacobian
        is at most this.
    x_scale : float, array_like of shape (n,), "jac" or None
        Size of each parameter, above 0. None and ``"jac"`` take it from the Jacobian's
        columns.
    max_nfev : int or None
        Most evaluations of the residuals; None means SciPy's ``100 n``.
    tol : float or None
        Sets `ftol`, `xtol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost of an iteration: one evaluation of the residuals for each trial step, usually one,
    and a Jacobian, whose decomposition takes some ``2 m n²`` operations. Memory: some five
    matrices of m x n numbers. There are at least as many residuals as parameters, and no
    bounds. Its loss is the sum of squares itself; robust ones are for `LeastSquaresTRF`.

    MINPACK knows no residuals that are not finite: it is given huge ones, which it takes for
    a rejected step. It has no iteration limit and no callback: kormos counts the points at
    which it asks for the Jacobian, and ends the solve; `Result.raw` is None then.

    References
    ----------
    J. J. More, "The Levenberg-Marquardt Algorithm: Implementation and Theory", Lecture Notes
    in Mathematics 630, Springer, 1978, doi:10.1007/BFb0067700.
    """

    ftol: float = 1e-8
    xtol: float = 1e-8
    gtol: float = 1e-8
    x_scale: ArrayLike | None = None
    max_nfev: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_levenberg_marquardt(self)

    def minimize(
        self,
        objective: LeastSquaresObjective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run_least_squares(
            "least-squares-lm", self, objective, x0, maxiter=maxiter, callback=callback
        )
