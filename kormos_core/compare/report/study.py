"""What a store of runs holds, arranged for reports: instances, contestants, and who is missing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from kormos_core.compare.report.run import Run
from kormos_core.compare.report.target import find_targets
from kormos_core.compare.report.trajectory import Trajectory
from kormos_core.compare.report.wording import brief
from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from kormos_core.compare.report.run import Instance
    from kormos_core.compare.report.target import Target
    from kormos_core.compare.store import RunRecord, Store

__all__ = ["EmptyStudyError", "Study", "read_study"]

_KEY_SETS: Final = ((), ("budget",), ("options",), ("options", "budget"))


class EmptyStudyError(KormosError, LookupError):
    """A report of runs that are not in the store."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The runs of a store, each at its place.

    Attributes
    ----------
    solvers : tuple of str
        Contestants, in the order in which the store came to know them. A solver that ran with
        several budgets or options on one instance stands there once for each, with them in
        its name.
    instances : tuple of Instance
        What they ran on, in the store's order.
    runs : mapping of (Instance, str) to Run
        The run of a contestant on an instance; absent where it did not run.
    targets : mapping of Instance to Target
        What the instances are judged against.
    notes : tuple of str
        What a reader must know of how the runs were arranged.
    """

    solvers: tuple[str, ...]
    instances: tuple[Instance, ...]
    runs: Mapping[tuple[Instance, str], Run]
    targets: Mapping[Instance, Target]
    notes: tuple[str, ...] = field(default=())

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of the problems, in the store's order."""
        return tuple(dict.fromkeys(instance.problem for instance in self.instances))

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """The rows of all runs."""
        return tuple(run.record for run in self.runs.values())

    def groups(self) -> dict[str, tuple[Instance, ...]]:
        """Put the instances that differ in seed and start alone together.

        Returns
        -------
        dict of str to tuple of Instance
            By problem, with the dtype behind it where the study has several.
        """
        several = len({instance.dtype for instance in self.instances}) > 1
        groups: dict[str, list[Instance]] = defaultdict(list)
        for instance in self.instances:
            dtype = f", {instance.dtype}" if several else ""
            groups[f"{instance.problem}{dtype}"].append(instance)
        return {name: tuple(members) for name, members in groups.items()}

    def missing(self) -> tuple[tuple[Instance, str], ...]:
        """Return the instances and contestants of which there is no run."""
        return tuple(
            (instance, solver)
            for instance in self.instances
            for solver in self.solvers
            if (instance, solver) not in self.runs
        )


def read_study(
    store: Store,
    *,
    problems: Collection[str] | None = None,
    solvers: Collection[str] | None = None,
) -> Study:
    """Read the runs of a store.

    Parameters
    ----------
    store : Store
        Where the runs are.
    problems, solvers : collection of str or None
        Names of those to take; None takes all. What is not taken counts for f_L all the same,
        so that a solver is not called better for the absence of those who beat it.

    Returns
    -------
    Study
        The runs, each at its place.

    Raises
    ------
    EmptyStudyError
        If a name is not in the store, or no run is left.
    """
    records = store.runs()
    _check_names("problem", problems, {record.problem for record in records})
    _check_names("solver", solvers, {record.solver for record in records})
    if not records:
        message = (
            "there is nothing to report: the store holds no runs. Allowed is a store with one or "
            "more. Run `kormos compare` first."
        )
        raise EmptyStudyError(message)
    everything = [
        Run(record=record, trajectory=Trajectory.of(record, store.trace(record.run_id)))
        for record in records
    ]
    taken = [
        run
        for run in everything
        if (problems is None or run.record.problem in problems)
        and (solvers is None or run.record.solver in solvers)
    ]
    if not taken:
        message = (
            f"there is nothing to report: no run of {_listed(solvers or ())} on "
            f"{_listed(problems or ())}. Allowed are pairs that ran. Leave one of the two out."
        )
        raise EmptyStudyError(message)
    name_of, notes = _namer(taken)
    runs: dict[tuple[Instance, str], Run] = {}
    for run in sorted(taken, key=lambda run: run.record.finished_at or ""):
        runs[run.instance, name_of(run.record)] = run  # the last one stays
    instances = tuple(dict.fromkeys(run.instance for run in taken))
    targets, more = find_targets(everything, instances)
    if len(runs) < len(taken):
        notes.append(
            "Runs that were made again with the same options and budget: "
            f"{len(taken) - len(runs)}. The last of each is shown."
        )
    return Study(
        solvers=tuple(dict.fromkeys(name_of(run.record) for run in taken)),
        instances=instances,
        runs=runs,
        targets=targets,
        notes=tuple(notes + more),
    )


def _check_names(what: str, names: Collection[str] | None, known: set[str]) -> None:
    unknown = [name for name in names or () if name not in known]
    if unknown:
        message = (
            f"the store has no run of the {what} {_listed(unknown)}. Allowed: "
            f"{', '.join(sorted(known)) or 'none, it is empty'}. Name what was run."
        )
        raise EmptyStudyError(message)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "any"


def _namer(runs: Iterable[Run]) -> tuple[Callable[[RunRecord], str], list[str]]:
    """Return what names a contestant, adding what tells runs on one instance apart."""
    by_solver: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_solver[run.record.solver].append(run)
    keys = {solver: _distinguishing(members) for solver, members in by_solver.items()}

    def name_of(record: RunRecord) -> str:
        told = [brief(getattr(record, key)) for key in keys[record.solver]]
        return " ".join([record.solver, *(f"[{text}]" for text in told)])

    notes = [
        f"{solver} ran with more than one {' and '.join(told)}; each counts as a solver."
        for solver, told in keys.items()
        if told
    ]
    return name_of, notes


def _distinguishing(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the fewest fields by which the runs on each instance differ as they do by all."""
    sizes = [
        len({(run.instance, *(brief(getattr(run.record, key)) for key in keys)) for run in runs})
        for keys in _KEY_SETS
    ]
    return _KEY_SETS[sizes.index(sizes[-1])]
