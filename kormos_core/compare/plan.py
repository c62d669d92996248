"""Which runs a comparison is made of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from kormos_core.compare.catalog import find_outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kormos_core.compare.contestants import Contestant
    from kormos_core.compare.limits import Limits

__all__ = ["Job", "make_plan"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run that is asked for.

    Attributes
    ----------
    problem : str
        Name of the problem.
    problem_set : str
        The set it was asked for by, or its own first one.
    solver : str
        The contestant's label.
    solver_name : str
        Its name, without options.
    options : mapping of str to object
        Its options.
    rates : tuple of float
        Learning rates to try; empty where nothing is tuned.
    dtype : str
        Dtype of parameters and data.
    seed, start : int
        Numbers of the seed and the starting point.
    budget : mapping of str to object
        `Limits`, as a mapping.
    """

    problem: str
    problem_set: str
    solver: str
    solver_name: str
    options: Mapping[str, Any]
    rates: tuple[float, ...]
    dtype: str
    seed: int
    start: int
    budget: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """A digest of all that is asked for, but the name of the set."""
        asked = dataclasses.asdict(self)
        del asked["problem_set"]
        text = json.dumps(asked, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """What a user reads while it runs."""
        which = "".join(
            f", {what} {number}"
            for what, number in (("start", self.start), ("seed", self.seed))
            if number
        )
        return f"{self.problem}, {self.solver}{which}"


def make_plan(
    problems: Iterable[tuple[str, str]],
    contestants: Sequence[Contestant],
    limits: Limits,
    *,
    dtype: str,
    seeds: Iterable[int],
    starts: int,
    rates: Sequence[float],
) -> tuple[Job, ...]:
    """List the runs of a comparison: problem by problem, then start, seed and solver.

    Parameters
    ----------
    problems : iterable of tuple of (str, str)
        Names of problems, each with the set it was asked for by or "".
    contestants : sequence of Contestant
        The solvers.
    limits : Limits
        What each run is allowed.
    dtype : str
        Dtype of parameters and data.
    seeds : iterable of int
        The seeds.
    starts : int
        Starting points of each problem; of one that has fewer, all that it has.
    rates : sequence of float
        Learning rates to try for Keras's optimizers that are given none.

    Returns
    -------
    tuple of Job
        Each run once, however often it was asked for.

    Raises
    ------
    KormosError
        If there is no problem of a name.
    """
    jobs: dict[str, Job] = {}
    seeds = list(seeds)
    for name, problem_set in problems:
        problem = find_outline(name)
        most = starts if problem.num_starts is None else min(starts, problem.num_starts)
        for start in range(most):
            for seed in seeds:
                for contestant in contestants:
                    job = Job(
                        problem=problem.name,
                        problem_set=problem_set or problem.home,
                        solver=contestant.label,
                        solver_name=contestant.name,
                        options=contestant.options,
                        rates=tuple(rates) if contestant.is_tuned else (),
                        dtype=dtype,
                        seed=seed,
                        start=start,
                        budget=limits.as_dict(),
                    )
                    jobs.setdefault(job.run_id, job)
    return tuple(jobs.values())
