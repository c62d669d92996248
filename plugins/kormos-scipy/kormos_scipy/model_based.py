"""Trust regions on models that interpolate losses: linear (COBYLA), quadratic (COBYQA)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.options import (
    FLAG,
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
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

__all__ = ["COBYLA", "COBYQA"]

_COBYLA_TOL = 1e-4  # SciPy's default of the option `tol`


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class COBYLA:
    """Minimize by linear models of loss and constraints in a trust region (COBYLA).

    Attributes
    ----------
    rhobeg : float
        First radius of the trust region: a sensible first change of the parameters.
    catol : float or None
        Largest violation of a constraint that still counts as feasible; None means the
        root of the machine's precision.
    f_target : float
        Ends the solve, as `Status.F_TOL`, once a feasible point has at most this loss.
    tol : float or None
        Last radius of the trust region: the precision of the parameters. It is SciPy's
        option of this name and its general tolerance in one; None means 1e-4.

    Notes
    -----
    Cost: n + 1 evaluations of the loss to start, one or two an iteration, and a linear
    program in pure Python. Memory: some 30 n x n matrices, and n numbers more for every
    evaluation, which SciPy keeps in a history.

    Deviations from SciPy. Its ``maxiter`` limits evaluations; here the iteration limit
    counts accepted iterates, which are the changes of the best vertex, and evaluations have
    none. SciPy takes bounds as constraints that trial points may violate, from the first
    simplex on; here the loss of such a point is that of its projection into the box, so that
    it is never evaluated outside. Other constraints are evaluated where the point is.

    References
    ----------
    M. J. D. Powell, "A direct search optimization method that models the objective and
    constraint functions by linear interpolation", 1994, doi:10.1007/978-94-015-8330-5_4.
    Z. Zhang, "PRIMA: Reference Implementation for Powell's Methods with Modernization and
    Amelioration", 2023, doi:10.5281/zenodo.8052654.
    """

    rhobeg: float = 1.0
    catol: float | None = None
    f_target: float = -math.inf
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "rhobeg": POSITIVE,
            "catol": optional(NONNEGATIVE),
            "f_target": NUMBER,
            "tol": optional(POSITIVE),
        }
        check_options(self, rules)
        tol = _COBYLA_TOL if self.tol is None else self.tol
        ordered(
            self,
            f"rhobeg={self.rhobeg!r}, tol={tol!r}",
            holds=tol <= self.rhobeg,
            cure="Keep the last radius, tol, at most the first one, rhobeg.",
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
        return run("cobyla", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class COBYQA:
    """Minimize by quadratic models of loss and constraints in a trust region (COBYQA).

    Attributes
    ----------
    initial_tr_radius : float
        First radius of the trust region: about a tenth of the greatest expected change of a
        parameter.
    final_tr_radius : float
        Last radius of the trust region: the precision of the parameters.
    feasibility_tol : float
        Largest violation of a constraint that still counts as feasible.
    f_target : float
        Ends the solve, as `Status.F_TOL`, once a feasible point has at most this loss.
    scale : bool
        Whether parameters are scaled to [-1, 1], where all bounds are finite.
    maxfev : int or None
        Most evaluations; None means SciPy's 500 n.
    tol : float or None
        Sets `final_tr_radius` where it is left at its default.

    Notes
    -----
    Cost: 2 n + 1 evaluations of the loss to start, one or two an iteration, and an
    eigendecomposition of size 3 n + 2. Memory: some 63 n x n matrices. Bounds are never
    violated.

    Deviations from SciPy. It calls back after every evaluation; here an accepted iterate is
    a new best point after the first 2 n + 1, and the iteration limit counts those.

    References
    ----------
    T. M. Ragonneau, "Model-Based Derivative-Free Optimization Methods and Software", PhD
    thesis, 2022, doi:10.48550/arXiv.2210.12018.
    """

    initial_tr_radius: float = 1.0
    final_tr_radius: float = 1e-6
    feasibility_tol: float = 1e-8
    f_target: float = -math.inf
    scale: bool = False
    maxfev: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "initial_tr_radius": POSITIVE,
            "final_tr_radius": NONNEGATIVE,
            "feasibility_tol": NONNEGATIVE,
            "f_target": NUMBER,
            "scale": FLAG,
            "maxfev": optional(whole(1)),
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)
        ordered(
            self,
            f"initial_tr_radius={self.initial_tr_radius!r}, "
            f"final_tr_radius={self.final_tr_radius!r}, tol={self.tol!r}",
            holds=max(self.final_tr_radius, self.tol or 0.0) <= self.initial_tr_radius,
            cure="Keep the last radius at most the first one.",
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
        return run("cobyqa", self, objective, x0, maxiter=maxiter, callback=callback)
