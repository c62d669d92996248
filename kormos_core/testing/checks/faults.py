"""NaN and infinity, errors in callbacks, and float32's own precision."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kormos_core.result import Status
from kormos_core.testing.check import Check
from kormos_core.testing.law import LawBrokenError, demand
from kormos_core.testing.problem import QUADRATIC, ROSENBROCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.testing.case import Case
    from kormos_core.testing.trial import Trial

__all__ = ["FAULTS"]

_LEFT: Final = 1e-5  # part of the way down
_SPOILED: Final = ((1, math.nan), (1, math.inf), (4, math.nan))  # evaluations, from 0
_OUT_OF_REACH: Final = 1e-14  # a tolerance, of a gradient that float32 computes to 1e-7
_SMALL: Final = 1e-9


def check_nonfinite_start(case: Case) -> None:
    """Check that `case` ends where it starts if the loss there is NaN or infinite."""
    x0 = np.array(ROSENBROCK.x0)
    for fault in (math.nan, math.inf):
        trial = case.solve(ROSENBROCK, hole=x0, fault=fault, maxiter=50)
        demand(
            trial.result is not None
            and trial.result.status is Status.NONFINITE
            and np.array_equal(trial.x, x0),
            f"A loss of {fault} at the start ends the solve there with Status.NONFINITE.",
            seen=f"{trial.summary} at {trial.result and trial.x}",
            do="Return Status.NONFINITE where the loss at x0 is not finite; raise nothing.",
        )


def check_nonfinite_trial(case: Case) -> None:
    """Check what `case` does where the loss at a trial point is NaN or infinite."""
    clean = case.solve(ROSENBROCK, maxiter=8)
    places = _evaluated(clean)
    for number, fault in _SPOILED:
        if number < len(places):
            trial = case.solve(ROSENBROCK, hole=places[number], fault=fault)
            _survives(case, trial, f"{fault} at evaluation {number + 1}")


def check_callback_error(case: Case) -> None:
    """Check that an error in a callback passes `case`, and leaves the best accepted weights."""
    from kormos_core.testing.fitting import Watch, weights_of

    class _UsersError(Exception):
        pass

    def fail() -> None:
        raise _UsersError

    fitting, watch = case.fitting, Watch(fail)
    law = "An error in a user's callback passes through the solver."
    do = "Catch no exception that is not your own."
    try:
        history = fitting.fit(watch)
    except _UsersError:
        pass
    except Exception as error:
        message = f"{law} Seen: {type(error).__name__}: {error}. {do}"
        raise LawBrokenError(message) from error
    else:
        demand(holds=False, law=law, seen=str(history.result), do=do)
    w = weights_of(fitting.model)
    demand(
        np.array_equal(w, watch.best),
        "After a failure the model has the weights of the best accepted point.",
        seen=f"{w} in place of {watch.best}",
        do="Write to no variable of the model: kormos does.",
    )


def check_bad_data(case: Case) -> None:
    """Check that a model whose data hold NaN keeps its weights, whatever `case` tries."""
    from kormos_core.testing.fitting import weights_of

    fitting = case.fitting
    x, y = fitting.data
    spoiled = x.copy()
    spoiled[3, 0] = np.nan
    law = "A fit on data with NaN ends with Status.NONFINITE and leaves the weights as they were."
    do = "Return Status.NONFINITE where the loss at x0 is not finite, and raise nothing."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # which tells where the NaN is
            result = fitting.fit(x=spoiled, y=y).result
    except Exception as error:
        message = f"{law} Seen: {type(error).__name__}: {error}. {do}"
        raise LawBrokenError(message) from error
    w = weights_of(fitting.model)
    demand(
        result.status is Status.NONFINITE and not w.any(),
        law,
        seen=f"{result} and weights {w} that were zero",
        do=do,
    )


def check_float32_stagnation(case: Case) -> None:
    """Check that `case` tells the end of float32's digits from convergence."""
    takes_gradients = "grad" in case.spec.needs
    for problem in (QUADRATIC, ROSENBROCK) if takes_gradients else (QUADRATIC,):
        trial = case.solve(problem, precision="float32", options={"tol": _OUT_OF_REACH})
        law = "In float32 a tolerance out of reach ends a solve by stagnation, not by convergence."
        do = (
            "Compare changes of the loss with its rounding error, graph.epsilon or that of "
            "objective's dtype, and return STAGNATED or LINESEARCH_FAILED where they drown in it."
        )
        demand(trial.result is not None, law, seen=trial.summary, do=do)
        if trial.result is None:
            continue
        status = trial.result.status
        demand(
            status not in {Status.MAX_ITER, Status.NONFINITE},
            "In float32 a solve ends by itself.",
            seen=f"{trial.summary} on {problem.name}",
            do=do,
        )
        if status is Status.GRAD_TOL:
            # in the graph a sum is rounded in another order, and may be zero there alone
            norm = min(trial.result.grad_norm, *(row.grad_norm for row in trial.rows[-1:]))
            norm0 = _slope(problem, np.array(problem.x0))
            demand(
                norm <= _SMALL * norm0,
                law,
                seen=f"GRAD_TOL with tol={_OUT_OF_REACH} at |g| {norm:.1e}, {norm0:.1e} at the "
                f"start, on {problem.name}",
                do=do,
            )


