"""Truncated Newton methods with a line search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_core.options import (
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
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

__all__ = ["TNC", "NewtonCG"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NewtonCG:
    """Minimize by the line-search Newton method with conjugate gradients.

    Attributes
    ----------
    xtol : float
        Ends the solve once a step's components are at most this on average; there is no
        test of the gradient.
    c1, c2 : float
        Sufficient decrease and curvature of the line search's strong Wolfe conditions,
        ``0 < c1 < c2 < 1``.
    tol : float or None
        Sets `xtol` where it is left at its default.

    Notes
    -----
    Cost of an iteration: one to two evaluations of loss and gradient, and as many Hessian
    products as bring the Newton equation's residual below ``min(1/2, sqrt(|g|))`` of the
    gradient, at most 20 n. Memory: some ten vectors. A failed line search is told as by
    `kormos_scipy.quasi_newton.BFGS`.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006,
    algorithm 7.1, doi:10.1007/978-0-387-40065-5.
    R. S. Dembo, T. Steihaug, "Truncated-Newton algorithms for large-scale unconstrained
    optimization", Math. Program. 26, 1983, doi:10.1007/BF02592055.
    """

    xtol: float = 1e-5
    c1: float = 1e-4
    c2: float = 0.9
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "xtol": NONNEGATIVE,
            "c1": POSITIVE,
            "c2": POSITIVE,
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)
        ordered(
            self,
            f"c1={self.c1!r}, c2={self.c2!r}",
            holds=0 < self.c1 < self.c2 < 1,
            cure="Keep 0 < c1 < c2 < 1.",
        )

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("newton-cg", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TNC:
    """Minimize by the truncated Newton method with bounds (TNC).

    Attributes
    ----------
    scale : array_like, shape (n,), or None
        Scale of each parameter; None takes the width of its interval where both bounds are
        finite, else ``1 + |x0|``.
    offset : array_like, shape (n,), or None
        What is subtracted from each parameter; None takes its interval's midpoint, else
        ``x0``.
    maxCGit : int
        Most Hessian products an iteration; 0 follows the negative gradient, a negative
        number means ``max(1, min(50, n / 2))``.
    eta : float
        Severity of the line search, below 1; a negative number means 0.25.
    stepmx : float
        Longest first step, in scaled parameters; 10 where it is nearly 0. May grow.
    accuracy : float
        Relative step of the gradient differences that stand for Hessian products; the
        root of the machine's precision where it is nearly 0.
    minfev : float
        Estimate of the least loss; it only shortens the first trial of a line search.
    ftol : float
        Ends the solve once the loss changes by at most this; negative: `accuracy`.
    xtol : float
        Ends the solve once the scaled step is at most this; negative: the root of the
        machine's precision.
    gtol : float
        Ends the solve once the Euclidean norm of the scaled projected gradient is at most
        this; negative: 0.01 of the root of `accuracy`.
    rescale : float
        The loss is rescaled once the gradient's norm is this many powers of ten from 1;
        negative: 1.3, 0: every iteration.
    maxfun : int or None
        Most evaluations, those for Hessian products included; None means SciPy's
        ``max(100, 10 n)``.
    tol : float or None
        Sets `ftol`, `xtol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient for each Hessian product, and
    those of the line search. Memory: some twenty vectors. SciPy counts no iterations here:
    kormos does, and ends the solve; `Result.raw` is None then.

    References
    ----------
    S. G. Nash, "Newton-Type Minimization via the Lanczos Method", SIAM J. Numer. Anal.
    21(4), 1984, doi:10.1137/0721052.
    """

    scale: ArrayLike | None = None
    offset: ArrayLike | None = None
    maxCGit: int = -1  # noqa: N815 - SciPy's name
    eta: float = -1.0
    stepmx: float = 0.0
    accuracy: float = 0.0
    minfev: float = 0.0
    ftol: float = -1.0
    xtol: float = -1.0
    gtol: float = -1.0
    rescale: float = -1.0
    maxfun: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "scale": optional(array(1)),
            "offset": optional(array(1)),
            "maxCGit": whole(-1),
            "eta": NUMBER,
            "stepmx": NONNEGATIVE,
            "accuracy": NONNEGATIVE,
            "minfev": NUMBER,
            "ftol": NUMBER,
            "xtol": NUMBER,
            "gtol": NUMBER,
            "rescale": NUMBER,
            "maxfun": optional(whole(1)),
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)
        ordered(self, f"eta={self.eta!r}", holds=self.eta < 1, cure="Keep eta below 1.")

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("tnc", self, objective, x0, maxiter=maxiter, callback=callback)
