"""A problem of many parameters, to see what memory a solver takes.

Symbols: ``x`` parameters (n,); n their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.objective import FunctionObjective
from kormos_core.protocols import Bounds
from kormos_core.testing.recorder import Recorder
from kormos_core.testing.spy import Log, Tapped
from kormos_core.training import Interrupt, Run

if TYPE_CHECKING:
    from kormos_core.loop import Chunk
    from kormos_core.testing.case import Case
    from kormos_core.training import Iterate

__all__ = ["Wide"]


@final
class _Nobody:
    """Whoever is told of every iterate, and keeps nothing of it (`Observer`)."""

    def begin(self, number: int) -> None:
        """Take note that work on iteration `number` begins."""

    def iterate(self, iterate: Iterate) -> None:
        """Take an accepted `iterate`."""

    def passed(self, iterate: Iterate) -> None:
        """Take note of an `iterate` that went by in the graph."""


@final
class Wide:
    """A convex loss of many parameters, for some iterations of a solver.

    Parameters
    ----------
    case : Case
        The solver.
    size : int
        Number of parameters n.
    maxiter : int
        Iterations to make.
    """

    def __init__(self, case: Case, size: int, maxiter: int) -> None:
        ops = keras.ops
        center, scale = np.linspace(-1.0, 1.0, size), np.geomspace(1.0, 10.0, size)

        def residuals(x: Any) -> Any:
            away = x - ops.convert_to_tensor(center)
            return ops.convert_to_tensor(scale) * (away + 0.1 * ops.power(away, 3))

        def loss(x: Any) -> Any:
            return 0.5 * ops.sum(ops.square(residuals(x)))

        squares = case.takes_residuals
        function = residuals if squares else loss
        self._case, self._maxiter = case, maxiter
        self._start = np.full(size, 2.0)
        box = Bounds(np.full(size, -3.0), np.full(size, 2.5))
        self._objective = FunctionObjective(
            function, size, squares=squares, bounds=box if case.spec.requires_bounds else None
        )
        self._recorder = Recorder(size)
        if squares:
            self._objective.prepare_residuals(self._start)

    def solve(self) -> list[Chunk]:
        """Make some iterations.

        Returns
        -------
        list of Chunk
            What a solver in the graph has reported.
        """
        log, solver = Log(), self._case.create()
        if self._case.in_graph:  # from Python the points that the log keeps would be counted
            solver = Tapped(solver, log, self._recorder)
        with Interrupt() as interrupt:
            run = Run(self._objective, self._case.registered, _Nobody(), interrupt, 1)
            run.solve(solver, self._start, maxiter=self._maxiter)
        return log.chunks
