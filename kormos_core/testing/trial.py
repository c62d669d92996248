"""One solve of a small problem, with all that was seen of it.

Symbols: ``x`` parameters (n,); float64.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core.backends import current_backend
from kormos_core.objective import FunctionObjective, Numerics
from kormos_core.protocols import Bounds
from kormos_core.testing.landscape import Landscape
from kormos_core.testing.recorder import Recorder
from kormos_core.testing.spy import Log, Tapped
from kormos_core.training import Interrupt, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core.protocols import BatchOptimizer, StopSolve
    from kormos_core.registry import Registered
    from kormos_core.result import Result
    from kormos_core.testing.problem import Problem
    from kormos_core.training import Iterate

__all__ = ["Bench", "Demands", "Trial", "is_compiled"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """How a problem is to be solved.

    Attributes
    ----------
    maxiter : int
        Iteration limit.
    steps : int
        Iterations in the graph between two reports that have their point.
    hole : ndarray, shape (2,), float64, or None
        A point at which the function is not finite.
    fault : float
        What is added to it there.
    constraints : tuple
        General constraints.
    stop : tuple of (int, StopSolve), or None
        Number of the request at which the objective asks to stop, and how.
    act : callable or None
        Called with the number of each iterate; what it raises, the callback raises.
    """

    maxiter: int
    steps: int = 1
    hole: NDArray[np.float64] | None = None
    fault: float = float("nan")
    constraints: tuple[Any, ...] = ()
    stop: tuple[int, StopSolve] | None = None
    act: Callable[[int], None] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A solve and what was seen of it.

    Attributes
    ----------
    problem : Problem
        What was solved.
    result : Result or None
        What kormos made of it; None where an error ended it.
    log : Log
        What the solver asked, told and let pass.
    rows : tuple of Iterate
        What kormos told of every iteration.
    served : tuple of Iterate
        Those that were told with their point.
    points : tuple of ndarray, shape (n,), float64
        Where it evaluated; of a graph the first points, and the ends of the box around all.
    num_fg, num_hvp : int
        What was evaluated while the solver was at work, counted here.
    num_own_fg : int
        Evaluations that the solver asked for itself.
    num_graph : int
        How much of it in the graph.
    asked : frozenset of str
        What the objective was asked for, from Python and in the graph.
    num_traces : int
        How often Python has run the problem's function.
    error : BaseException or None
        What ended the solve instead of a result.
    """

    problem: Problem
    result: Result | None
    log: Log
    rows: tuple[Iterate, ...]
    served: tuple[Iterate, ...]
    points: tuple[NDArray[np.float64], ...]
    num_fg: int
    num_hvp: int
    num_own_fg: int
    num_graph: int
    asked: frozenset[str]
    num_traces: int
    error: BaseException | None = None

    @property
    def accepted(self) -> list[NDArray[np.float64]]:
        """What the solver called back with, or reported from the graph, in order."""
        if self.log.chunks:
            return [np.array(row.x) for row in self.served]
        return self.log.accepted

    @property
    def x(self) -> NDArray[np.float64]:
        """Where it ended."""
        return self._ended.x

    @property
    def loss(self) -> float:
        """Loss there, as kormos tells it."""
        return self._ended.loss

    @property
    def left(self) -> float:
        """Part of the way down that is left, computed in NumPy."""
        return self.problem.left(self.x)

    @property
    def summary(self) -> str:
        """The end in a line."""
        if self.result is None:
            return f"{type(self.error).__name__}: {self.error}"
        return (
            f"{self.result.status.name} after {self.result.num_iterations} iterations and "
            f"{self.result.fg_evals} evaluations, loss {self.result.loss:.9g}"
        )

    @property
    def _ended(self) -> Result:
        if self.result is None:
            message = f"the solve of {self.problem.name} ended with an error"
            raise AssertionError(message) from self.error
        return self.result


