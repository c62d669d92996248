"""Trust-region methods for sums of squares: Gauss-Newton with bounds and robust losses."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - kormos reads the fields' types at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_scipy.least_squares_options import check_trust_region
from kormos_scipy.least_squares_run import run_least_squares
from kormos_scipy.robust import RobustObjective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, LeastSquaresObjective, Result

__all__ = ["LeastSquaresDogbox", "LeastSquaresTRF"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresTRF:
    """Minimize a sum of squares by the trust-region reflective method.

    Attributes
    ----------
    ftol : float or None
        Ends the solve once a step lowers the loss by less than this part of it, as its
        model foretold; None for no such test.
    xtol : float or None
        Ends the solve once a step is shorter than this part of the parameters' norm; None
        for no such test.
    gtol : float or None
        Ends the solve once the gradient's largest component, each times its distance to the
        bound that it leads to, is below this; None for no such test.
    x_scale : float, array_like of shape (n,), "jac" or None
        Size of each parameter, above 0; ``"jac"`` takes it from the Jacobian's columns, which
        is for ``tr_solver="exact"``. None is 1.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan"}
        What becomes of a squared residual. All but ``"linear"`` let outliers count less:
        what is minimized is not the training loss then, but the robust cost of the Notes.
    f_scale : float
        Residual C from which on one is an outlier, in units of the target, whatever its
        weight; for a robust `loss` only.
    tr_solver : {"exact", "lsmr"} or None
        ``"exact"`` builds the Jacobian and decomposes it; ``"lsmr"`` iterates with its
        products and never builds it. None takes ``"exact"`` up to 1000 parameters and
        20,000,000 numbers in the Jacobian.
    tr_options : mapping or None
        Of ``tr_solver="lsmr"``: ``regularize`` (True or False) whether the model is
        regularized, by default it is; ``damp``, ``atol``, ``btol``, ``conlim`` and
        ``maxiter`` are those of `scipy.sparse.linalg.lsmr`.
    max_nfev : int or None
        Most evaluations of the residuals; None means SciPy's ``100 n``.
    tol : float or None
        Sets `ftol`, `xtol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost of an iteration: one evaluation of the residuals for each trial step, usually one;
    and either a Jacobian, whose singular values take some ``6 m n²`` operations, or two
    products for each step of LSMR, at most ``min(m, n)``, and some six more.
    Memory: some eight matrices of m x n numbers (``"exact"``), eighteen where m is n; or
    some twenty vectors.

    The robust cost is ``0.5 * sum(s² C² rho((r / s)² / C²))`` for residuals r and their
    scale s, of weights and means; rho is SciPy's. `merit` makes an objective of it.

    A start on a bound is moved inside by 1e-10; iterates are strictly inside. A residual
    that is not finite is a rejected step. SciPy counts rejected iterations too: kormos
    counts accepted ones, and ends the solve; `Result.raw` is None then.

    References
    ----------
    M. A. Branch, T. F. Coleman, Y. Li, "A Subspace, Interior, and Conjugate Gradient Method
    for Large-Scale Bound-Constrained Minimization Problems", SIAM J. Sci. Comput. 21(1),
    1999, doi:10.1137/S1064827595289108.
    D. C.-L. Fong, M. Saunders, "LSMR: An Iterative Algorithm for Sparse Least-Squares
    Problems", SIAM J. Sci. Comput. 33(5), 2011, doi:10.1137/10079687X.
    """

    ftol: float | None = 1e-8
    xtol: float | None = 1e-8
    gtol: float | None = 1e-8
    x_scale: ArrayLike | None = None
    loss: str = "linear"
    f_scale: float = 1.0
    tr_solver: str | None = None
    tr_options: Mapping[str, float] | None = None
    max_nfev: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_trust_region(self, regularizes=True)

    def merit(self, objective: LeastSquaresObjective) -> LeastSquaresObjective:
        """Return what is minimized: the objective, or its robust cost.

        Parameters
        ----------
        objective : LeastSquaresObjective
            What `minimize` is given; what this returns will do as well.

        Returns
        -------
        LeastSquaresObjective
            The objective itself for ``loss="linear"``, else a `RobustObjective` of it.
        """
        return _merit(self.loss, self.f_scale, objective)

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
            "least-squares-trf", self, objective, x0, maxiter=maxiter, callback=callback
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresDogbox:
    """Minimize a sum of squares by the dogleg method with rectangular trust regions.

    Attributes
    ----------
    ftol : float or None
        Ends the solve once a step lowers the loss by less than this part of it, as its
        model foretold; None for no such test.
    xtol : float or None
        Ends the solve once a step is shorter than this part of the parameters' norm; None
        for no such test.
    gtol : float or None
        Ends the solve once the gradient's largest component, of parameters that no bound
        holds, is below this; None for no such test.
    x_scale : float, array_like of shape (n,), "jac" or None
        Size of each parameter, above 0; ``"jac"`` takes it from the Jacobian's columns, which
        is for ``tr_solver="exact"``. None is 1.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan"}
        What becomes of a squared residual; see `LeastSquaresTRF`.
    f_scale : float
        Residual from which on one is an outlier, in units of the target; for a robust
        `loss` only.
    tr_solver : {"exact", "lsmr"} or None
        ``"exact"`` builds the Jacobian and solves with it; ``"lsmr"`` iterates with its
        products and never builds it. None takes ``"exact"`` up to 1000 parameters and
        20,000,000 numbers in the Jacobian.
    tr_options : mapping or None
        Of ``tr_solver="lsmr"``: ``damp``, ``atol``, ``btol``, ``conlim`` and ``maxiter`` are
        those of `scipy.sparse.linalg.lsmr`.
    max_nfev : int or None
        Most evaluations of the residuals; None means SciPy's ``100 n``.
    tol : float or None
        Sets `ftol`, `xtol` and `gtol` where they are left at their defaults.

    Notes
    -----
    Cost and robust cost are those of `LeastSquaresTRF`; memory is some six matrices of m x n
    numbers (``"exact"``), or some twenty vectors. Iterates lie on bounds exactly; one that
    rounding kept off its bound is evaluated again. Slow where the Jacobian has not full rank,
    and where many bounds are active.

    A residual that is not finite is a rejected step. SciPy counts rejected iterations too:
    kormos counts accepted ones, and ends the solve; `Result.raw` is None then.

    References
    ----------
    C. Voglis, I. E. Lagaris, "A Rectangular Trust Region Dogleg Approach for Unconstrained
    and Bound Constrained Nonlinear Optimization", WSEAS International Conference on Applied
    Mathematics, Corfu, 2004.
    """

    ftol: float | None = 1e-8
    xtol: float | None = 1e-8
    gtol: float | None = 1e-8
    x_scale: ArrayLike | None = None
    loss: str = "linear"
    f_scale: float = 1.0
    tr_solver: str | None = None
    tr_options: Mapping[str, float] | None = None
    max_nfev: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_trust_region(self, regularizes=False)

    def merit(self, objective: LeastSquaresObjective) -> LeastSquaresObjective:
        """Return what is minimized: the objective, or its robust cost.

        Parameters
        ----------
        objective : LeastSquaresObjective
            What `minimize` is given; what this returns will do as well.

        Returns
        -------
        LeastSquaresObjective
            The objective itself for ``loss="linear"``, else a `RobustObjective` of it.
        """
        return _merit(self.loss, self.f_scale, objective)

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
            "least-squares-dogbox", self, objective, x0, maxiter=maxiter, callback=callback
        )


def _merit(loss: str, f_scale: float, objective: LeastSquaresObjective) -> LeastSquaresObjective:
    if loss == "linear":
        return objective
    return RobustObjective(objective, loss=loss, f_scale=f_scale)
