"""One solve under watch: stops, non-finite values, the best point, honest counts.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core.box import project, projected_gradient
from kormos_core.protocols import StopSolve
from kormos_core.result import Result, Status
from kormos_core.run.iterate import Iterate
from kormos_core.run.recent import Recent
from kormos_core.run.residual_watch import ResidualWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from numpy.typing import NDArray

    from kormos_core.protocols import BatchOptimizer, Bounds, Counts, Objective
    from kormos_core.registry import Registered
    from kormos_core.run.chunk import Chunk, Point
    from kormos_core.run.interrupt import Interrupt
    from kormos_core.run.iterate import Observer

__all__ = ["Run"]


@final
class Run(ResidualWatch):
    """Stand between a solver and its objective (`Objective`).

    Parameters
    ----------
    objective : Objective
        What is minimized.
    registered : Registered
        The solver's entry in the registry.
    observer : Observer
        Who is told of every accepted iterate.
    interrupt : Interrupt
        Counts Ctrl-C.
    steps : int or None
        Iterations of an in-graph solver between two that the observer takes with their
        point; None where it needs no points, and is told of the rest all the same.
    memory : mapping of str to ndarray, or None
        What an earlier solve left behind for this one to go on from.
    """

    def __init__(
        self,
        objective: Objective,
        registered: Registered,
        observer: Observer,
        interrupt: Interrupt,
        steps: int | None = None,
        memory: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self._objective = objective
        self._registered = registered
        self._observer = observer
        self._interrupt = interrupt
        self._steps = steps
        self._memory = memory
        self._latest: Callable[[], Mapping[str, NDArray[Any]]] | None = None
        self._recent = Recent()
        self._stop: StopSolve | None = None
        self._begun = 0
        self._maxiter = 0
        self._x0: NDArray[np.float64] | None = None
        self._bad: tuple[str, NDArray[np.float64]] | None = None
        self._pending: Iterate | None = None  # the latest row that nobody has been told of
        self.num_iterations = 0
        self.best: NDArray[np.float64] | None = None
        self.best_loss = math.nan

    @property
    def _squares(self) -> Any:
        return self._objective

    @property
    def _takes_residuals(self) -> bool:
        return "residuals" in self._registered.spec.needs

    @property
    def size(self) -> int:
        """Number of parameters n."""
        return self._objective.size

    @property
    def bounds(self) -> Bounds | None:
        """Box on the parameters."""
        return self._objective.bounds

    @property
    def constraints(self) -> tuple[Any, ...]:
        """General constraints in the solver library's form."""
        return self._objective.constraints

    @property
    def memory(self) -> Mapping[str, NDArray[Any]] | None:
        """What an earlier solve left behind; see `kormos_core.loop.LoopHost`."""
        return self._memory

    def snapshot(self) -> Mapping[str, NDArray[Any]] | None:
        """Return what a later solve could go on from; None where the solver keeps no such."""
        return None if self._latest is None else self._latest()

    @property
    def counts(self) -> Counts:
        """Evaluations so far."""
        return self._objective.counts

    def value(self, x: NDArray[np.float64]) -> float:
        """Return the loss at ``x``, shape (n,)."""
        known = self._recent.recall(x)
        if known is not None:
            return known.f
        self._gate()
        f = self._objective.value(x)
        self._remember(x, f, None)
        return f

    def value_and_grad(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        known = self._recent.recall(x)
        if known is not None and known.g is not None:
            return known.f, known.g.copy()
        self._gate()
        f, g = self._objective.value_and_grad(x)
        self._remember(x, f, g)
        return f, g

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,)."""
        self._gate()
        hv = self._objective.hvp(x, v)
        self._check_finite(
            "a Hessian product is not finite", x, finite=bool(np.isfinite(hv).all())
        )
        return hv

    def hessian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dense Hessian, shape (n, n)."""
        self._gate()
        return self._objective.hessian(x)

    def accept(self, x: NDArray[np.float64]) -> None:
        """Take an accepted iterate, shape (n,), from the solver (`Callback`)."""
        self._gate()
        x = np.array(x, dtype=np.float64)
        f, norm = self._measure(x)
        self.num_iterations += 1
        self._prefer(x, f)
        self._report(x, f, norm, self.num_iterations)
        if self._interrupt.count:  # now: the solver may end before its next evaluation
            self._request(StopSolve(Status.INTERRUPTED))
        if self.num_iterations > self._maxiter:
            self._request(StopSolve(Status.MAX_ITER))

    def prepare(self, x: NDArray[np.float64]) -> int:
        """Get ready for a chunk in the graph; see `kormos_core.loop.LoopHost`."""
        done, room = self.num_iterations, self._maxiter
        if self._steps is not None and done % self._steps:
            self._begun = done + 1  # within what the observer takes as one
        self._gate()
        if "hvp" in self._registered.spec.needs:
            # Products are checked after 0, 1, 2, 4, 8 ... iterations, however long a chunk is.
            following = 1 << done.bit_length()
            if done == following // 2:
                self._objective.choose_hvp(x)  # type: ignore[attr-defined]
            room = following - done
        return room if self._steps is None else min(room, self._steps - done % self._steps)

    def compile(self, function: Callable[..., Any], key: Hashable) -> Callable[..., Any]:
        """Compile a function of the objective; see `kormos_core.loop.LoopHost`."""
        compiled: Callable[..., Any] = self._objective.compile(function, key)  # type: ignore[attr-defined]
        return compiled

    def report(self, chunk: Chunk) -> None:
        """Take what ran in the graph; see `kormos_core.loop.LoopHost`."""
        fg, hessp = self.counts.fg, self.counts.hvp
        self._latest = chunk.memory
        self.counts.value_and_grad += chunk.num_fg
        self.counts.hvp += chunk.num_hvp
        for point in (chunk.last, chunk.best):
            measured = bool(np.isfinite(point.g).all())  # methods without gradients give NaN
            self._recent.keep(point.x, point.f, point.g if measured else None)
        if math.isfinite(chunk.best.f):
            self.best, self.best_loss = chunk.best.x, chunk.best.f
        self._look_for_faults(chunk.last)
        for iterate in self._rows(chunk, fg, hessp):
            self._tell_pending(served=False)
            self.num_iterations += 1
            self._pending = iterate
        # Only the last row has its point. It waits for the next chunk, which may have none:
        # whoever is told of the end is told of the last iteration.
        self._begun = self.num_iterations
        whole = self._steps is None or self.num_iterations % self._steps == 0
        if whole or chunk.ends or self._interrupt.count:
            self._tell_pending(served=True)
        if self._interrupt.count:
            self._request(StopSolve(Status.INTERRUPTED))

    def _rows(self, chunk: Chunk, fg: int, hessp: int) -> list[Iterate]:
        rows = zip(chunk.losses, chunk.grad_norms, chunk.fg_evals, chunk.hessp_evals, strict=True)
        takes_gradients = "grad" in self._registered.spec.needs
        return [
            Iterate(
                number=number,
                x=chunk.last.x,
                loss=float(f),
                grad_norm=float(norm) if takes_gradients else math.nan,
                fg_evals=fg + int(num_fg),
                hessp_evals=hessp + int(num_hvp),
            )
            for number, (f, norm, num_fg, num_hvp) in enumerate(rows, self.num_iterations + 1)
        ]

    def _look_for_faults(self, last: Point) -> None:
        """Remember what is not finite at the latest point, for the message at the end."""
        if not math.isfinite(last.f):
            self._bad = (f"the loss is {last.f}", last.x)
        elif "grad" in self._registered.spec.needs and not np.isfinite(last.g).all():
            self._bad = ("the gradient is not finite", last.x)

    def _tell_pending(self, *, served: bool) -> None:
        if self._pending is not None:
            iterate, self._pending = self._pending, None
            self._tell(iterate, served=served)

    def solve(self, solver: BatchOptimizer, x0: NDArray[np.float64], *, maxiter: int) -> Result:
        """Run the solver to its end, whatever that is.

        Parameters
        ----------
        solver : BatchOptimizer
            The solver.
        x0 : ndarray, shape (n,), float64
            Starting point.
        maxiter : int
            Iteration limit.

        Returns
        -------
        Result
            The best accepted point and why the solve ended.

        Raises
        ------
        KeyboardInterrupt
            On a second Ctrl-C.
        """
        started = time.perf_counter()
        self._maxiter = maxiter
        self._x0 = project(np.array(x0, dtype=np.float64), self.bounds)
        self.best = self._x0
        raw: Any = None
        try:
            self._check_start(self._x0)
            self._objective = getattr(solver, "merit", lambda given: given)(self._objective)
            outcome = solver.minimize(self, self._x0.copy(), maxiter=maxiter, callback=self.accept)
        except StopSolve as stop:
            status, message = stop.status, stop.message
        except KeyboardInterrupt:
            if self._interrupt.count > 1:
                raise
            status, message = Status.INTERRUPTED, Status.INTERRUPTED.value
        else:
            status, message, raw = outcome.status, outcome.message, outcome.raw
            self._prefer_final(outcome)
            if status is not Status.NONFINITE:
                self._report_start()
            elif self._bad is not None:
                message = self._nonfinite(*self._bad)
        if self._stop is not None:  # even where a solver has swallowed it
            status, message = self._stop.status, self._stop.message
        return self._result(status, message, raw, time.perf_counter() - started)

    def _result(self, status: Status, message: str, raw: Any, wall_time_s: float) -> Result:
        assert self.best is not None  # noqa: S101 - set before the solver starts
        known = self._recent.recall(self.best)
        if known is None or known.g is None:
            f, g = self._objective.value_and_grad(self.best)
        else:
            f, g = known.f, known.g
        norm = float(np.linalg.norm(projected_gradient(self.best, g, self.bounds)))
        return Result(
            x=self.best.copy(),
            loss=f,
            status=status,
            message=message,
            num_iterations=self.num_iterations,
            grad_norm=norm,
            fg_evals=self.counts.fg,
            hessp_evals=self.counts.hvp,
            wall_time_s=wall_time_s,
            solver=self._registered.name,
            raw=raw,
            statistics=self._statistics(self.best),
        )

    def _gate(self) -> None:
        """Let work go on only if nobody has asked to stop."""
        if self._stop is not None:
            raise self._stop
        if self._interrupt.count:
            self._request(StopSolve(Status.INTERRUPTED))
        if self._begun == self.num_iterations and self.num_iterations < self._maxiter:
            self._begun += 1
            self._observer.begin(self._begun)

    def _report(self, x: NDArray[np.float64], f: float, norm: float, number: int) -> None:
        counts = self.counts
        iterate = Iterate(
            number=number, x=x, loss=f, grad_norm=norm, fg_evals=counts.fg, hessp_evals=counts.hvp
        )
        self._tell(iterate, served=True)

    def _tell(self, iterate: Iterate, *, served: bool) -> None:
        try:
            if served:
                self._observer.iterate(iterate)
            else:
                self._observer.passed(iterate)
        except StopSolve as stop:
            self._request(stop)

    def _report_start(self) -> None:
        """Give a solve that ends where it starts one row of history all the same."""
        if self.num_iterations or self._stop is not None or self.best is None:
            return
        try:
            self._report(self.best, *self._measure(self.best), 1)
        except StopSolve as stop:
            self._stop = None if stop.status is Status.STOPPED_BY_CALLBACK else stop

    def _request(self, stop: StopSolve) -> None:
        self._stop = stop
        raise stop

    def _measure(self, x: NDArray[np.float64]) -> tuple[float, float]:
        takes_gradients = "grad" in self._registered.spec.needs
        f, g = self.value_and_grad(x) if takes_gradients else (self.value(x), None)
        self._recent.hold(x, f, g)  # a global solver may tell the same best point again
        slope = math.nan if g is None else projected_gradient(x, g, self.bounds)
        return f, float(np.linalg.norm(slope))

    def _prefer(self, x: NDArray[np.float64], f: float) -> None:
        """Keep the best accepted point; under constraints the latest."""
        latest = bool(self.constraints) and math.isfinite(f)
        if latest or math.isnan(self.best_loss) or f <= self.best_loss:
            self.best, self.best_loss = x, f

    def _prefer_final(self, outcome: Result) -> None:
        x = np.array(outcome.x, dtype=np.float64)
        if self.best is not None and not np.array_equal(x, self.best) and np.isfinite(x).all():
            try:
                self._prefer(x, self.value(x))
            except StopSolve as stop:
                self._stop = stop

    def _remember(self, x: NDArray[np.float64], f: float, g: NDArray[np.float64] | None) -> None:
        finite = math.isfinite(f) and (g is None or bool(np.isfinite(g).all()))
        what = f"the loss is {f}" if not math.isfinite(f) else "the gradient is not finite"
        self._check_finite(what, x, finite=finite)
        self._recent.keep(np.array(x), f, None if g is None else g.copy())
        if math.isnan(self.best_loss) and self._x0 is not None and np.array_equal(x, self._x0):
            self.best_loss = f

    def _check_start(self, x0: NDArray[np.float64]) -> None:
        if not np.isfinite(x0).all():
            message = self._nonfinite("a parameter is not finite", x0)
            self._request(StopSolve(Status.NONFINITE, message))

    def _check_finite(self, what: str, x: NDArray[np.float64], *, finite: bool) -> None:
        """Stop where the solver would not recover; remember the cause where it might."""
        self._bad = None if finite else (what, np.array(x))
        recovers = self._registered.spec.tolerates_nonfinite and not self._is_start(x)
        if not finite and not recovers:
            self._request(StopSolve(Status.NONFINITE, self._nonfinite(what, x)))

    def _is_start(self, x: NDArray[np.float64]) -> bool:
        at_start = self._x0 is not None and np.array_equal(x, self._x0, equal_nan=True)
        return self.num_iterations == 0 and at_start

    def _nonfinite(self, what: str, x: NDArray[np.float64]) -> str:
        diagnose = getattr(self._objective, "diagnose", None)
        where = diagnose(x) if diagnose is not None else ""
        when, kept = f"in iteration {self.num_iterations + 1}", "The best point before it is kept."
        if self._is_start(x):
            when, kept = "at the starting point", "The weights stay as they were."
        cause = f": {where}" if where else ""
        return f"{what[0].upper()}{what[1:]} {when}{cause}. {kept}"
