"""The end of a solve: measured, and made into a result.

Symbols: ``x`` parameters (n,), ``z`` those that bounds do not fix (m,); all float64.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kormos_core import Result, Status
from kormos_scipy.constraints import largest_violation
from kormos_scipy.gradient_tests import Measurement
from kormos_scipy.points import Breakdown
from kormos_scipy.status import End, is_feasible, message_of, status_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_scipy.solve import Solve

__all__ = ["conclude", "conclude_broken", "nothing_to_do"]


def conclude(solve: Solve, raw: Any) -> Result:
    """Measure the end of a solve and tell its reason.

    Parameters
    ----------
    solve : Solve
        The solve.
    raw : scipy.optimize.OptimizeResult or None
        What SciPy returned, None where kormos ended the solve and SciPy knows no such end.

    Returns
    -------
    Result
        The result at the point that SciPy returned, or at the last accepted iterate.
    """
    end = _measure(solve, raw)
    status = status_of(solve, end)
    return _result(solve, end.loss, status, message_of(solve, end, status), raw)


def conclude_broken(solve: Solve, breakdown: Breakdown) -> Result:
    """Tell the reason of a solve that met numbers that are not finite.

    Parameters
    ----------
    solve : Solve
        The solve.
    breakdown : Breakdown
        What it met.

    Returns
    -------
    Result
        The result at the last accepted iterate.
    """
    status = breakdown.status
    message = (
        f"{status.value} After iteration {solve.iterates.count} {breakdown}. "
        "The last accepted point is kept."
    )
    try:
        loss = solve.evaluator.at(solve.iterates.last).loss
    except Breakdown:
        loss = math.nan
    return _result(solve, loss, status, message, None)


def nothing_to_do(solve: Solve) -> Result:
    """Conclude a solve whose parameters are all fixed by their bounds.

    Parameters
    ----------
    solve : Solve
        The solve.

    Returns
    -------
    Result
        The result at the start, whose projected gradient is zero.
    """
    try:
        loss = solve.evaluator.at(solve.space.x0).loss
    except Breakdown as breakdown:
        return conclude_broken(solve, breakdown)
    violation = largest_violation(solve.objective.constraints, solve.space.x0)
    feasible = is_feasible(solve, violation)
    status = Status.GRAD_TOL if feasible else Status.CONSTRAINTS_VIOLATED
    message = f"{status.value} Every parameter is fixed by its bounds."
    return _result(solve, loss, status, message, None)


def _result(solve: Solve, loss: float, status: Status, message: str, raw: Any) -> Result:
    return Result(
        x=solve.iterates.last.copy(),
        loss=loss,
        status=status,
        message=message,
        num_iterations=solve.iterates.count,
        raw=raw,
    )


def _measure(solve: Solve, raw: Any) -> End:
    if raw is not None and not solve.method.reports_every_step:
        solve.iterates.finish(_returned(solve, raw))
    x = solve.iterates.last
    search = solve.evaluator.search
    if not search.num_trials:
        search = solve.evaluator.last_search
    if raw is not None and "grad" not in solve.method.spec.needs and _is_at(solve, raw, x):
        loss, measurement = float(raw.fun), None
    else:
        loss, measurement = _look_up(solve, x, raw)
    return End(
        loss=loss,
        measurement=measurement,
        raw=raw,
        violation=largest_violation(solve.objective.constraints, x),
        search=search,
    )


def _is_at(solve: Solve, raw: Any, x: NDArray[np.float64]) -> bool:
    return bool(np.array_equal(solve.space.expand(raw.x), x))


def _look_up(solve: Solve, x: NDArray[np.float64], raw: Any) -> tuple[float, Measurement | None]:
    point, space = solve.evaluator.at(x), solve.space
    if point.grad is None:
        return point.loss, None
    return point.loss, Measurement(
        z=space.reduce(x),
        g=space.reduce(point.grad),
        z0=space.reduce(space.x0),
        box=space.box(),
        options=solve.options,
        raw=raw,
    )


def _returned(solve: Solve, raw: Any) -> NDArray[np.float64]:
    """Return SciPy's point, or the best one where bounded line searches ended above it."""
    best = solve.evaluator.best
    if best is not None and best.loss < raw.fun and not solve.constraints:
        return best.x
    return solve.space.expand(raw.x)
