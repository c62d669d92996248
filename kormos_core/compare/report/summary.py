"""The numbers behind a report: who solved what, at what cost, and in which rank.

Symbols: ``f`` loss, ``f_0`` loss of the start, ``f_L`` least loss that is known, ``t`` costs
(instances, solvers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from kormos_core.compare.report.profiles import performance_ratios
from kormos_core.compare.report.trajectory import Measure
from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from kormos_core.compare.report.run import Instance, Run
    from kormos_core.compare.report.study import Study

__all__ = [
    "TAUS",
    "Costs",
    "Summary",
    "ToleranceError",
    "check_tau",
    "cost",
    "measure_costs",
    "middle",
    "ranks",
    "solved",
    "summarize",
]

TAUS: Final = (1e-1, 1e-3, 1e-5, 1e-7)
"""Tolerances of the convergence test that Moré and Wild use, and a sharper one."""

_LEAST: Final = {Measure.SECONDS: 1e-6, Measure.EVALUATIONS: 1.0, Measure.ITERATIONS: 1.0}


class ToleranceError(KormosError, ValueError):
    """A tolerance of the convergence test that is none."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What it cost each solver to solve each instance that all of them ran on.

    Attributes
    ----------
    solvers : tuple of str
        The columns.
    instances : tuple of Instance
        The rows.
    values : ndarray, shape (instances, solvers), float64
        Costs t; infinite where the solver did not solve the instance.
    incomplete : tuple of Instance
        Left out, since a solver has no run there.
    unjudged : tuple of Instance
        Left out, since the loss of the start is not finite or already the least.
    """

    solvers: tuple[str, ...]
    instances: tuple[Instance, ...]
    values: NDArray[np.float64]
    incomplete: tuple[Instance, ...]
    unjudged: tuple[Instance, ...]

    @property
    def unsolved(self) -> tuple[Instance, ...]:
        """Instances among the rows that nobody solved."""
        return tuple(
            instance
            for instance, row in zip(self.instances, self.values, strict=True)
            if not np.isfinite(row).any()
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How one solver did over all instances that every solver ran on.

    Attributes
    ----------
    solver : str
        The solver.
    num_solved, num_instances : int
        How many it solved, of how many.
    evaluations_ratio, seconds_ratio : float
        Median of its cost over the best one's; infinite where it solved too few for one.
    mean_rank : float
        Mean rank by evaluations, 1 being best; NaN without instances.
    """

    solver: str
    num_solved: int
    num_instances: int
    evaluations_ratio: float
    seconds_ratio: float
    mean_rank: float


def check_tau(tau: float) -> float:
    """Return a tolerance of the convergence test if it is one.

    Parameters
    ----------
    tau : float
        The tolerance.

    Returns
    -------
    float
        The same.

    Raises
    ------
    ToleranceError
        If it is not in (0, 1).
    """
    if not 0.0 < tau < 1.0:
        listed = ", ".join(f"{value:g}" for value in TAUS)
        message = (
            f"tau is {tau!r}. Allowed is a number between 0 and 1, the share of the way from the "
            f"start to the least loss that may be left. Usual are {listed}."
        )
        raise ToleranceError(message)
    return tau


def cost(study: Study, instance: Instance, run: Run, *, measure: Measure, tau: float) -> float:
    """Return what a run had cost when it first passed the convergence test.

    Parameters
    ----------
    study : Study
        Where it belongs.
    instance : Instance
        What it ran on.
    run : Run
        The run.
    measure : Measure
        What is counted.
    tau : float
        Tolerance of the test f <= f_L + tau (f_0 - f_L), in (0, 1).

    Returns
    -------
    float
        The cost, at least one evaluation, one iteration or a microsecond; infinite where it
        never passed, ended with an error, or the instance cannot be judged.

    Notes
    -----
    A run that was killed, since it did not stop, counts for what it had reached within its
    limit of time; one that failed or crashed does not, since its user has no weights to go on
    with.

    References
    ----------
    Moré and Wild (2009), section 2, the convergence test; see `profiles`. Unlike there, tau
    is never taken finer than rounding near f_L.
    """
    target = study.targets[instance]
    if not target.judgeable or not run.handed_back:
        return math.inf
    threshold = target.threshold(tau)
    if run.trajectory.cost_to(threshold, Measure.SECONDS) > run.time_limit_s:
        return math.inf
    return max(run.trajectory.cost_to(threshold, measure), _LEAST[measure])


