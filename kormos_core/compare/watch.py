"""A run's clock, its limits, and the rows of its trace.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,).
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from kormos_core.protocols import StopSolve
from kormos_core.result import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.compare.limits import Limits
    from kormos_core.loop import Chunk
    from kormos_core.objective import ModelObjective
    from kormos_core.protocols import Bounds
    from kormos_core.training import Iterate

__all__ = ["Clock", "Limited", "Paced", "Row", "Told", "Watch"]

Row = tuple[int, int, int, float, float | None, float | None]
"""Iteration, evaluations, Hessian products, seconds, loss, gradient norm."""


class Told(Protocol):
    """Who is told of a run while it goes on."""

    def begin(self, what: str) -> None:
        """Take note that a timed solve begins, and of `what`."""
        ...

    def row(self, row: Row) -> None:
        """Take a `row` of its trace."""
        ...


_ROOM: Final = 10**6
_SHARE: Final = 0.5  # of what seems to be left: iterations do not all cost the same
_OF_RESIDUALS: Final = frozenset({"residuals", "jacobian", "jvp", "vjp", "ggn_vp"})


@final
class Clock:
    """Seconds since it was started, without those in which it was paused."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._paused_s = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._begun - self._paused_s

    @property
    def paused_s(self) -> float:
        """Seconds in which it was paused."""
        return self._paused_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still within the block.

        Yields
        ------
        None
            Nothing.
        """
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._paused_s += time.perf_counter() - begun


@final
class Watch:
    """Write down each iterate, and stop where a limit is reached (`Observer`).

    Parameters
    ----------
    limits : Limits
        What the run is allowed.
    told : Told
        Who is told of each row.
    start_loss : float
        Loss at the start, row 0.
    start_norm : float
        2-norm of the gradient there.
    """

    def __init__(self, limits: Limits, told: Told, start_loss: float, start_norm: float) -> None:
        self._limits = limits
        self._told = told
        self.rows: list[Row] = []
        self._passed: list[Iterate] = []
        self.clock = Clock()
        self.add((0, 0, 0, 0.0, start_loss, start_norm))
        self.clock = Clock()

    def add(self, row: Row) -> None:
        """Keep a `row`, and tell of it, while the clock stands still."""
        with self.clock.paused():
            loss, norm = (None if v is None or math.isnan(v) else v for v in row[4:])
            self.rows.append((*row[:4], loss, norm))
            self._told.row(self.rows[-1])

    def begin(self, number: int) -> None:
        """Take note that work on iteration `number` begins."""
        del number
        self.check_time()

    def iterate(self, iterate: Iterate) -> None:
        """Take an accepted `iterate`, and with it those that went by before it."""
        self.passed(iterate)
        self.flush()
        self.check(iterate.fg_evals, iterate.hessp_evals)

    def passed(self, iterate: Iterate) -> None:
        """Take note of an `iterate` that went by inside the graph."""
        self._passed.append(iterate)

    def flush(self) -> None:
        """Write down what went by; iterations of one call share its time evenly."""
        passed, self._passed = self._passed, []
        before, now = self.rows[-1][3], self.clock.seconds
        for number, one in enumerate(passed, start=1):
            seconds = before + (now - before) * number / len(passed)
            counts = one.fg_evals, one.hessp_evals
            self.add((one.number, *counts, seconds, one.loss, one.grad_norm))

    @property
    def room(self) -> int:
        """How many iterations may run in one call: about half of what the limits leave."""
        number, fg_evals, hessp_evals, seconds, *_ = self.rows[-1]
        if not number:
            return 1
        left: list[float] = [_ROOM]
        if self._limits.evals is not None:
            used = fg_evals + hessp_evals
            left.append((self._limits.evals - used) / used)
        if self._limits.time_s is not None and seconds > 0:
            left.append((self._limits.time_s - self.clock.seconds) / seconds)
        return max(1, int(_SHARE * number * min(left)))

    def check_time(self) -> None:
        """Raise `StopSolve` where the time is over."""
        if self._limits.time_s is not None and self.clock.seconds >= self._limits.time_s:
            raise StopSolve(Status.MAX_TIME)

    def check(self, fg_evals: int, hessp_evals: int) -> None:
        """Raise `StopSolve` where evaluations or time are used up.

        Parameters
        ----------
        fg_evals, hessp_evals : int
            Evaluations so far.

        Raises
        ------
        StopSolve
            If they are.
        """
        if self._limits.evals is not None and fg_evals + hessp_evals >= self._limits.evals:
            raise StopSolve(Status.MAX_EVALS)
        self.check_time()


@final
class Limited:
    """An objective that is not evaluated any more once a limit is reached.

    It stands between a run and its objective, so that a limit holds within an iteration too;
    what runs inside the graph is looked at after each iteration. It refuses while `solving` is
    true: what a run measures at its end is no part of the solve.

    Parameters
    ----------
    objective : ModelObjective
        The objective.
    watch : Watch
        The limits and the clock.

    Attributes
    ----------
    solving : bool
        Whether a solver is at work.
    """

    def __init__(self, objective: ModelObjective, watch: Watch) -> None:
        self._objective = objective
        self._watch = watch
        self.solving = False

    def __getattr__(self, name: str) -> Any:
        """Give everything else as the objective has it."""
        if name in _OF_RESIDUALS:
            self._gate()  # what is asked for is called at once
        return getattr(self._objective, name)

    def value(self, x: NDArray[np.float64]) -> float:
        """Return the loss at ``x``, shape (n,)."""
        self._gate()
        return self._objective.value(x)

    def value_and_grad(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        self._gate()
        return self._objective.value_and_grad(x)

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,)."""
        self._gate()
        return self._objective.hvp(x, v)

    def hessian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dense Hessian, shape (n, n)."""
        self._gate()
        return self._objective.hessian(x)

    def _gate(self) -> None:
        if self.solving:
            counts = self._objective.counts
            self._watch.check(counts.fg, counts.hvp)


@final
class Paced:
    """A run that lets no more iterations pass in one call than the limits have room for.

    It is the `kormos_core.loop.LoopHost` that a solver in the graph is given.

    Parameters
    ----------
    host : LoopHost
        The run.
    watch : Watch
        What knows how much room there is.
    """

    def __init__(self, host: Any, watch: Watch) -> None:
        self._host = host
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        """Give everything else as the run has it."""
        return getattr(self._host, name)

    @property
    def bounds(self) -> Bounds | None:
        """Box on the parameters."""
        bounds: Bounds | None = self._host.bounds
        return bounds

    @property
    def memory(self) -> Mapping[str, NDArray[Any]] | None:
        """What an earlier solve left behind."""
        memory: Mapping[str, NDArray[Any]] | None = self._host.memory
        return memory

    def prepare(self, x: NDArray[np.float64], /) -> int:
        """Get ready for a call from ``x``, shape (n,); return the most iterations of it."""
        room: int = self._host.prepare(x)
        return min(room, self._watch.room)

    def compile(self, function: Callable[..., Any], key: Hashable, /) -> Callable[..., Any]:
        """Compile a `function` of the objective; equal `key`, equal functions."""
        compiled: Callable[..., Any] = self._host.compile(function, key)
        return compiled

    def report(self, chunk: Chunk, /) -> None:
        """Take what a `chunk` left behind."""
        self._host.report(chunk)
