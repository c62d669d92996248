"""Methods that learn curvature from gradients: BFGS, its limited-memory form, and CG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_core.options import (
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
    Rule,
    array,
    check_options,
    optional,
    ordered,
    whole,
)
from kormos_scipy.run import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["BFGS", "CG", "LBFGSB"]

_ORDER: Final = Rule(
    "an order of vector norm: a number above 0, or -inf",
    lambda value: NUMBER.accepts(value) and (value > 0 or value == -math.inf),
)
_LINE_SEARCH: Final = {"c1": POSITIVE, "c2": POSITIVE, "tol": optional(NONNEGATIVE)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGSB:
    """Minimize by limited-memory BFGS with bounds (L-BFGS-B).

    Attributes
    ----------
    maxcor : int
        Number of past steps that describe the curvature; memory is 2 `maxcor` vectors.
    ftol : float
        Ends the solve once ``(f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1) <= ftol``.
    gtol : float
        Ends the solve once the largest component of the projected gradient is at most this.
    maxfun : int
        Most evaluations; looked at after each iteration only, so a few more may be made.
    maxls : int
        Most evaluations in one line search.
    tol : float or None
        Sets `ftol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost: one evaluation of loss and gradient an iteration, rarely more. Memory:
    ``2 maxcor + 8`` vectors. Deviations from SciPy: none.

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A Limited Memory Algorithm for Bound
    Constrained Optimization", SIAM J. Sci. Comput. 16(5), 1995, doi:10.1137/0916069.
    J. L. Morales, J. Nocedal, "Remark on Algorithm 778", ACM Trans. Math. Softw. 38(1),
    2011, doi:10.1145/2049662.2049669.
    """

    maxcor: int = 10
    ftol: float = 2.220446049250313e-09
    gtol: float = 1e-5
    maxfun: int = 15000
    maxls: int = 20
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "maxcor": whole(1),
            "ftol": NONNEGATIVE,
            "gtol": NONNEGATIVE,
            "maxfun": whole(1),
            "maxls": whole(1),
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("l-bfgs-b", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BFGS:
    """Minimize by the dense BFGS quasi-Newton method.

    Attributes
    ----------
    gtol : float
        Ends the solve once the gradient's norm is at most this.
    norm : float
        Order of that norm: ``inf`` the largest component, 2 the Euclidean norm, ``-inf``
        the smallest component.
    xrtol : float
        Ends the solve once a step is at most ``xrtol`` times the parameters, in Euclidean
        norms.
    c1, c2 : float
        Sufficient decrease and curvature of the line search's strong Wolfe conditions,
        ``0 < c1 < c2 < 1``.
    hess_inv0 : array_like, shape (n, n), or None
        First estimate of the inverse Hessian, symmetric positive definite; the identity
        where it is None.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost: one to two evaluations of loss and gradient and O(n²) operations an iteration.
    Memory: seven n x n matrices while the inverse Hessian is updated. What SciPy calls
    "precision loss" is a failed line search: `Status.STAGNATED` after a first step,
    `Status.LINESEARCH_FAILED` where not even that was found.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006,
    algorithm 6.1, doi:10.1007/978-0-387-40065-5.
    """

    gtol: float = 1e-5
    norm: float = math.inf
    xrtol: float = 0.0
    c1: float = 1e-4
    c2: float = 0.9
    hess_inv0: ArrayLike | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "gtol": NONNEGATIVE,
            "norm": _ORDER,
            "xrtol": NONNEGATIVE,
            "hess_inv0": optional(array(2)),
            **_LINE_SEARCH,
        }
        check_options(self, rules)
        _check_wolfe(self, self.c1, self.c2)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("bfgs", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CG:
    """Minimize by nonlinear conjugate gradients (Polak and Ribiere, with restarts).

    Attributes
    ----------
    gtol : float
        Ends the solve once the gradient's norm is at most this.
    norm : float
        Order of that norm: ``inf`` the largest component, 2 the Euclidean norm, ``-inf``
        the smallest component.
    c1, c2 : float
        Sufficient decrease and curvature of the line search's strong Wolfe conditions,
        ``0 < c1 < c2 < 1``.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost: about two evaluations of loss and gradient an iteration. Memory: some ten vectors.
    A failed line search is told as by `BFGS`.

    References
    ----------
    J. C. Gilbert, J. Nocedal, "Global Convergence Properties of Conjugate Gradient Methods
    for Optimization", SIAM J. Optim. 2(1), 1992, doi:10.1137/0802003.
    E. Polak, G. Ribiere, "Note sur la convergence de methodes de directions conjuguees",
    1969, doi:10.1051/m2an/196903R100351.
    """

    gtol: float = 1e-5
    norm: float = math.inf
    c1: float = 1e-4
    c2: float = 0.4
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"gtol": NONNEGATIVE, "norm": _ORDER, **_LINE_SEARCH})
        _check_wolfe(self, self.c1, self.c2)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("cg", self, objective, x0, maxiter=maxiter, callback=callback)


def _check_wolfe(solver: object, c1: float, c2: float) -> None:
    ordered(solver, f"c1={c1!r}, c2={c2!r}", holds=0 < c1 < c2 < 1, cure="Keep 0 < c1 < c2 < 1.")
