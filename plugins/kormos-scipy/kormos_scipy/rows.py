"""The iterations of a global search: each reported once with the best point, counted, limited.

Symbols: ``x`` parameters (n,); float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from kormos_core import Status
from kormos_scipy.samples import Ended

if TYPE_CHECKING:
    from kormos_core import Callback
    from kormos_scipy.samples import Samples

__all__ = ["Rows"]


@final
class Rows:
    """Iterations of a global search, as the callback is told of them.

    Parameters
    ----------
    samples : Samples
        What knows the best point; the start is evaluated.
    callback : Callback
        Called once for each iteration, with the best point so far.
    limit : int
        Most iterations.

    Attributes
    ----------
    count : int
        Iterations so far.
    limit : int
        Most of them.
    """

    def __init__(self, samples: Samples, callback: Callback, limit: int) -> None:
        self.count = 0
        self.limit = limit
        self._samples = samples
        self._callback = callback
        self._told = samples.best.key
        self._num_samples = 0
        self._due = False

    def report(self) -> None:
        """Report an iteration; those beyond the limit are none."""
        if self.count == self.limit:
            return
        if self._samples.raised is not None:
            raise self._samples.raised
        self.count += 1
        self._due = False
        best = self._samples.best
        self._told = best.key
        try:
            self._callback(best.x.copy())
        except BaseException as error:
            self._samples.raised = error
            raise

    def report_and_limit(self) -> None:
        """Report an iteration, and end the search at the limit.

        Raises
        ------
        Ended
            When it is the last one.
        """
        self.report()
        if self.count == self.limit:
            self._samples.fail(Ended(Status.MAX_ITER))

    def count_samples(self, every: int, *, first: int = 0, ends: bool = True) -> None:
        """Take a number of samples, and the local searches after them, for an iteration.

        Parameters
        ----------
        every : int
            How many samples.
        first : int
            How many there are before the first iteration.
        ends : bool
            Whether the limit ends the search, or SciPy does so itself.
        """
        report = self.report_and_limit if ends else self.report

        def before_sample() -> None:
            done = self._num_samples - first
            if done > 0 and done % every == 0:
                report()
            self._num_samples += 1
            self._due = True

        self._samples.before_sample = before_sample

    def finish(self) -> None:
        """Report what is left: an iteration that is due, or a better point than the last told."""
        if self._due or self._samples.best.key != self._told:
            self.report()
