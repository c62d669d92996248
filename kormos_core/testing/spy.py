"""Between a solver and the run that it is part of: what it asks, tells and lets pass.

Symbols: ``x`` parameters (n,), ``v`` direction (n,), ``u`` vector of the residuals' length
(m,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from kormos_core.protocols import Counts
from kormos_core.testing.recorder import WatchedGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from numpy.typing import NDArray

    from kormos_core.loop import Chunk
    from kormos_core.protocols import BatchOptimizer, Bounds, Callback, StopSolve
    from kormos_core.result import Result
    from kormos_core.testing.recorder import Recorder

__all__ = ["Log", "Spy", "Tapped"]

_PRODUCTS: Final = ("hvp", "hessian")


@final
@dataclass(slots=True, kw_only=True)
class Log:
    """What was seen of a solver at work.

    Attributes
    ----------
    asked : list of str
        What it asked of the objective from Python, in order.
    points : list of ndarray, shape (n,), float64
        Where it evaluated from Python.
    accepted : list of ndarray, shape (n,), float64
        What it called back with.
    chunks : list of Chunk
        What it reported of iterations in the graph.
    num_compiled : int
        How often it asked for a compiled function.
    counted : Counts
        What its requests from Python cost.
    num_own_fg : int
        Evaluations among them that it asked for, and not the check of Hessian products.
    claimed : Counts
        What the counts say that all of it cost.
    outcome : object
        What it returned; None where it did not.
    raised : BaseException or None
        What came out of it instead.
    num_at_stop : int or None
        How much it had asked when it was told to stop; None where it was not.
    start_changed : bool
        Whether it changed the starting point that it was given.
    """

    asked: list[str] = field(default_factory=list)
    points: list[NDArray[np.float64]] = field(default_factory=list)
    accepted: list[NDArray[np.float64]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    num_compiled: int = 0
    counted: Counts = field(default_factory=Counts)
    num_own_fg: int = 0
    claimed: Counts = field(default_factory=Counts)
    outcome: Any = None
    raised: BaseException | None = None
    num_at_stop: int | None = None
    start_changed: bool = False


@final
class Tapped:
    """A solver that is watched (`BatchOptimizer`).

    Parameters
    ----------
    solver : BatchOptimizer
        The solver.
    log : Log
        Where to write.
    recorder : Recorder
        Who writes in the graph.
    stop : tuple of (int, StopSolve), or None
        Number of the request at which the objective asks to stop, and how.
    """

    def __init__(
        self,
        solver: BatchOptimizer,
        log: Log,
        recorder: Recorder,
        stop: tuple[int, StopSolve] | None = None,
    ) -> None:
        self._solver, self._log, self._recorder, self._stop = solver, log, recorder, stop

    def merit(self, objective: Any) -> Any:
        """Return what the solver minimizes in place of an objective.

        Parameters
        ----------
        objective : Objective
            The objective.

        Returns
        -------
        Objective
            The same, but for solvers that say otherwise.
        """
        return getattr(self._solver, "merit", lambda given: given)(objective)

    def minimize(
        self,
        objective: Any,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        log, before, start = self._log, replace(objective.counts), x0.copy()
        spy = Spy(objective, log, self._recorder, self._stop)
        try:
            log.outcome = self._solver.minimize(
                spy, x0, maxiter=maxiter, callback=spy.watched(callback)
            )
        except BaseException as error:
            log.raised = error
            raise
        finally:
            log.claimed = _difference(objective.counts, before)
            log.start_changed = not np.array_equal(x0, start, equal_nan=True)
        outcome: Result = log.outcome
        return outcome


@final
class Spy:
    """A run as a solver sees it, watched (`LeastSquaresObjective`, `LoopHost`).

    Parameters
    ----------
    run : Run
        The run.
    log : Log
        Where to write.
    recorder : Recorder
        Who writes in the graph.
    stop : tuple of (int, StopSolve), or None
        Number of the request at which to ask to stop, and how.
    """

    def __init__(
        self, run: Any, log: Log, recorder: Recorder, stop: tuple[int, StopSolve] | None
    ) -> None:
        self._run, self._log, self._recorder, self._stop = run, log, recorder, stop
        self._num_requests = 0

    def __getattr__(self, name: str) -> Any:
        """Return what the run has of that name and no protocol knows."""
        return getattr(self._run, name)

    @property
    def size(self) -> int:
        """Number of parameters n."""
        return int(self._run.size)

    @property
    def bounds(self) -> Bounds | None:
        """Box on the parameters."""
        bounds: Bounds | None = self._run.bounds
        return bounds

    @property
    def constraints(self) -> tuple[Any, ...]:
        """General constraints."""
        return tuple(self._run.constraints)

    @property
    def counts(self) -> Counts:
        """Evaluations so far."""
        counts: Counts = self._run.counts
        return counts

    @property
    def memory(self) -> Mapping[str, NDArray[Any]] | None:
        """What an earlier solve left behind."""
        memory: Mapping[str, NDArray[Any]] | None = self._run.memory
        return memory

    @property
    def num_residuals(self) -> int:
        """Number of residuals m."""
        return int(self._run.num_residuals)

    def value(self, x: NDArray[np.float64]) -> Any:
        """Return the loss at ``x``, shape (n,)."""
        return self._ask("value", x)

    def value_and_grad(self, x: NDArray[np.float64]) -> Any:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        return self._ask("value_and_grad", x)

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> Any:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,)."""
        return self._ask("hvp", x, v)

    def hessian(self, x: NDArray[np.float64]) -> Any:
        """Return the dense Hessian, shape (n, n)."""
        return self._ask("hessian", x)

    def residual_scale(self) -> Any:
        """Return what raw residuals are multiplied by, shape (m,)."""
        return self._run.residual_scale()

    def residuals(self, x: NDArray[np.float64]) -> Any:
        """Return the residuals, shape (m,), at ``x``, shape (n,)."""
        return self._ask("residuals", x)

    def jacobian(self, x: NDArray[np.float64]) -> Any:
        """Return the Jacobian, shape (m, n), at ``x``, shape (n,)."""
        return self._ask("jacobian", x)

    def jvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> Any:
        """Return ``J(x) v``, shape (m,)."""
        return self._ask("jvp", x, v)

    def vjp(self, x: NDArray[np.float64], u: NDArray[np.float64]) -> Any:
        """Return ``J(x)' u``, shape (n,)."""
        return self._ask("vjp", x, u)

    def ggn_vp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> Any:
        """Return ``J(x)' J(x) v``, shape (n,)."""
        return self._ask("ggn_vp", x, v)

    def prepare(self, x: NDArray[np.float64]) -> Any:
        """Get ready for a chunk; see `kormos_core.loop.LoopHost`."""
        self._count()
        return self._measured(lambda: self._run.prepare(x))

    def compile(self, function: Callable[..., Any], key: Hashable) -> Callable[..., Any]:
        """Compile a function of the objective; see `kormos_core.loop.LoopHost`."""
        self._log.num_compiled += 1
        recorder = self._recorder

        def watched(graph: Any, *tensors: Any) -> Any:
            return function(WatchedGraph(graph, recorder), *tensors)

        compiled: Callable[..., Any] = self._run.compile(watched, (recorder, key))
        return compiled

    def report(self, chunk: Chunk) -> None:
        """Take what ran in the graph; see `kormos_core.loop.LoopHost`."""
        self._log.chunks.append(chunk)
        try:
            self._run.report(chunk)  # adds what the chunk claims: the recorder counts the rest
        except BaseException:
            self._log.num_at_stop = self._num_requests
            raise

    def watched(self, callback: Callback) -> Callback:
        """Return a callback that is written down.

        Parameters
        ----------
        callback : Callback
            What is called.

        Returns
        -------
        Callback
            What calls it.
        """

        def call(x: NDArray[np.float64]) -> None:
            self._log.accepted.append(np.array(x))
            try:
                self._measured(lambda: callback(x))
            except BaseException:
                self._log.num_at_stop = self._num_requests
                raise

        return call

    def _ask(self, name: str, x: NDArray[np.float64], *arguments: NDArray[np.float64]) -> Any:
        self._count()
        self._log.asked.append(name)
        self._log.points.append(np.array(x))
        before = self._log.counted.fg
        try:
            return self._measured(lambda: getattr(self._run, name)(x, *arguments))
        finally:
            if name not in _PRODUCTS:
                self._log.num_own_fg += self._log.counted.fg - before

    def _count(self) -> None:
        self._num_requests += 1
        if self._log.num_at_stop is not None:
            self._log.asked.append("after the stop")
        elif self._stop is not None and self._num_requests >= self._stop[0]:
            self._log.num_at_stop = self._num_requests
            raise self._stop[1]

    def _measured(self, work: Callable[[], Any]) -> Any:
        """Do some work of the run, and add up what it costs."""
        before, counted = replace(self._run.counts), self._log.counted
        try:
            return work()
        finally:
            cost = _difference(self._run.counts, before)
            counted.value += cost.value
            counted.value_and_grad += cost.value_and_grad
            counted.hvp += cost.hvp


def _difference(after: Counts, before: Counts) -> Counts:
    return Counts(
        after.value - before.value,
        after.value_and_grad - before.value_and_grad,
        after.hvp - before.hvp,
    )