@final
@dataclass(slots=True)
class _Rows:
    """Who is told of every iterate (`Observer`)."""

    act: Callable[[int], None] | None
    rows: list[Iterate] = field(default_factory=list)
    served: list[Iterate] = field(default_factory=list)

    def begin(self, number: int) -> None:
        """Take note that work on iteration `number` begins."""

    def iterate(self, iterate: Iterate) -> None:
        """Take an accepted `iterate`."""
        self.rows.append(iterate)
        self.served.append(iterate)
        if self.act is not None:
            self.act(iterate.number)

    def passed(self, iterate: Iterate) -> None:
        """Take note of an `iterate` that went by in the graph."""
        self.rows.append(iterate)


@final
class Bench:
    """Where a solver is tried: the traced function, kept from trial to trial.

    Solvers that iterate in Python share one; those in the graph leave compiled loops in it.

    Parameters
    ----------
    registered : Registered
        The solver's entry in the registry.
    precision : {"float64", "float32"}
        What the function is computed in.
    """

    def __init__(self, registered: Registered, precision: str) -> None:
        self._registered = registered
        self._squares = "residuals" in registered.spec.needs
        make = _make if "in-graph" in registered.spec.supports else _shared
        self._landscape, self._objective = make(precision, self._squares)
        self._recorder = Recorder(2)

    def solve(self, solver: BatchOptimizer, problem: Problem, demands: Demands) -> Trial:
        """Solve a problem under watch.

        Parameters
        ----------
        solver : BatchOptimizer
            The solver with its options.
        problem : Problem
            The problem.
        demands : Demands
            How.

        Returns
        -------
        Trial
            What was seen.
        """
        objective, landscape, recorder = self._objective, self._landscape, self._recorder
        landscape.show(problem, demands.hole, demands.fault)
        objective.bounds = _bounds(problem)
        objective.constraints = demands.constraints
        objective.counts.value = objective.counts.value_and_grad = objective.counts.hvp = 0
        calls, x0 = landscape.num_calls, np.array(problem.x0)
        if self._squares:
            objective.prepare_residuals(x0)
        recorder.clear()
        log, rows = Log(), _Rows(demands.act)
        tapped = Tapped(solver, log, recorder, demands.stop)
        result, error = None, None
        with Interrupt() as interrupt:
            run = Run(objective, self._registered, rows, interrupt, demands.steps)
            try:
                result = run.solve(tapped, x0, maxiter=demands.maxiter)
            except Exception as raised:  # noqa: BLE001 - whatever a plugin raises is told
                error = raised
        return Trial(
            problem=problem,
            result=result,
            log=log,
            rows=tuple(rows.rows),
            served=tuple(rows.served),
            points=(*log.points, *recorder.points),
            num_fg=log.counted.fg + recorder.num_fg,
            num_hvp=log.counted.hvp + recorder.num_hvp,
            num_own_fg=log.num_own_fg + recorder.num_fg,
            num_graph=recorder.num_fg + recorder.num_hvp,
            asked=frozenset([*log.asked, *recorder.asked]),
            num_traces=landscape.num_calls - calls,
            error=error,
        )


def _make(precision: str, squares: bool) -> tuple[Landscape, FunctionObjective]:  # noqa: FBT001 - a key of the cache
    landscape = Landscape(precision)
    objective = FunctionObjective(
        landscape.residuals if squares else landscape.loss,
        2,
        numerics=Numerics(precision=precision, eager=not is_compiled()),
        squares=squares,
    )
    return landscape, objective


def is_compiled() -> bool:
    """Tell whether the kit's problems are compiled on this backend.

    What the kit shows a solver, and what it takes note of, are values of variables, so that
    all problems are one function. Where a compiled function keeps the values that they had
    when it was traced, the problems run as they are written.

    Returns
    -------
    bool
        Whether they are.
    """
    backend = current_backend()
    return backend.compiles_loops and not backend.keeps_variables


_shared = functools.cache(_make)


def _bounds(problem: Problem) -> Bounds | None:
    if problem.lower is None or problem.upper is None:
        return None
    return Bounds(np.array(problem.lower), np.array(problem.upper))
