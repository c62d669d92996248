"""What a solver returns is true, and the same every time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from kormos_core.result import Result, Status
from kormos_core.testing.check import Check
from kormos_core.testing.law import demand
from kormos_core.testing.problem import QUADRATIC, ROSENBROCK

if TYPE_CHECKING:
    from kormos_core.testing.case import Case
    from kormos_core.testing.trial import Trial

__all__ = ["RESULTS"]

_SOME: Final = 12  # iterations that are enough to differ in
_CLAIMED: Final = 1e-3  # part of the way down that may be left where convergence is claimed
_SAME_LOSS: Final = 1e-9  # relative: the same function in NumPy, sums in another order


def check_determinism(case: Case) -> None:
    """Check that `case` does the same when it is asked the same."""
    first = case.solve(ROSENBROCK, maxiter=_SOME)
    case.solve(QUADRATIC, maxiter=_SOME)  # what it remembers of one solve is not for the next
    second = case.solve(ROSENBROCK, maxiter=_SOME)

    law = "The same call gives the same bits."
    do = (
        "Seed what is random with a fixed number, and keep what a solve learns in its own "
        "variables: a solver is an immutable dataclass."
    )
    for what in ("x", "loss", "asked", "num_iterations", "status"):
        one, other = (_told(trial, what) for trial in (first, second))
        demand(one == other, law, seen=f"{what} {one} at first, {other} the second time", do=do)


def check_result(case: Case) -> None:
    """Check that what `case` returns is what the protocol says."""
    for trial in (case.whole, case.solve(ROSENBROCK, maxiter=3)):
        outcome = trial.log.outcome
        law = "minimize returns a Result of the best accepted point."
        demand(
            isinstance(outcome, Result),
            law,
            seen=f"{outcome!r:.80} ({trial.summary})",
            do="Return kormos_core.Result, and let no error out where a status will do.",
        )
        x, shape = np.asarray(outcome.x), np.array(ROSENBROCK.x0).shape
        demand(
            x.shape == shape and x.dtype == np.float64 and np.isfinite(x).all(),
            "Result.x is a finite float64 array of shape (n,).",
            seen=f"{outcome.x!r}",
            do="Give the best accepted point.",
        )
        f = ROSENBROCK.loss(x)
        demand(
            math.isclose(outcome.loss, f, rel_tol=_SAME_LOSS, abs_tol=1e-15),
            "Result.loss is the loss at Result.x.",
            seen=f"{outcome.loss!r}, and the loss is {f!r}",
            do="Return the loss that was evaluated at the returned point.",
        )
        best = min([ROSENBROCK.loss(at) for at in trial.accepted], default=math.inf)
        demand(
            f <= min(best, ROSENBROCK.loss(np.array(ROSENBROCK.x0))) * (1.0 + _SAME_LOSS),
            law,
            seen=f"a loss of {f:.9g}, and an accepted point has {best:.9g}",
            do="Remember the best accepted point.",
        )
        demand(
            isinstance(outcome.status, Status) and outcome.message,
            "Result.status is a Status and Result.message says it in words.",
            seen=f"{outcome.status!r}, {outcome.message!r}",
            do="Take one of kormos_core.Status, and its value for the message.",
        )
        demand(
            not trial.log.start_changed,
            "The arrays that minimize is given stay as they are.",
            seen="x0 has changed",
            do="Copy x0 before writing to it.",
        )


def check_counts(case: Case) -> None:
    """Check that `case` tells honest numbers of iterations, evaluations and products."""
    for trial in (case.whole, case.quadratic):
        log, outcome = trial.log, trial.log.outcome
        told = (log.claimed.fg, log.claimed.hvp)
        counted = (trial.num_fg, trial.num_hvp)
        where = "in the graph " if trial.num_graph else ""
        demand(
            told == counted,
            "Counts of evaluations and of Hessian products are honest.",
            seen=f"{told} told, {counted} made {where}on {trial.problem.name}",
            do="Evaluate only through the objective, leave objective.counts alone, and in the "
            "graph add 1 to num_fg and num_hvp wherever it is evaluated.",
        )
        num_rows = len(trial.rows)
        demand(
            outcome is None or outcome.num_iterations == num_rows or not log.accepted + log.chunks,
            "Result.num_iterations is the number of accepted iterates.",
            seen=f"{getattr(outcome, 'num_iterations', None)} told, {num_rows} called back with",
            do="Count an iteration where you call back.",
        )


def check_status(case: Case) -> None:
    """Check that `case` says that it has converged where it has, and nowhere else."""
    law = "Convergence is claimed at a minimum, and nowhere else."
    for trial in (
        case.whole,
        case.quadratic,
        *(case.solve(ROSENBROCK, maxiter=limit) for limit in (1, 2, 4)),
    ):
        outcome = trial.log.outcome
        if outcome is None or not outcome.status.converged:
            continue
        left = trial.problem.left(np.asarray(outcome.x))
        demand(
            left <= _CLAIMED,
            law,
            seen=f"{outcome.status.name} on {trial.problem.name} with {left:.2g} of the way down "
            f"left ({trial.summary})",
            do="Test the gradient, or the change of loss or point over a whole accepted "
            "iteration, before you return such a status; else return STAGNATED, "
            "LINESEARCH_FAILED or MAX_ITER.",
        )


def _told(trial: Trial, what: str) -> object:
    """Return what two equal solves have in common."""
    if what == "asked":
        return (len(trial.log.asked), trial.num_graph)
    if trial.result is None:
        return trial.summary
    found = getattr(trial.result, what)
    return found.tobytes().hex() if what == "x" else found


RESULTS: Final = (
    Check(name="determinism", law="The same call gives the same bits.", run=check_determinism),
    Check(name="result", law="A Result holds the best accepted point.", run=check_result),
    Check(name="counts", law="Counts are honest.", run=check_counts),
    Check(name="status", law="Convergence is claimed at minima only.", run=check_status),
)
"""Checks of results."""