def solved(study: Study, instance: Instance, solver: str, *, tau: float) -> bool | None:
    """Tell whether a solver solved an instance.

    Parameters
    ----------
    study : Study
        The runs.
    instance : Instance
        What it ran on.
    solver : str
        The solver.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    bool or None
        None where there is no run, or the instance cannot be judged.
    """
    run = study.runs.get((instance, solver))
    if run is None or not study.targets[instance].judgeable:
        return None
    return math.isfinite(cost(study, instance, run, measure=Measure.EVALUATIONS, tau=tau))


def measure_costs(study: Study, *, measure: Measure, tau: float) -> Costs:
    """Collect what it cost each solver to solve each instance.

    Parameters
    ----------
    study : Study
        The runs.
    measure : Measure
        What is counted.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    Costs
        For profiles; instances that some solver did not run on are left out, since a profile
        compares all solvers on one set.

    Raises
    ------
    ToleranceError
        If tau is out of range.
    """
    check_tau(tau)
    rows, instances, incomplete, unjudged = [], [], [], []
    for instance in study.instances:
        runs = [study.runs.get((instance, solver)) for solver in study.solvers]
        if not study.targets[instance].judgeable:
            unjudged.append(instance)
        elif any(run is None for run in runs):
            incomplete.append(instance)
        else:
            instances.append(instance)
            rows.append(
                [
                    cost(study, instance, run, measure=measure, tau=tau)
                    for run in runs
                    if run is not None
                ]
            )
    return Costs(
        solvers=study.solvers,
        instances=tuple(instances),
        values=np.array(rows, dtype=np.float64).reshape(len(rows), len(study.solvers)),
        incomplete=tuple(incomplete),
        unjudged=tuple(unjudged),
    )


def ranks(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank the solvers of each instance.

    Parameters
    ----------
    costs : ndarray, shape (instances, solvers)
        Costs t; infinite where not solved.

    Returns
    -------
    ndarray, shape (instances, solvers), float64
        From 1, the best. Equal costs share the mean of their ranks, and so do all solvers that
        did not solve an instance.
    """
    t = np.asarray(costs, dtype=np.float64)
    fewer = (t[:, None, :] < t[:, :, None]).sum(axis=2)
    equal = (t[:, None, :] == t[:, :, None]).sum(axis=2)
    places: NDArray[np.float64] = fewer + (equal + 1) / 2.0
    return places


def summarize(study: Study, *, tau: float) -> tuple[Summary, ...]:
    """Sum up how each solver did.

    Parameters
    ----------
    study : Study
        The runs.
    tau : float
        Tolerance of the convergence test, in (0, 1).

    Returns
    -------
    tuple of Summary
        In the order of the study's solvers.

    Raises
    ------
    ToleranceError
        If tau is out of range.
    """
    evaluations = measure_costs(study, measure=Measure.EVALUATIONS, tau=tau)
    seconds = measure_costs(study, measure=Measure.SECONDS, tau=tau)
    ratios = [performance_ratios(costs.values) for costs in (evaluations, seconds)]
    places = ranks(evaluations.values)
    return tuple(
        Summary(
            solver=solver,
            num_solved=int(np.isfinite(evaluations.values[:, column]).sum()),
            num_instances=len(evaluations.instances),
            evaluations_ratio=middle(ratios[0][:, column]),
            seconds_ratio=middle(ratios[1][:, column]),
            mean_rank=float(places[:, column].mean()) if len(places) else math.nan,
        )
        for column, solver in enumerate(study.solvers)
    )


def middle(values: Iterable[float] | Sequence[float] | NDArray[np.float64]) -> float:
    """Return the median; of an even number of values the greater of the middle two.

    Parameters
    ----------
    values : iterable of float
        Values, infinities among them.

    Returns
    -------
    float
        One of the values; NaN where there are none.
    """
    ordered = sorted(values)
    return float(ordered[len(ordered) // 2]) if ordered else math.nan
