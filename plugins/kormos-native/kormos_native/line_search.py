"""A line search as a state machine: one evaluation of loss and gradient a tick.

Symbols: ``f`` loss and ``slope`` directional derivative at a ``step`` along a direction of
descent; ``f0`` and ``slope0`` at step 0; ``best`` the best step so far, ``other`` the other
end of the interval that holds a minimizer. All are float64 scalars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np

from kormos_core.loop import ops
from kormos_native.interpolation import Point, next_interval, select, trial_step
from kormos_native.rounding import change_by_slopes, rounding_error
from kormos_native.search_memory import Memory

if TYPE_CHECKING:
    from kormos_core.loop import State
    from kormos_native.interpolation import Interval

__all__ = ["ACCEPTED", "FAILED", "SEARCHING", "STALLED", "LineSearch", "idle"]

SEARCHING: Final = 0
"""Phase: `step` is to be evaluated."""

ACCEPTED: Final = 1
"""Phase: `step` was evaluated last, and is good."""

FAILED: Final = 2
"""Phase: there is no good step."""

STALLED: Final = 3
"""Phase: there is no good step, and the loss is too coarse to tell one."""

_PATIENCE: Final = 5  # evaluations of a search that has nothing visible to gain
_SHRINK: Final = 0.2  # of the way from the best step to one where the loss is not finite
_SLOW: Final = 0.66  # of an interval that two trials should have left behind


class _Finding(NamedTuple):
    """What is found at a trial: the point and four scalar bools."""

    point: Point  # its loss is that by the slopes where rounding hides the difference
    finite: Any
    decreased: Any  # enough
    lower: Any  # the loss as it is evaluated, not by the slopes
    flat: Any  # enough


def idle() -> dict[str, Any]:
    """Return the state of a search that has not begun.

    Returns
    -------
    dict of str to ndarray
        ``step`` 0, ``phase`` `SEARCHING` and ``memory``, in NumPy's types.
    """
    return {
        "step": np.float64(0.0),
        "phase": np.int32(SEARCHING),
        "memory": np.zeros(len(Memory._fields)),
    }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LineSearch:
    """Search a step that satisfies the strong Wolfe conditions.

    These are ``f <= f0 + c1 step slope0`` and ``|slope| <= c2 |slope0|``.

    Attributes
    ----------
    c1 : float
        Sufficient decrease, above 0.
    c2 : float
        Curvature, ``c1 < c2 < 1``.
    maxls : int
        Most evaluations in one search.
    xtol : float
        Relative width of an interval that is not worth dividing.
    weak : bool
        Whether any slope of the other sign will do: the weak Wolfe conditions, for paths
        with kinks.

    Notes
    -----
    Deviations from Moré and Thuente. Where the loss at a trial differs from ``f0`` by no
    more than its rounding errors, ``f0 + step (slope0 + slope) / 2`` is taken for it: the
    first condition becomes ``slope <= (2 c1 - 1) slope0``, the approximate Wolfe condition
    of Hager and Zhang, and the trials after it follow the slopes. A trial where loss or
    slope is not finite is answered by one at a fifth of its distance from the best step.
    When the interval is narrow or the evaluations are used up but one, the best step is
    accepted with a sufficient decrease alone, which may take an evaluation to return to it.
    A search ends early where rounding hides all that there is to gain. There is no largest
    step.

    References
    ----------
    J. J. Moré, D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease",
    ACM Trans. Math. Softw. 20(3), 1994, sections 2 to 4, doi:10.1145/192115.192132.
    W. W. Hager, H. Zhang, "A New Conjugate Gradient Method with Guaranteed Descent and an
    Efficient Line Search", SIAM J. Optim. 16(1), 2005, conditions T1 and T2,
    doi:10.1137/030601880.
    """

    c1: float = 1e-4
    c2: float = 0.9
    maxls: int = 20
    xtol: float = 0.1
    weak: bool = False

    def start(self, f0: Any, slope0: Any, step: Any) -> State:
        """Return the state of a search whose first trial is `step`.

        Parameters
        ----------
        f0, slope0 : tensor, scalar, float64
            Loss and directional derivative at step 0; the latter below 0.
        step : tensor, scalar, float64
            The first trial, above 0.

        Returns
        -------
        dict of str to tensor
            What `judge` takes.
        """
        packed = Memory.fresh(f0, slope0).pack()
        return {"step": step, "phase": ops.full((), SEARCHING, "int32"), "memory": packed}

    def judge(self, search: State, f: Any, slope: Any, epsilon: float) -> State:
        """Return the state after the evaluation of the trial ``search["step"]``.

        Parameters
        ----------
        search : dict of str to tensor
            The state, its phase `SEARCHING`.
        f, slope : tensor, scalar, float64
            Loss and directional derivative at the trial.
        epsilon : float
            Relative rounding error of the loss.

        Returns
        -------
        dict of str to tensor
            The state; its phase tells how the search goes on.
        """
        memory = Memory.unpack(search["memory"])
        found = self._look(memory, Point(search["step"], f, slope), epsilon)
        closed = ops.logical_and(memory.closing > 0.0, found.lower)
        good = ops.logical_and(found.decreased, ops.logical_or(found.flat, closed))
        phase, step, packed = ops.cond(
            ops.logical_and(found.finite, good),
            lambda: (ops.full((), ACCEPTED, "int32"), search["step"], search["memory"]),
            lambda: self._go_on(memory, found, epsilon),
        )
        return {"step": step, "phase": phase, "memory": packed}

    def _look(self, memory: Memory, trial: Point, epsilon: float) -> _Finding:
        start = memory.start
        change = change_by_slopes(start, trial)
        difference = ops.maximum(ops.abs(trial.f - start.f), ops.abs(change))
        hidden = difference <= rounding_error(start.f, epsilon)
        point = trial._replace(f=ops.where(hidden, start.f + change, trial.f))
        return _Finding(
            point=point,
            finite=ops.logical_and(ops.isfinite(trial.f), ops.isfinite(trial.slope)),
            decreased=point.f <= start.f + self.c1 * trial.step * start.slope,
            lower=trial.f < start.f,
            flat=(-trial.slope if self.weak else ops.abs(trial.slope)) <= -self.c2 * start.slope,
        )

    def _go_on(self, memory: Memory, found: _Finding, epsilon: float) -> tuple[Any, Any, Any]:
        """Return phase, next step and memory after a trial that is not accepted as it is."""
        trial, finite = found.point, found.finite
        rising = ops.logical_and(found.decreased, trial.slope >= 0.0)
        second = ops.logical_or(memory.second_stage > 0.0, ops.logical_and(finite, rising))
        plain = ops.logical_or(second, ops.logical_or(found.decreased, trial.f > memory.f_best))
        tilt = ops.where(plain, 0.0, self.c1 * memory.slope0)
        interval, proposed = _narrowed(memory, trial, finite, tilt)
        width = ops.abs(interval.other.step - interval.best.step)
        after = Memory(
            memory.f0,
            memory.slope0,
            *interval.best,
            *interval.other,
            ops.cast(interval.bracketed, "float64"),
            ops.cast(second, "float64"),
            ops.where(interval.bracketed, width, memory.width),
            memory.width,
            ops.where(finite, memory.limit, ops.minimum(memory.limit, trial.step)),
            *memory.prospect.after(memory.start, trial, finite),
            closing=ops.cast(self._closes(interval, width, memory.count), "float64"),
            count=memory.count + 1.0,
        )
        phase = self._phase(memory, after, found, epsilon)
        step = ops.where(after.closing > 0.0, after.best, proposed)
        return phase, ops.where(phase == ACCEPTED, trial.step, step), after.pack()

    def _closes(self, interval: Interval, width: Any, count: Any) -> Any:
        """Tell whether the search goes back to its best step to end there."""
        best, other, bracketed = interval
        top = ops.maximum(best.step, other.step)
        narrow = ops.logical_and(bracketed, width <= self.xtol * top)
        ends = ops.logical_or(narrow, count >= self.maxls - 2.0)
        return ops.logical_and(ends, best.step > 0.0)

    def _phase(self, before: Memory, after: Memory, found: _Finding, epsilon: float) -> Any:
        there = ops.logical_and(after.closing > 0.0, after.best == found.point.step)
        lower = ops.logical_and(found.decreased, found.lower)
        accepted = ops.logical_and(found.finite, ops.logical_and(there, lower))
        hidden = after.prospect.hidden(after.f0, epsilon)
        hopeless = ops.logical_and(hidden, after.count >= _PATIENCE)
        over = ops.logical_or(before.closing > 0.0, after.count >= self.maxls)
        ended = ops.where(hidden, STALLED, FAILED)
        going = ops.where(ops.logical_or(over, hopeless), ended, SEARCHING)
        return ops.cast(ops.where(accepted, ACCEPTED, going), "int32")


def _narrowed(memory: Memory, trial: Point, finite: Any, tilt: Any) -> tuple[Interval, Any]:
    """Return the interval after the trial, and the step to try next."""
    before = memory.interval
    after = next_interval(before, trial, tilt)
    proposed = trial_step(before, trial, tilt, memory.limit)
    best, other = after.best.step, after.other.step
    slow = ops.abs(other - best) >= _SLOW * memory.width_before
    outside = ops.logical_not((proposed - best) * (proposed - other) < 0.0)
    halve = ops.logical_and(after.bracketed, ops.logical_or(slow, outside))
    proposed = ops.where(halve, 0.5 * (best + other), proposed)
    shrunk = memory.best + _SHRINK * (trial.step - memory.best)
    return select(finite, after, before), ops.where(finite, proposed, shrunk)
