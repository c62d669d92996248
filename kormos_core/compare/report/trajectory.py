"""The path of one run: the least loss so far against what it had cost.

Symbols: ``f`` loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kormos_core.compare.store import RunRecord, TraceRow

__all__ = ["Measure", "Trajectory"]


@final
class Measure(Enum):
    """What a run costs; the value is the unit as pictures and tables name it."""

    EVALUATIONS = "evaluations"
    SECONDS = "seconds"
    ITERATIONS = "iterations"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The least loss so far at each accepted iterate, and the costs up to there.

    Attributes
    ----------
    best : ndarray, shape (k,), float64
        Least finite loss so far; infinite before the first.
    evaluations : ndarray, shape (k,), float64
        Sweeps over the training data: losses, gradients and Hessian-vector products.
    seconds : ndarray, shape (k,), float64
        Seconds since the training began; the first call is not in it.
    iterations : ndarray, shape (k,), float64
        Accepted iterations; epochs of Keras's optimizers.
    """

    best: NDArray[np.float64]
    evaluations: NDArray[np.float64]
    seconds: NDArray[np.float64]
    iterations: NDArray[np.float64]

    @classmethod
    def of(cls, record: RunRecord, trace: Sequence[TraceRow]) -> Trajectory:
        """Join a run's trace and its last figures.

        Parameters
        ----------
        record : RunRecord
            The run, whose own loss and costs are the last point.
        trace : sequence of TraceRow
            Its accepted iterates, in any order.

        Returns
        -------
        Trajectory
            Costs that never fall, losses that never rise.
        """
        rows: list[tuple[float | None, ...]] = [
            (row.iteration, row.fg_evals, row.hessp_evals, row.seconds, row.loss)
            for row in sorted(trace, key=lambda row: row.iteration)
        ]
        rows.append(
            (
                record.num_iterations,
                record.fg_evals,
                record.hessp_evals,
                record.wall_time_s,
                record.loss,
            )
        )
        if not trace:  # where a run began is known without a trace
            rows.insert(0, (0, 0, 0, 0.0, record.start_loss))
        table = np.array([[_number(value) for value in row] for row in rows])
        losses = np.where(np.isfinite(table[:, 4]), table[:, 4], np.inf)
        iterations, fg, hessp, seconds = (_rising(table[:, column]) for column in range(4))
        return cls(
            best=np.minimum.accumulate(losses),
            evaluations=fg + hessp,
            seconds=seconds,
            iterations=iterations,
        )

    @property
    def least(self) -> float:
        """The least finite loss of the run; infinite where there is none."""
        return float(self.best[-1])

    def costs(self, measure: Measure) -> NDArray[np.float64]:
        """Return what each point had cost.

        Parameters
        ----------
        measure : Measure
            Of which kind.

        Returns
        -------
        ndarray, shape (k,), float64
            Rising with the points of `best`.
        """
        costs: NDArray[np.float64] = getattr(self, measure.value)
        return costs

    def cost_to(self, threshold: float, measure: Measure) -> float:
        """Return what it cost to bring the loss down to a threshold.

        Parameters
        ----------
        threshold : float
            The loss to reach.
        measure : Measure
            Of which kind.

        Returns
        -------
        float
            The cost of the first point at or below the threshold; infinite where none is.
        """
        reached = self.best <= threshold
        return float(self.costs(measure)[np.argmax(reached)]) if reached.any() else math.inf


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _rising(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let unknown costs be those of the point before."""
    known: NDArray[np.float64] = np.maximum.accumulate(np.nan_to_num(costs, nan=0.0))
    return known
