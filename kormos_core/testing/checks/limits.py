"""Limits are kept, callbacks are served, and stops are obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kormos_core.protocols import StopSolve
from kormos_core.result import Status
from kormos_core.testing.check import Check
from kormos_core.testing.law import demand
from kormos_core.testing.problem import ROSENBROCK

if TYPE_CHECKING:
    from kormos_core.testing.case import Case
    from kormos_core.testing.trial import Trial

__all__ = ["LIMITS"]

EVALUATION_LIMITS: Final = ("maxfun", "maxfev", "max_nfev", "max_evals", "max_eval")
"""Names of options that limit evaluations."""

_FEW: Final = 4  # evaluations after which none of the problems is solved
_SEARCH: Final = 4  # evaluations of a line search that is on when the limit is reached
_STEPS: Final = 5


def check_iteration_limit(case: Case) -> None:
    """Check that `case` makes at most as many iterations as it may."""
    for limit in (1, 4):
        trial = case.solve(ROSENBROCK, maxiter=limit)
        law = "At most maxiter iterations are made."
        told = len(trial.log.accepted) + sum(len(chunk.losses) for chunk in trial.log.chunks)
        demand(
            told <= limit,
            law,
            seen=f"{told} accepted iterates with maxiter={limit}",
            do="Return with Status.MAX_ITER after the callback of iteration maxiter.",
        )
        outcome = trial.log.outcome
        demand(
            outcome is None or outcome.status is not Status.MAX_ITER or told == limit,
            "Status.MAX_ITER is for maxiter accepted iterates.",
            seen=f"it after {told} of {limit}",
            do="Count accepted iterates and no other passes of a loop.",
        )
        demand(
            trial.result is not None and trial.log.raised is None,
            law,
            seen=f"{type(trial.log.raised).__name__}: {trial.log.raised}",
            do="Return a Result at the limit.",
        )


def check_evaluation_limit(case: Case) -> None:
    """Check that `case` ends where its own limit of evaluations is reached."""
    (name,) = _limit_names(case)[:1]

    trial = case.solve(ROSENBROCK, options={name: _FEW})

    law = f"The option {name} limits the evaluations."
    demand(
        trial.num_own_fg <= _FEW + _SEARCH,
        law,
        seen=f"{trial.num_own_fg} evaluations with {name}={_FEW}; that one line search ends "
        f"first is allowed, of {_SEARCH} evaluations",
        do="Look at the limit in every iteration, inside of line searches too.",
    )
    demand(
        trial.result is not None and trial.result.status is Status.MAX_EVALS,
        law,
        seen=trial.summary,
        do="Return Status.MAX_EVALS.",
    )


def check_callback(case: Case) -> None:
    """Check that `case` calls back exactly once for each accepted iterate."""
    law = "The callback is called once for each accepted iterate, in order, and not for x0."
    for trial in (case.whole, case.quadratic):
        if case.spec.kind == "global":
            _check_falling(trial)
            continue
        accepted, x0 = trial.accepted, np.array(trial.problem.x0)
        demand(
            accepted or trial.result is None or np.array_equal(trial.x, x0),
            law,
            seen=f"no call, and it ended at {trial.result and trial.x}",
            do="Call callback(x) wherever a step is accepted.",
        )
        for number, (before, x) in enumerate(zip([x0, *accepted], accepted, strict=False), 1):
            same = np.array_equal(before, x)
            demand(
                not same,
                law,
                seen=f"call {number} of {len(accepted)} has the point of "
                f"{'x0' if number == 1 else 'the call before'}, {x}",
                do="Call once, where a step is accepted, and not where it is rejected.",
            )
        _check_evaluated(trial, law)


def _check_falling(trial: Trial) -> None:
    """Check that each iteration of a global search tells the best point so far."""
    law = "An iteration of a global solver calls back once, with the best point so far."
    losses = [trial.problem.loss(x) for x in (np.array(trial.problem.x0), *trial.accepted)]
    rises = [number for number, rise in enumerate(np.diff(losses), 1) if rise > 0.0]
    demand(
        len(losses) > 1 and not rises,
        law,
        seen=f"{len(losses) - 1} calls, {len(rises)} of them with a loss above the one before, "
        f"such as number {rises[:1]}",
        do="Remember the best point of the search, x0 among them, and call back with it.",
    )
    _check_evaluated(trial, law)


def _check_evaluated(trial: Trial, law: str) -> None:
    """Check that what was accepted from Python was evaluated before."""
    seen = {x.tobytes() for x in trial.points}
    strangers = [x for x in trial.log.accepted if x.tobytes() not in seen]
    demand(
        not strangers,
        law,
        seen=f"{len(strangers)} of {len(trial.accepted)} points that were never evaluated, "
        f"such as {strangers[:1]}",
        do="Call back with the point itself that was evaluated and accepted.",
    )


def check_stop(case: Case) -> None:
    """Check that `case` lets StopSolve pass, from the callback and from the objective."""
    from_callback = StopSolve(Status.STOPPED_BY_CALLBACK)
    from_objective = StopSolve(Status.INTERRUPTED)

    def stop(number: int) -> None:
        if number == 2:
            raise from_callback

    for who, trial in (
        ("the callback", case.solve(ROSENBROCK, act=stop)),
        ("the objective", case.solve(ROSENBROCK, stop=(3, from_objective))),
    ):
        log = trial.log
        demand(
            log.num_at_stop is not None,
            "A solve of Rosenbrock's function takes two iterations at least.",
            seen=trial.summary,
            do="See why it ended so early.",
        )
        demand(
            log.outcome is None and isinstance(log.raised, StopSolve),
            f"A StopSolve that {who} raises passes through the solver.",
            seen="a Result" if log.outcome is not None else f"{log.raised!r}",
            do="Catch no exception that is not your own: no bare `except`, no `except "
            "Exception` around the objective and the callback.",
        )
        num_after = log.asked.count("after the stop")
        demand(
            num_after == 0,
            f"After a StopSolve of {who} nothing more is evaluated.",
            seen=f"{num_after} requests after it",
            do="Let StopSolve pass at once.",
        )


def check_chunks(case: Case) -> None:
    """Check that `case` does the same however many iterations run in one call."""
    each, fifth = (case.solve(ROSENBROCK, maxiter=12, steps=steps) for steps in (1, _STEPS))

    law = "How many iterations run in one call changes nothing about them."
    losses = [[row.loss for row in trial.rows] for trial in (each, fifth)]
    demand(
        losses[0] == losses[1] and _same(each, fifth),
        law,
        seen=f"losses {losses[0][-3:]} one by one, {losses[1][-3:]} by {_STEPS}",
        do="Keep all that an iteration depends on in the state.",
    )
    numbers = [row.number for row in fifth.served]
    ends = [k for k in range(1, len(fifth.rows) + 1) if k % _STEPS == 0 or k == len(fifth.rows)]
    demand(
        numbers == ends,
        f"With steps_per_execution={_STEPS} callbacks are served every {_STEPS} iterations.",
        seen=f"after {numbers}, and not {ends}",
        do="Run no more iterations in a call than objective.prepare() allows.",
    )


def _same(one: Trial, other: Trial) -> bool:
    return np.array_equal(one.x, other.x)


def _limit_names(case: Case) -> tuple[str, ...]:
    return tuple(name for name in EVALUATION_LIMITS if name in case.option_names)


def _no_limit(case: Case) -> str:
    names = ", ".join(EVALUATION_LIMITS)
    return "" if _limit_names(case) else f"it has no option of the names {names}"


def _no(support: str) -> str:
    return f"it does not declare {support!r}"


def _no_stop(case: Case) -> str:
    return "" if "stop" in case.spec.supports else _no("stop")


def _no_chunk(case: Case) -> str:
    return "" if "chunk" in case.spec.supports else _no("chunk")


LIMITS: Final = (
    Check(
        name="iteration_limit",
        law="At most maxiter iterations are made.",
        run=check_iteration_limit,
    ),
    Check(
        name="evaluation_limit",
        law="A limit of evaluations among the options is kept.",
        run=check_evaluation_limit,
        exception=_no_limit,
    ),
    Check(
        name="callback",
        law="The callback is called once for each accepted iterate.",
        run=check_callback,
    ),
    Check(
        name="stop",
        law="StopSolve passes, and nothing is evaluated after it.",
        run=check_stop,
        exception=_no_stop,
    ),
    Check(
        name="chunk",
        law="Many iterations in a call are the same iterations.",
        run=check_chunks,
        exception=_no_chunk,
    ),
)
"""Checks of limits, callbacks and stops."""
