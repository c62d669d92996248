"""What came of each solver on each problem, over the seeds and starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.compare.report.summary import check_tau, cost, middle, solved
from kormos_core.compare.report.trajectory import Measure
from kormos_core.compare.report.wording import reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kormos_core.compare.report.run import Instance, Run
    from kormos_core.compare.report.study import Study
    from kormos_core.compare.store import RunRecord

__all__ = ["Outcome", "outcomes"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One solver on one problem.

    Where there are several runs a number is the median of them (see `middle`); infinity and
    NaN are numbers that there are not.

    Attributes
    ----------
    solver : str
        The solver.
    num_solved, num_judged : int
        How many of its runs passed the convergence test, of how many whose start could be
        improved on.
    evaluations, seconds : float
        Cost until the test was passed; infinite where half the runs or more did not.
    gap : float
        Least (f - f_L) / (f_0 - f_L) of a run.
    loss, grad_norm : float
        Where it ended.
    metric : float
        The problem's metric on its validation data, where it ended.
    peak_memory_bytes : float
        Largest resident size of the run's process.
    reason : str
        Names of the statuses.
    """

    solver: str
    num_solved: int
    num_judged: int
    evaluations: float
    seconds: float
    gap: float
    loss: float
    grad_norm: float
    metric: float
    peak_memory_bytes: float
    reason: str


def outcomes(study: Study, instances: Sequence[Instance], *, tau: float) -> tuple[Outcome, ...]:
    """Tell what came of each solver on instances of one problem.

    Parameters
    ----------
    study : Study
        The runs.
    instances : sequence of Instance
        Of one problem and dtype.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    tuple of Outcome
        In the order of the study's solvers; none for a solver without a run.

    Raises
    ------
    ToleranceError
        If tau is out of range.
    """
    check_tau(tau)
    found = []
    for solver in study.solvers:
        runs = [
            (instance, study.runs[instance, solver])
            for instance in instances
            if (instance, solver) in study.runs
        ]
        if runs:
            found.append(_outcome(study, solver, runs, tau))
    return tuple(found)


def _outcome(
    study: Study, solver: str, runs: Sequence[tuple[Instance, Run]], tau: float
) -> Outcome:
    judged = [(at, run) for at, run in runs if study.targets[at].judgeable]

    def costs(measure: Measure) -> float:
        return middle(cost(study, at, run, measure=measure, tau=tau) for at, run in judged)

    def final_value(of: Callable[[RunRecord], float | None]) -> float:
        return middle(_or_infinite(of(run.record)) for _, run in runs)

    return Outcome(
        solver=solver,
        num_solved=sum(bool(solved(study, at, solver, tau=tau)) for at, _ in judged),
        num_judged=len(judged),
        evaluations=costs(Measure.EVALUATIONS),
        seconds=costs(Measure.SECONDS),
        gap=middle(study.targets[at].gap(run.trajectory.least) for at, run in judged),
        loss=final_value(lambda record: record.loss),
        grad_norm=final_value(lambda record: record.grad_norm),
        metric=final_value(lambda record: record.metric_value),
        peak_memory_bytes=final_value(lambda record: record.peak_memory_bytes),
        reason=reasons(run.record.status for _, run in runs),
    )


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else float(value)
