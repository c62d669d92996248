"""Newton methods in a trust region, one for each way to solve its subproblem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from kormos_core.options import (
    FLAG,
    NONNEGATIVE,
    POSITIVE,
    check_options,
    optional,
    ordered,
    whole,
    within,
)
from kormos_scipy.run import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["Dogleg", "TrustExact", "TrustKrylov", "TrustNCG"]

_RULES: Final = {
    "initial_trust_radius": POSITIVE,
    "max_trust_radius": POSITIVE,
    "eta": within(0, 0.25),
    "gtol": NONNEGATIVE,
    "tol": optional(NONNEGATIVE),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustNCG:
    """Minimize by the trust-region Newton method with conjugate gradients.

    Attributes
    ----------
    initial_trust_radius : float
        First radius of the trust region.
    max_trust_radius : float
        Longest step that is ever proposed.
    eta : float
        A step is accepted where it gains more than this share of what the model promised,
        in [0, 0.25).
    gtol : float
        Ends the solve once the gradient's Euclidean norm is below this.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient, and Hessian products until
    the residual of the Newton equation is below ``min(1/2, sqrt(|g|)) |g|`` or the region's
    edge is met. Memory: some ten vectors. A rejected step is no accepted iterate: it is
    neither reported nor counted.

    References
    ----------
    T. Steihaug, "The Conjugate Gradient Method and Trust Regions in Large Scale
    Optimization", SIAM J. Numer. Anal. 20(3), 1983, doi:10.1137/0720042.
    """

    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1000.0
    eta: float = 0.15
    gtol: float = 1e-4
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)
        _check_radii(self, self.initial_trust_radius, self.max_trust_radius)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("trust-ncg", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustKrylov:
    """Minimize by the trust-region Newton method with a Lanczos process (GLTR).

    Attributes
    ----------
    initial_trust_radius : float
        First radius of the trust region.
    max_trust_radius : float
        Longest step that is ever proposed.
    eta : float
        A step is accepted where it gains more than this share of what the model promised,
        in [0, 0.25).
    gtol : float
        Ends the solve once the gradient's Euclidean norm is below this.
    inexact : bool
        Whether subproblems are solved loosely: fewer products an iteration, more
        iterations. SciPy's documentation says the contrary; this is what it does.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient, and a Hessian product for
    each Lanczos step, also along the region's edge. Memory: a vector for each Lanczos step;
    SciPy reserves, but does not touch, up to 8 GB for each of two subproblems. A rejected
    step is no accepted iterate: it is neither reported nor counted.

    References
    ----------
    F. Lenders, C. Kirches, A. Potschka, "trlib: a vector-free implementation of the GLTR
    method for iterative solution of the trust region problem", Optim. Methods Softw. 33(3),
    2018, doi:10.48550/arXiv.1611.04718.
    """

    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1000.0
    eta: float = 0.15
    gtol: float = 1e-4
    inexact: bool = True
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {**_RULES, "inexact": FLAG})
        _check_radii(self, self.initial_trust_radius, self.max_trust_radius)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("trust-krylov", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustExact:
    """Minimize by the trust-region Newton method with nearly exact subproblems.

    Attributes
    ----------
    initial_trust_radius : float
        First radius of the trust region.
    max_trust_radius : float
        Longest step that is ever proposed.
    eta : float
        A step is accepted where it gains more than this share of what the model promised,
        in [0, 0.25).
    gtol : float
        Ends the solve once the gradient's Euclidean norm is below this.
    subproblem_maxiter : int or None
        Most factorizations for one subproblem; None means SciPy's 25.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient, one Hessian (n products), also
    for a step that is then rejected, and a few Cholesky factorizations. Memory: six n x n
    matrices. Handles indefinite Hessians. A rejected step is no accepted iterate: it is
    neither reported nor counted.

    References
    ----------
    J. J. More, D. C. Sorensen, "Computing a Trust Region Step", SIAM J. Sci. Stat. Comput.
    4(3), 1983, doi:10.1137/0904038.
    A. R. Conn, N. I. M. Gould, P. L. Toint, "Trust Region Methods", SIAM, 2000, section 7.3,
    doi:10.1137/1.9780898719857.
    """

    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1000.0
    eta: float = 0.15
    gtol: float = 1e-4
    subproblem_maxiter: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {**_RULES, "subproblem_maxiter": optional(whole(1))})
        _check_radii(self, self.initial_trust_radius, self.max_trust_radius)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("trust-exact", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Dogleg:
    """Minimize by the dogleg trust-region method.

    Attributes
    ----------
    initial_trust_radius : float
        First radius of the trust region.
    max_trust_radius : float
        Longest step that is ever proposed.
    eta : float
        A step is accepted where it gains more than this share of what the model promised,
        in [0, 0.25).
    gtol : float
        Ends the solve once the gradient's Euclidean norm is below this.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient, one Hessian (n products) and
    one Cholesky factorization. Memory: three n x n matrices. Where the Hessian is not
    positive definite the solve ends as `Status.LINESEARCH_FAILED`: take `TrustExact` or
    `TrustNCG` for such a loss. A rejected step is no accepted iterate: it is neither
    reported nor counted.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, section 4.1,
    doi:10.1007/978-0-387-40065-5.
    M. J. D. Powell, "A new algorithm for unconstrained optimization", 1970,
    doi:10.1016/B978-0-12-597050-1.50006-3.
    """

    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1000.0
    eta: float = 0.15
    gtol: float = 1e-4
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)
        _check_radii(self, self.initial_trust_radius, self.max_trust_radius)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("dogleg", self, objective, x0, maxiter=maxiter, callback=callback)


def _check_radii(solver: object, initial: float, largest: float) -> None:
    ordered(
        solver,
        f"initial_trust_radius={initial!r}, max_trust_radius={largest!r}",
        holds=initial < largest,
        cure="Keep the initial radius below the largest one.",
    )
