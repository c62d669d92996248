"""The accepted iterates of a solve: each reported once, counted, limited.

Symbols: ``x`` parameters (n,), ``z`` the free ones (m,); all float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from kormos_core import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Callback
    from kormos_scipy.evaluation import Evaluator
    from kormos_scipy.residuals import ResidualEvaluator
    from kormos_scipy.space import Space

__all__ = ["Iterates"]


@final
class Iterates:
    """SciPy's calls back, filtered to accepted iterates.

    SciPy's methods call back after rejected steps, with the start, with the best point so
    far or with a trial point; `accept` passes on what differs from the iterate before.

    Parameters
    ----------
    space : Space
        From free parameters to all.
    evaluator : Evaluator or ResidualEvaluator
        Told of every accepted iterate.
    callback : Callback
        Called with every accepted iterate.
    limit : int
        Most accepted iterates.
    ends_itself : bool
        Whether SciPy's own limit counts the same iterations and ends the solve.
    warmup : int
        Evaluations that make up the first model: what is best among them is no iterate.
    start : ndarray, shape (n,), float64
        Where SciPy starts.

    Attributes
    ----------
    count : int
        Accepted iterates so far.
    last : ndarray, shape (n,), float64
        The last of them; the start before the first.
    stopped : Status or None
        Why `accept` ended the solve, or None.
    foreign : StopIteration or None
        What the callback itself raised, which SciPy would take for its own signal.
    """

    def __init__(
        self,
        space: Space,
        evaluator: Evaluator | ResidualEvaluator,
        callback: Callback,
        *,
        limit: int,
        ends_itself: bool,
        warmup: int,
        start: NDArray[np.float64],
    ) -> None:
        self.count = 0
        self.last: NDArray[np.float64] = space.x0
        self.stopped: Status | None = None
        self.foreign: StopIteration | None = None
        self._space = space
        self._evaluator = evaluator
        self._callback = callback
        self._limit = limit
        self._ends_itself = ends_itself
        self._warmup = warmup
        self._idle = 0
        self._seen = start
        # A method whose tolerances are 0 may reject steps for ever. Simplex and models may
        # well need some n iterations for a better point, a trust region some fifty.
        self._patience = 1000 + 10 * space.num_free

    def begin(self, z: NDArray[np.float64]) -> None:
        """Take where SciPy starts, if it is not where it was told to.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.
        """
        self._seen = self._space.expand(z)

    def accept(self, z: NDArray[np.float64], _state: object = None) -> None:
        """Take what SciPy calls back with.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.
        _state : object
            What trust-constr adds.

        Raises
        ------
        StopIteration
            When the solve is to end here.
        """
        if self._evaluator.num_evals <= self._warmup:
            return
        x = self._space.expand(z)
        if np.array_equal(x, self._seen):
            self._idle += 1
            if self._idle > self._patience:
                self.stop(Status.STAGNATED)
            return
        if self.count == self._limit:
            self.stop(Status.MAX_ITER)
        self._report(x)
        if self.count == self._limit and not self._ends_itself:
            self.stop(Status.MAX_ITER)

    def stop(self, status: Status) -> None:
        """End the solve from within a call back.

        Parameters
        ----------
        status : Status
            Why.

        Raises
        ------
        StopIteration
            Always: SciPy's signal.
        """
        self.stopped = status
        raise StopIteration

    def finish(self, x: NDArray[np.float64]) -> None:
        """Take the point that a solve ends with, which may not have been called back with.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            All parameters.
        """
        if np.array_equal(x, self._space.x0):
            self.last = x  # Powell's search went uphill: back to the start, which is no iterate
        elif self.count < self._limit and not np.array_equal(x, self._seen):
            self._report(x)

    def _report(self, x: NDArray[np.float64]) -> None:
        self.count += 1
        self.last = self._seen = x
        self._idle = 0
        self._evaluator.accept(x)
        try:
            self._callback(x.copy())
        except StopIteration as foreign:
            self.foreign = foreign
            raise
