"""Limited-memory BFGS without bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.loop import minimize_in_graph
from kormos_native.settings import check_settings, quasi_newton

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["LBFGS"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGS:
    """Minimize by limited-memory BFGS inside the compiled graph.

    Attributes
    ----------
    maxcor : int
        Number of past steps that describe the curvature; memory is 2 `maxcor` vectors.
    ftol : float
        Ends the solve once ``(f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1) <= ftol``.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    maxfun : int
        Most evaluations.
    maxls : int
        Most evaluations in one line search.
    c1, c2 : float
        Sufficient decrease and curvature of the line search's strong Wolfe conditions,
        ``0 < c1 < c2 < 1``.
    tol : float or None
        Sets `ftol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost: one evaluation of loss and gradient an iteration, rarely more, and three passes
    over the pairs an evaluation. Memory: ``2 maxcor + 8`` vectors.

    Deviations. The inverse Hessian is multiplied with in its compact form, not by the
    recursion of two loops; in exact arithmetic they are the same. A pair is left out unless
    ``s' y > epsilon |y|²``. The first step is ``min(1, 1 / |g|)``. Where the line search
    finds no step, the pairs are forgotten and the gradient is followed once, scaled by the
    last curvature. The loss is not said to have converged by a step that was cut short: it
    must also satisfy the curvature condition.

    References
    ----------
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
    Math. Program. 45, 1989, algorithm 2.1, doi:10.1007/BF01589116.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006,
    algorithm 7.5, equation (7.20), doi:10.1007/978-0-387-40065-5.
    R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and
    their use in limited memory methods", Math. Program. 63, 1994, theorem 2.2,
    doi:10.1007/BF01582063.
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
        method = quasi_newton(self, weak=False)
        return minimize_in_graph(method, objective, x0, maxiter=maxiter, callback=callback)
