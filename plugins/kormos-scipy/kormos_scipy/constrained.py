"""Methods for constraints that use gradients: SLSQP, and trust-constr."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from kormos_core.options import FLAG, NONNEGATIVE, POSITIVE, check_options, optional, words
from kormos_scipy.run import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["SLSQP", "TrustConstr"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SLSQP:
    """Minimize by sequential least squares programming (SLSQP).

    Attributes
    ----------
    ftol : float
        Ends the solve once the loss, the step or the directional derivative is below this,
        and the violated constraints add up to less.
    tol : float or None
        Sets `ftol` where it is left at its default.

    Notes
    -----
    Cost of an iteration: about one evaluation of loss and gradient, one of the constraints,
    and O(n³) operations. Memory: 11 n x n matrices.

    Deviations from SciPy. It calls back with the first trial point of an iteration, which
    may be rejected; here an accepted iterate is reported once its gradient is asked for,
    the last one at the end. Bounds: rounding beyond them is clipped.

    References
    ----------
    D. Kraft, "A software package for sequential quadratic programming", DFVLR-FB 88-28,
    1988; and "Algorithm 733: TOMP", ACM Trans. Math. Softw. 20(3), 1994,
    doi:10.1145/192115.192124.
    """

    ftol: float = 1e-6
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"ftol": NONNEGATIVE, "tol": optional(NONNEGATIVE)})

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run("slsqp", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustConstr:
    """Minimize by SQP in a trust region, with an interior point method for inequalities.

    Attributes
    ----------
    xtol : float
        Ends the solve once the trust region's radius is below this.
    gtol : float
        Ends the solve once the largest component of the Lagrangian's gradient, and the
        violation of the constraints, are below this.
    barrier_tol : float
        With inequalities or bounds, `xtol` counts only once the barrier is below this.
    initial_tr_radius : float
        First radius of the trust region.
    initial_constr_penalty : float
        First weight of the constraints against the loss in the merit function.
    initial_barrier_parameter : float
        First weight of the barrier that keeps inequalities and bounds.
    initial_barrier_tolerance : float
        Tolerance of the first barrier subproblem; it shrinks with the barrier.
    sparse_jacobian : bool or None
        Whether the constraints' Jacobians are held sparse; None takes them as they come.
    factorization_method : str or None
        How Jacobians are factorized: ``"NormalEquation"`` (scikit-sparse) or
        ``"AugmentedSystem"`` for sparse, ``"QRFactorization"`` or ``"SVDFactorization"``
        for dense ones; None chooses.
    tol : float or None
        Sets `xtol`, `gtol` and `barrier_tol` where they are left at their defaults.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient, a Hessian product for each
    conjugate-gradient step, and with bounds a sparse factorization of size up to 3 n.

    Deviations from SciPy. With bounds or inequalities it stops once the Lagrangian's gradient
    is small for some multipliers, which it then is almost anywhere; here the multipliers must
    also have the right signs, and times the distance from their limits be below
    `barrier_tol`. With bounds alone these are strict (``keep_feasible``), and a start closer
    to them than 1 % is pushed off. With other constraints beside them the path may lead
    outside the bounds; the loss is carried on there by its second-order Taylor polynomial at
    the projection, and never evaluated, and iterates are reported as projected. SciPy counts
    the start and rejected steps as iterations; here they are neither reported nor counted.

    References
    ----------
    R. H. Byrd, M. E. Hribar, J. Nocedal, "An interior point algorithm for large-scale
    nonlinear programming", SIAM J. Optim. 9(4), 1999, doi:10.1137/S1052623497325107.
    M. Lalee, J. Nocedal, T. Plantenga, "On the implementation of an algorithm for
    large-scale equality constrained optimization", SIAM J. Optim. 8(3), 1998,
    doi:10.1137/S1052623493262993.
    """

    xtol: float = 1e-8
    gtol: float = 1e-8
    barrier_tol: float = 1e-8
    initial_tr_radius: float = 1.0
    initial_constr_penalty: float = 1.0
    initial_barrier_parameter: float = 0.1
    initial_barrier_tolerance: float = 0.1
    sparse_jacobian: bool | None = None
    factorization_method: (
        Literal["NormalEquation", "AugmentedSystem", "QRFactorization", "SVDFactorization"] | None
    ) = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "xtol": NONNEGATIVE,
            "gtol": NONNEGATIVE,
            "barrier_tol": NONNEGATIVE,
            "initial_tr_radius": POSITIVE,
            "initial_constr_penalty": POSITIVE,
            "initial_barrier_parameter": POSITIVE,
            "initial_barrier_tolerance": POSITIVE,
            "sparse_jacobian": optional(FLAG),
            "factorization_method": optional(
                words("NormalEquation", "AugmentedSystem", "QRFactorization", "SVDFactorization")
            ),
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
        return run("trust-constr", self, objective, x0, maxiter=maxiter, callback=callback)
