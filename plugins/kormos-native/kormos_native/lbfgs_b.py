"""Limited-memory BFGS with bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.loop import minimize_in_graph
from kormos_native.settings import check_settings, quasi_newton

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["LBFGSB"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGSB:
    """Minimize by limited-memory BFGS with bounds inside the compiled graph.

    A search follows the quasi-Newton direction of the parameters that the bounds do not
    hold, projected onto the box.

    Attributes
    ----------
    maxcor : int
        Number of past steps that describe the curvature; memory is 2 `maxcor` vectors.
    ftol : float
        Ends the solve once ``(f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1) <= ftol``.
    gtol : float
        Ends the solve once the largest component of the projected gradient is at most this.
    maxfun : int
        Most evaluations.
    maxls : int
        Most evaluations in one line search.
    c1, c2 : float
        Sufficient decrease and curvature of the line search's weak Wolfe conditions,
        ``0 < c1 < c2 < 1``.
    tol : float or None
        Sets `ftol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost: one evaluation of loss and gradient an iteration, rarely more, and three passes
    over the pairs an evaluation. Memory: ``2 maxcor + 10`` vectors. Every point that is
    evaluated lies in the box.

    Deviations from Bertsekas. The Hessian is that of L-BFGS; of a pair only the components
    that moved are kept, so that it describes the loss on the face of the box. The search
    along the projected path also tries larger steps, and ends at the weak Wolfe conditions,
    the slope being that to the side where the path goes on; sufficient decrease is measured
    by the slope at its beginning.

    References
    ----------
    D. P. Bertsekas, "Projected Newton Methods for Optimization Problems with Simple
    Constraints", SIAM J. Control Optim. 20(2), 1982, section 2, doi:10.1137/0320018.
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
    Math. Program. 45, 1989, algorithm 2.1, doi:10.1007/BF01589116.
    A. S. Lewis, M. L. Overton, "Nonsmooth optimization via quasi-Newton methods", Math.
    Program. 141, 2013, section 3, doi:10.1007/s10107-012-0514-2.
    """

    maxcor: int = 10
    ftol: float = 2.220446049250313e-09
    gtol: float = 1e-5
    maxfun: int = 15000
    maxls: int = 20
    c1: float = 1e-4
    c2: float = 0.9
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_settings(self)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        method = quasi_newton(self, weak=True)
        return minimize_in_graph(method, objective, x0, maxiter=maxiter, callback=callback)
