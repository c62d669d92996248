"""What a reader of a report must know before believing it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.compare.report.summary import measure_costs, middle
from kormos_core.compare.report.trajectory import Measure
from kormos_core.compare.report.wording import count, ratio, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kormos_core.compare.report.run import Instance
    from kormos_core.compare.report.study import Study
    from kormos_core.compare.store import RunRecord

__all__ = ["Tuning", "failures", "study_notes", "tunings"]

_LISTED = 6  # instances that a note names; of more it tells the number


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What it cost to find a solver's options on a problem.

    Attributes
    ----------
    group, solver : str
        Problem and solver.
    num_runs, tuning_s : float
        Runs that were made for one that is shown, itself included, and the seconds of all of
        them: medians over seeds and starts.
    wall_time_s : float
        Seconds of the one that is shown.
    """

    group: str
    solver: str
    num_runs: float
    tuning_s: float
    wall_time_s: float


def tunings(study: Study) -> tuple[Tuning, ...]:
    """Return what the tuning of solvers cost.

    Parameters
    ----------
    study : Study
        The runs.

    Returns
    -------
    tuple of Tuning
        By problem and solver; none for solvers that were not tuned.
    """
    found = []
    for group, instances in study.groups().items():
        for solver in study.solvers:
            rows = [
                study.runs[instance, solver].record
                for instance in instances
                if (instance, solver) in study.runs
            ]
            tuned = [row for row in rows if row.tuning_runs is not None]
            if tuned:
                found.append(
                    Tuning(
                        group=group,
                        solver=solver,
                        num_runs=middle(row.tuning_runs or 0 for row in tuned),
                        tuning_s=middle(row.tuning_s or 0.0 for row in tuned),
                        wall_time_s=middle(row.wall_time_s or 0.0 for row in tuned),
                    )
                )
    return tuple(found)


def failures(study: Study) -> tuple[RunRecord, ...]:
    """Return the rows of the runs that failed, crashed, or had to be killed.

    Parameters
    ----------
    study : Study
        The runs.

    Returns
    -------
    tuple of RunRecord
        In the order of instances and solvers.
    """
    return tuple(
        study.runs[instance, solver].record
        for instance in study.instances
        for solver in study.solvers
        if (instance, solver) in study.runs and not study.runs[instance, solver].completed
    )


def study_notes(study: Study, *, tau: float) -> tuple[str, ...]:
    """Say what was left out, what failed, and what tuning cost.

    Parameters
    ----------
    study : Study
        The runs.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    tuple of str
        Sentences; none where there is nothing to tell.
    """
    costs = measure_costs(study, measure=Measure.EVALUATIONS, tau=tau)
    notes = [*_tuning_notes(study), *_failure_notes(study), *study.notes]
    if costs.incomplete:
        lacking = Counter(
            solver for instance, solver in study.missing() if instance in costs.incomplete
        )
        who = ", ".join(f"{solver} on {number}" for solver, number in lacking.most_common())
        notes.append(
            f"Summary, ranks and profiles leave out {len(costs.incomplete)} of "
            f"{len(study.instances)} instances, since runs are missing: {who}."
        )
    if costs.unjudged:
        notes.append(
            "Not judged, since the loss of the start is not finite or already the least: "
            f"{_some(costs.unjudged)}."
        )
    if costs.unsolved:
        notes.append(f"Nobody solved {_some(costs.unsolved)}; they count for everyone.")
    rounded = [
        instance
        for instance in costs.instances
        if study.targets[instance].resolution
        > tau * (study.targets[instance].f_start - study.targets[instance].f_best)
    ]
    if rounded:
        notes.append(
            f"tau {tau:g} is finer than rounding on {_some(rounded)}; there the loss must "
            "equal f_L to the dtype's precision."
        )
    return tuple(notes)


def _tuning_notes(study: Study) -> list[str]:
    by_solver: dict[str, list[RunRecord]] = defaultdict(list)
    for (_, solver), run in study.runs.items():
        if run.record.tuning_runs is not None:
            by_solver[solver].append(run.record)
    notes = []
    for solver, rows in by_solver.items():
        spent = sum(row.tuning_s or 0.0 for row in rows)
        shown = sum(row.wall_time_s or 0.0 for row in rows)
        multiple = f", {ratio(spent / shown)} times what the runs shown took" if shown else ""
        number = count(middle(row.tuning_runs or 0 for row in rows))
        notes.append(
            f"{solver} was tuned: of {number} runs, each with the full budget, the best is shown. "
            f"All of them took {seconds(spent)} s{multiple}. No figure of it has that in it."
        )
    return notes


def _failure_notes(study: Study) -> list[str]:
    counts = Counter((record.status, record.solver) for record in failures(study))
    by_status: dict[str, list[str]] = defaultdict(list)
    for (status, solver), number in counts.items():
        by_status[status].append(f"{solver} ({number})")
    words = {"FAILED": "Ended with an error", "CRASHED": "Crashed", "TIMEOUT": "Had to be killed"}
    return [
        f"{words[status]}: {', '.join(by_status[status])}."
        for status in words
        if status in by_status
    ]


def _some(instances: Sequence[Instance]) -> str:
    if len(instances) > _LISTED:
        return f"{len(instances)} instances, {instances[0]} among them"
    return "; ".join(map(str, instances))
