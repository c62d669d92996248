"""From what SciPy says of an end to what is true of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core import Status
from kormos_scipy.gradient_tests import projected_gradient
from kormos_scipy.interior_point import is_optimal, limits_of

if TYPE_CHECKING:
    from kormos_scipy.gradient_tests import Measurement
    from kormos_scipy.points import Search
    from kormos_scipy.solve import Solve

__all__ = ["End", "is_feasible", "message_of", "status_of"]

# Rounding between SciPy's evaluation of a test and ours.
_SLACK = 1.01

# A loss in single precision has seven digits. Where all trial points of a failed line search
# lie within ten roundings of it, no step could have been told from none.
_RESOLUTION = 10 * float(np.finfo(np.float32).eps)

# A line search takes one or two trials. One that takes many and gains next to nothing of what
# they range over has met a slope that is not the loss's.
_MANY_TRIALS = 5
_STILL = 1e-6

# Largest violation of a constraint where the method has no tolerance of its own.
_FEASIBLE = 1e-6


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class End:
    """Where a solve ended, measured.

    Attributes
    ----------
    loss : float
        The loss.
    measurement : Measurement or None
        Parameters and gradient; None for a method that takes no gradients.
    raw : scipy.optimize.OptimizeResult or None
        What SciPy returned.
    violation : float
        The largest violation of a constraint.
    search : Search
        The trial points after the last accepted one; where there are none, those before.
    """

    loss: float
    measurement: Measurement | None
    raw: Any
    violation: float
    search: Search


def is_feasible(solve: Solve, violation: float) -> bool:
    """Tell whether constraints hold within the method's tolerance.

    Parameters
    ----------
    solve : Solve
        The solve.
    violation : float
        The largest violation.

    Returns
    -------
    bool
        Whether it is small enough.
    """
    return violation <= _SLACK * _feasibility_tol(solve)


def _feasibility_tol(solve: Solve) -> float:
    given = solve.options.get(solve.method.feasibility_option)
    return _FEASIBLE if given is None else float(given)


def status_of(solve: Solve, end: End) -> Status:
    """Tell why a solve ended.

    Parameters
    ----------
    solve : Solve
        The solve.
    end : End
        Where it ended.

    Returns
    -------
    Status
        SciPy's reason where the measurements bear it out, else theirs.
    """
    if solve.iterates.stopped is not None:
        return solve.iterates.stopped
    status = solve.method.endings.get(end.raw.status, Status.STAGNATED)
    if not math.isfinite(end.loss):
        return Status.NONFINITE
    if status in {Status.MAX_EVALS, Status.MAX_ITER}:
        return Status.MAX_ITER if solve.iterates.count >= solve.maxiter else status
    if _gradient_is_small(solve, end):
        status = Status.GRAD_TOL
    elif status is Status.GRAD_TOL:
        status = Status.STAGNATED
    elif status is Status.LINESEARCH_FAILED:
        status = _why_search_failed(solve, end)
    elif status is Status.F_TOL:
        status = _why_loss_is_steady(solve, end)
    elif status is Status.X_TOL and solve.method.rejects_steps:
        status = _why_steps_are_short(end)
    if status is not Status.NONFINITE and not is_feasible(solve, end.violation):
        return Status.CONSTRAINTS_VIOLATED
    return status


def _why_search_failed(solve: Solve, end: End) -> Status:
    """Tell a line search that failed at the loss's precision from one that just failed."""
    search = end.search
    lost_precision = solve.method.loses_precision and solve.iterates.count > 0
    at_precision = search.num_trials > 0 and search.spread <= _RESOLUTION * abs(end.loss)
    return Status.STAGNATED if lost_precision or at_precision else Status.LINESEARCH_FAILED


def _why_loss_is_steady(solve: Solve, end: End) -> Status:
    """Tell a loss that changes by less than its tolerance from one that does not fall at all."""
    ftol = solve.options.get("ftol")
    if ftol is None:
        return Status.F_TOL  # f_target
    if end.measurement is None:  # Powell's searches may go uphill
        stands = ftol == 0 or float(end.raw.fun) - end.loss > ftol * abs(end.loss)
        return Status.STAGNATED if stands else Status.F_TOL
    if _has_shrunk(end.search) and end.search.spread > _RESOLUTION * abs(end.loss):
        return Status.LINESEARCH_FAILED
    return Status.STAGNATED if ftol == 0 else Status.F_TOL


def _why_steps_are_short(end: End) -> Status:
    """Tell steps that are short by themselves from ones that were rejected and cut."""
    if not _has_shrunk(end.search):
        return Status.X_TOL
    at_precision = end.search.spread <= _RESOLUTION * abs(end.loss)
    return Status.STAGNATED if at_precision else Status.LINESEARCH_FAILED


def _has_shrunk(search: Search) -> bool:
    """Tell a search that shrank its steps until the loss stood still."""
    return search.num_trials >= _MANY_TRIALS and search.gain <= _STILL * search.spread


def _gradient_is_small(solve: Solve, end: End) -> bool:
    if end.measurement is None:
        return False
    if solve.method.interior_point:
        return end.raw is not None and is_optimal(
            end.raw,
            limits_of(solve.constraints, solve.space.box()),
            gtol=_SLACK * solve.options["gtol"],
            barrier_tol=_SLACK * solve.options["barrier_tol"],
        )
    if not projected_gradient(end.measurement).any() and not solve.constraints:
        return True  # whatever the tolerance
    if solve.method.gradient_norm is None:
        return False
    norm, tolerance = solve.method.gradient_norm(end.measurement)
    return norm <= _SLACK * tolerance


def message_of(solve: Solve, end: End, status: Status) -> str:
    """Tell in words why a solve ended, SciPy's own ones included.

    Parameters
    ----------
    solve : Solve
        The solve.
    end : End
        Where it ended.
    status : Status
        Why.

    Returns
    -------
    str
        The reason.
    """
    parts = [status.value]
    if status is Status.MAX_ITER:
        parts.append(f"It is maxiter={solve.maxiter}.")
    if status is Status.MAX_EVALS:
        option = solve.method.evals_option
        limit = solve.options.get(option)
        whose = f"SciPy's default for {option}" if limit is None else f"{option}={limit}"
        parts.append(f"It is {whose}; set a higher one to go on.")
    if not is_feasible(solve, end.violation):
        parts.append(
            f"The largest violation is {end.violation:.2e}, "
            f"the tolerance {_feasibility_tol(solve):.0e}."
        )
    if end.raw is not None and solve.iterates.stopped is None:
        parts.append(f"SciPy: {str(end.raw.message).strip()}")
    return " ".join(parts)
