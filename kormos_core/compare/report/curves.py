"""Convergence curves: what is left of the way to the least loss, against what it cost.

Symbols: ``f`` loss, ``f_0`` loss of the start, ``f_L`` least loss that is known; the gap is
(f - f_L) / (f_0 - f_L).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kormos_core.compare.report.run import Instance
    from kormos_core.compare.report.study import Study
    from kormos_core.compare.report.target import Target
    from kormos_core.compare.report.trajectory import Measure, Trajectory

__all__ = ["Curve", "convergence_curves", "gap_floor"]

_LEAST_GAP: Final = 1e-16  # a gap below is drawn there: a logarithm has no zero
_MAX_POINTS: Final = 80  # more cannot be told apart in a picture


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The least gap so far of a solver, over the instances of one problem.

    Attributes
    ----------
    solver : str
        The solver.
    x : ndarray, shape (k,), float64, rising
        Costs at which the gap of some run changes.
    gap : ndarray, shape (k,), float64
        Median over the runs of the least gap so far, from each cost on; never below the floor.
        Of an even number of runs it is the greater of the middle two.
    low, high : ndarray, shape (k,), float64
        The best and the worst run's.
    floor : float
        The gap below which differences are rounding.
    num_runs : int
        How many runs it is made of.
    """

    solver: str
    x: NDArray[np.float64]
    gap: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    floor: float
    num_runs: int


def gap_floor(target: Target) -> float:
    """Return the gap below which losses cannot be told from f_L.

    Parameters
    ----------
    target : Target
        Of an instance that can be judged.

    Returns
    -------
    float
        The rounding of f_L over f_0 - f_L; at least 1e-16, for f_L may be zero.
    """
    return max(target.resolution / (target.f_start - target.f_best), _LEAST_GAP)


def convergence_curves(
    study: Study, instances: Sequence[Instance], *, measure: Measure
) -> tuple[Curve, ...]:
    """Make the curve of each solver over instances that differ in seed and start.

    Parameters
    ----------
    study : Study
        The runs.
    instances : sequence of Instance
        Of one problem and dtype; those that cannot be judged are left out.
    measure : Measure
        What is counted.

    Returns
    -------
    tuple of Curve
        In the order of the study's solvers; none for a solver without a run. A run that has
        ended stays where it was for as long as others of its solver go on.
    """
    judged = [instance for instance in instances if study.targets[instance].judgeable]
    if not judged:
        return ()
    floor = max(gap_floor(study.targets[instance]) for instance in judged)
    curves = []
    for solver in study.solvers:
        paths = [
            (study.runs[instance, solver].trajectory, study.targets[instance])
            for instance in judged
            if (instance, solver) in study.runs
        ]
        if paths:
            curves.append(_curve(solver, paths, measure, floor))
    return tuple(curves)


def _curve(
    solver: str, paths: Sequence[tuple[Trajectory, Target]], measure: Measure, floor: float
) -> Curve:
    x = _thinned(np.unique(np.concatenate([path.costs(measure) for path, _ in paths])))
    gaps = np.array([_gaps(path, target, x, measure) for path, target in paths])
    gaps = np.sort(np.maximum(gaps, floor), axis=0)
    steps = np.flatnonzero((np.diff(gaps, axis=1) != 0).any(axis=0)) + 1
    kept = np.unique(np.concatenate([[0], steps, [x.size - 1]]))
    x, gaps = x[kept], gaps[:, kept]
    return Curve(
        solver=solver,
        x=x,
        gap=gaps[len(gaps) // 2],
        low=gaps[0],
        high=gaps[-1],
        floor=floor,
        num_runs=len(paths),
    )


def _gaps(
    path: Trajectory, target: Target, x: NDArray[np.float64], measure: Measure
) -> NDArray[np.float64]:
    """Return the least gap so far at each cost: a step function, 1 before its first step."""
    index = np.searchsorted(path.costs(measure), x, side="right") - 1
    best = np.where(index >= 0, path.best[np.maximum(index, 0)], np.inf)
    best = np.minimum(best, target.f_start)
    gaps: NDArray[np.float64] = np.maximum(best - target.f_best, 0.0)
    return gaps / (target.f_start - target.f_best)


def _thinned(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep the ends, and few enough points between them, evenly on both kinds of axis."""
    if x.size <= _MAX_POINTS:
        return x
    half = _MAX_POINTS // 2
    even = np.linspace(0, x.size - 1, half)
    early = np.geomspace(1, x.size, half) - 1
    kept: NDArray[np.float64] = x[np.unique(np.concatenate([even, early]).round().astype(int))]
    return kept
