"""Direct searches that compare losses only: Nelder and Mead's simplex, Powell's directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_core.options import FLAG, NONNEGATIVE, array, check_options, optional, whole
from kormos_scipy.run import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["NelderMead", "Powell"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NelderMead:
    """Minimize by the downhill simplex of Nelder and Mead.

    Attributes
    ----------
    xatol : float
        With `fatol`: ends the solve once every vertex is within this of the best one, in
        every component.
    fatol : float
        With `xatol`: ends the solve once every vertex' loss is within this of the best one.
    adaptive : bool
        Whether expansion, contraction and shrinking depend on n, which helps for many
        parameters.
    initial_simplex : array_like, shape (n + 1, n), or None
        Vertices to start from, in place of ``x0`` and n points 5 % away from it.
    maxfev : int or None
        Most evaluations; None means no limit.
    tol : float or None
        Sets `xatol` and `fatol` where they are left at their defaults.

    Notes
    -----
    Cost: n + 1 evaluations of the loss to start, one or two an iteration, n more where the
    simplex shrinks. Memory: four n x n matrices. The accepted iterate is the best vertex:
    an iteration that finds no better one is neither reported nor counted. Bounds: vertices
    are clipped.

    References
    ----------
    J. A. Nelder, R. Mead, "A Simplex Method for Function Minimization", Comput. J. 7(4),
    1965, doi:10.1093/comjnl/7.4.308.
    F. Gao, L. Han, "Implementing the Nelder-Mead simplex algorithm with adaptive
    parameters", Comput. Optim. Appl. 51, 2012, doi:10.1007/s10589-010-9329-3.
    """

    xatol: float = 1e-4
    fatol: float = 1e-4
    adaptive: bool = False
    initial_simplex: ArrayLike | None = None
    maxfev: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "xatol": NONNEGATIVE,
            "fatol": NONNEGATIVE,
            "adaptive": FLAG,
            "initial_simplex": optional(array(2)),
            "maxfev": optional(whole(1)),
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
        return run("nelder-mead", self, objective, x0, maxiter=maxiter, callback=callback)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Powell:
    """Minimize by Powell's line searches along a set of directions.

    Attributes
    ----------
    xtol : float
        Relative precision of the line searches, as SciPy scales it.
    ftol : float
        Ends the solve once an iteration changes the loss, relatively, by at most this.
    direc : array_like, shape (n, n), or None
        First set of directions, one a row, of full rank; the axes where it is None.
    maxfev : int or None
        Most evaluations; None means no limit.
    tol : float or None
        Sets `xtol` and `ftol` where they are left at their defaults.

    Notes
    -----
    Cost of an iteration: n line searches, some ten evaluations of the loss each. Memory: one
    n x n matrix. Bounds: the line searches end at them; rounding beyond is clipped.

    References
    ----------
    M. J. D. Powell, "An efficient method for finding the minimum of a function of several
    variables without calculating derivatives", Comput. J. 7(2), 1964,
    doi:10.1093/comjnl/7.2.155.
    """

    xtol: float = 1e-4
    ftol: float = 1e-4
    direc: ArrayLike | None = None
    maxfev: int | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "xtol": NONNEGATIVE,
            "ftol": NONNEGATIVE,
            "direc": optional(array(2)),
            "maxfev": optional(whole(1)),
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
        return run("powell", self, objective, x0, maxiter=maxiter, callback=callback)