def _survives(case: Case, trial: Trial, where: str) -> None:
    law = "A NaN or infinite loss at a trial point leaves the best accepted point."
    start = ROSENBROCK.loss(np.array(ROSENBROCK.x0))
    demand(
        trial.result is not None
        and np.isfinite(trial.x).all()
        and math.isfinite(trial.loss)
        and trial.loss <= start,
        law,
        seen=f"{trial.summary} after {where}",
        do="Reject such a trial, or return Status.NONFINITE with the best accepted point.",
    )
    if case.spec.tolerates_nonfinite:
        demand(
            trial.left <= _LEFT,
            "A solver that declares tolerates_nonfinite reaches the minimum all the same.",
            seen=f"{trial.summary} after {where}, {trial.left:.1e} of the way down is left",
            do="Take such a trial for one that is too far, or drop tolerates_nonfinite.",
        )


def _evaluated(trial: Trial) -> list[NDArray[np.float64]]:
    """List the evaluated points, each once, in order."""
    distinct: dict[bytes, NDArray[np.float64]] = {}
    points = trial.points[:-2] if trial.num_graph else trial.points  # ends are no points
    for x in points:
        distinct.setdefault(x.tobytes(), x)
    return list(distinct.values())


def _slope(problem: Any, x: NDArray[np.float64], step: float = 1e-6) -> float:
    """Return the norm of the gradient, by central differences in NumPy."""
    sides = [(problem.loss(x + step * e) - problem.loss(x - step * e)) for e in np.eye(x.size)]
    return float(np.linalg.norm(sides)) / (2.0 * step)


def _no_float32(case: Case) -> str:
    if "float32" not in case.spec.dtypes:
        return "it does not declare float32"
    return "" if "tol" in case.option_names else "it has no option tol"


FAULTS: Final = (
    Check(
        name="nonfinite_start",
        law="A loss that is not finite at the start ends the solve there.",
        run=check_nonfinite_start,
    ),
    Check(
        name="nonfinite_trial",
        law="A loss that is not finite at a trial point does no harm.",
        run=check_nonfinite_trial,
    ),
    Check(
        name="bad_data",
        law="Data with NaN leave the weights as they were.",
        run=check_bad_data,
    ),
    Check(
        name="callback_error",
        law="An error in a callback passes, and leaves the best weights.",
        run=check_callback_error,
    ),
    Check(
        name="float32_stagnation",
        law="The end of float32's digits is not told as convergence.",
        run=check_float32_stagnation,
        exception=_no_float32,
    ),
)
"""Checks of failures."""
