"""One run of a comparison, and what it ran on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

if TYPE_CHECKING:
    from kormos_core.compare.report.trajectory import Trajectory
    from kormos_core.compare.store import RunRecord

__all__ = ["Instance", "Run"]


class Instance(NamedTuple):
    """One problem as all solvers got it.

    Attributes
    ----------
    problem : str
        Name of the problem.
    dtype : str
        Dtype of parameters and data.
    seed : int
        Seed of initial weights and of the order of minibatches; the data do not depend on it.
    start : int
        Number of the starting point.
    """

    problem: str
    dtype: str
    seed: int
    start: int

    @property
    def family(self) -> tuple[str, str]:
        """Problem and dtype: what has one objective, whatever the seed and the start."""
        return self.problem, self.dtype

    def __str__(self) -> str:
        """Name it in words."""
        return f"{self.problem} ({self.dtype}, seed {self.seed}, start {self.start})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what the store says of it, and the path that it took.

    Attributes
    ----------
    record : RunRecord
        Its row.
    trajectory : Trajectory
        The least loss so far against what it had cost.
    """

    record: RunRecord
    trajectory: Trajectory

    @property
    def instance(self) -> Instance:
        """What it ran on."""
        record = self.record
        return Instance(record.problem, record.dtype, record.seed, record.start)

    @property
    def handed_back(self) -> bool:
        """Whether it ended with a point; a run that failed or crashed has none."""
        return self.record.status not in {"FAILED", "CRASHED"}

    @property
    def completed(self) -> bool:
        """Whether it ended by itself: it did not fail, crash, or have to be killed."""
        return self.handed_back and self.record.status != "TIMEOUT"

    @property
    def time_limit_s(self) -> float:
        """Seconds within which what a killed run had reached stands."""
        limit = self.record.budget.get("time_s")
        return math.inf if limit is None or self.completed else float(limit)
