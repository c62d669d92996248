"""What losses are measured against: the loss of the start and the least one that is known.

Symbols: ``f`` loss, ``f_0`` loss of the start, ``f_L`` least loss that is known.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kormos_core.compare.report.run import Instance, Run

__all__ = ["Target", "find_targets"]

_SAME: Final = 1e-6  # relative difference of two losses that are called equal
_ROUNDINGS: Final = 4.0  # units of the last place that a mean over many samples may be off by


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an instance's losses are measured against.

    Attributes
    ----------
    f_start : float
        Loss f_0 of the start; NaN where no run tells a finite one.
    f_best : float
        Least loss f_L that is known of the problem in this dtype.
    source : str
        Where f_L comes from: a solver, or ``"known minimum"``.
    resolution : float
        Difference of two losses near f_L that rounding may make.
    """

    f_start: float
    f_best: float
    source: str
    resolution: float

    @property
    def judgeable(self) -> bool:
        """Whether there is anything to gain from the start, and it is finite."""
        return self.f_start - self.f_best > self.resolution  # False for NaN

    def threshold(self, tau: float) -> float:
        """Return the greatest loss that passes the convergence test.

        Parameters
        ----------
        tau : float
            Share of f_0 - f_L that may be left, in (0, 1).

        Returns
        -------
        float
            The loss f_L + tau (f_0 - f_L), but never closer to f_L than rounding tells apart.
        """
        return self.f_best + max(tau * (self.f_start - self.f_best), self.resolution)

    def gap(self, f: float) -> float:
        """Return what is left of f_0 - f_L.

        Parameters
        ----------
        f : float
            A loss.

        Returns
        -------
        float
            The share (f - f_L) / (f_0 - f_L): 1 at the start, 0 at f_L.
        """
        return max(f - self.f_best, 0.0) / (self.f_start - self.f_best)


def find_targets(
    runs: Sequence[Run], instances: Sequence[Instance]
) -> tuple[dict[Instance, Target], list[str]]:
    """Find what instances are measured against.

    Parameters
    ----------
    runs : sequence of Run
        All that there are, those on other instances included.
    instances : sequence of Instance
        Those to find a target for.

    Returns
    -------
    targets : dict of Instance to Target
        With f_L over all solvers, seeds and starts of one problem and dtype.
    notes : list of str
        What a reader must know of them.
    """
    families: dict[tuple[str, str], list[Run]] = defaultdict(list)
    members: dict[Instance, list[Run]] = defaultdict(list)
    for run in runs:
        families[run.instance.family].append(run)
        members[run.instance].append(run)
    best = {family: _best(rows) for family, rows in families.items()}
    targets, notes = {}, []
    for instance in instances:
        f_start, told = _start(instance, members[instance])
        f_best, source = best[instance.family]
        eps = float(np.finfo(instance.dtype).eps)
        resolution = _ROUNDINGS * eps * abs(f_best)
        targets[instance] = Target(
            f_start=f_start, f_best=f_best, source=source, resolution=resolution
        )
        notes += told
    for family in dict.fromkeys(instance.family for instance in instances):
        notes += _contradiction(family[0], families[family], *best[family])
    return targets, notes


def _best(runs: Sequence[Run]) -> tuple[float, str]:
    values = [(f, "known minimum") for f in _finite(run.record.f_min for run in runs)]
    for run in runs:
        values += [(f, run.record.solver) for f in _finite([run.trajectory.least])]
    return min(values, key=lambda pair: pair[0]) if values else (math.nan, "no run")


def _start(instance: Instance, runs: Sequence[Run]) -> tuple[float, list[str]]:
    losses = _finite(run.record.start_loss for run in runs)
    if not losses:
        return math.nan, []
    low, high = min(losses), max(losses)
    if high - low <= _SAME * max(abs(high), abs(low)):
        return high, []
    told = (
        f"{instance}: the solvers report start losses from {low:.6g} to {high:.6g}, so they did "
        "not start at one point; the greatest is f_0."
    )
    return high, [told]


def _contradiction(problem: str, runs: Sequence[Run], f_best: float, source: str) -> list[str]:
    known = _finite(run.record.f_min for run in runs)
    starts = _finite(run.record.start_loss for run in runs)
    if not known or not starts:
        return []
    if min(known) - f_best <= _SAME * max(abs(f_best), max(starts) - f_best):
        return []
    told = (
        f"{problem}: {source} came to {f_best:.10g}, below {min(known):.10g}, which is declared "
        "to be the least loss; f_L is the lower one."
    )
    return [told]


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
