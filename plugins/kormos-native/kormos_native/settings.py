"""The options that the L-BFGS methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core.options import NONNEGATIVE, POSITIVE, check_options, optional, ordered, whole
from kormos_native.line_search import LineSearch
from kormos_native.quasi_newton import QuasiNewton

if TYPE_CHECKING:
    from kormos_native.lbfgs import LBFGS
    from kormos_native.lbfgs_b import LBFGSB

__all__ = ["check_settings", "quasi_newton"]

_RULES = {
    "maxcor": whole(1),
    "ftol": NONNEGATIVE,
    "gtol": NONNEGATIVE,
    "maxfun": whole(1),
    "maxls": whole(1),
    "c1": POSITIVE,
    "c2": POSITIVE,
    "tol": optional(NONNEGATIVE),
}


def check_settings(solver: LBFGS | LBFGSB) -> None:
    """Refuse values that an option cannot take.

    Parameters
    ----------
    solver : LBFGS or LBFGSB
        The solver.

    Raises
    ------
    UnsupportedError
        When a value is not allowed.
    """
    check_options(solver, _RULES)
    c1, c2 = solver.c1, solver.c2
    ordered(solver, f"c1={c1!r}, c2={c2!r}", holds=0 < c1 < c2 < 1, cure="Keep 0 < c1 < c2 < 1.")


def quasi_newton(solver: LBFGS | LBFGSB, *, weak: bool) -> QuasiNewton:
    """Return the iteration that a solver's options ask for.

    Parameters
    ----------
    solver : LBFGS or LBFGSB
        The solver.
    weak : bool
        Whether the line search is for the weak Wolfe conditions.

    Returns
    -------
    QuasiNewton
        The iteration.
    """
    tolerances = {name: getattr(solver, name) for name in ("ftol", "gtol")}
    if solver.tol is not None:
        for name, value in tolerances.items():
            if value == type(solver).__dataclass_fields__[name].default:
                tolerances[name] = solver.tol
    search = LineSearch(c1=solver.c1, c2=solver.c2, maxls=solver.maxls, weak=weak)
    return QuasiNewton(maxcor=solver.maxcor, maxfun=solver.maxfun, search=search, **tolerances)
