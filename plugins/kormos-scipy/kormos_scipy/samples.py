"""What global optimizers evaluate: losses in a box, with gradients in local searches.

Symbols: ``x`` parameters (n,), ``z`` those that bounds do not fix (m,), ``f`` loss,
``g`` gradient (n,); all float64.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, final

import numpy as np

from kormos_core import Status
from kormos_scipy.points import Breakdown, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from kormos_core import Objective
    from kormos_scipy.space import Space

__all__ = ["Ended", "Samples"]


@final
class Ended(Exception):  # noqa: N818 - it ends a search, it is no misuse
    """The end of a search that SciPy knows no way to end.

    Parameters
    ----------
    status : Status
        Why it ends.
    """

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(status.value)


@final
class Samples:
    """Objective of one global search as SciPy's callables of the free parameters.

    A loss that is not finite is ``inf`` to SciPy, which rejects it. The best point of all that
    were evaluated is kept, whatever SciPy does with it.

    Parameters
    ----------
    objective : Objective
        What is evaluated.
    space : Space
        From free parameters to all.

    Attributes
    ----------
    best : Point
        Point of the least loss, the start among them; set by `begin`.
    raised : BaseException or None
        What objective or callback has raised. SciPy takes errors of some kinds for its own, or
        swallows them: it is raised again in place of every further evaluation.
    before_sample : callable or None
        Called before every evaluation outside of local searches.
    max_evals : int or None
        Most evaluations; a further one ends the search.
    """

    best: Point

    def __init__(self, objective: Objective, space: Space) -> None:
        self.raised: BaseException | None = None
        self.before_sample: Callable[[], None] | None = None
        self.max_evals: int | None = None
        self._objective = objective
        self._space = space
        self._num_evals = 0
        self._searching = False
        self._with_grad = False  # whether the next point's gradient is likely to be asked for
        self._last: Point | None = None
        self._start: Point | None = None

    def begin(self, *, with_grad: bool) -> None:
        """Evaluate the start, the first accepted point.

        Parameters
        ----------
        with_grad : bool
            Whether a local search from there comes first.

        Raises
        ------
        Breakdown
            When the loss, or the gradient, is not finite there.
        """
        point = self._evaluate(self._space.x0, with_grad=with_grad)
        self.best = self._start = point
        if not math.isfinite(point.loss):
            raise Breakdown(Status.NONFINITE, "the loss or its gradient is not finite")

    @contextlib.contextmanager
    def searching(self, *, with_grad: bool) -> Iterator[None]:
        """Mark a local search, whose evaluations are no samples.

        Parameters
        ----------
        with_grad : bool
            Whether it takes gradients.

        Yields
        ------
        None
            Nothing; leaving ends the search.
        """
        self._searching, self._with_grad = True, with_grad
        try:
            yield
        finally:
            self._searching = self._with_grad = False

    def value(self, z: NDArray[np.float64]) -> float:
        """Evaluate the loss.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        float
            The loss; ``inf`` where it is not finite.
        """
        if not self._searching and self.before_sample is not None:
            self.before_sample()
        x = self._space.expand(z)
        point = self._known(x.tobytes())
        with_grad = self._with_grad
        if not self._searching:
            self._with_grad = False  # gradients came first: shgo does not tell its searches
        if point is None:
            point = self._evaluate(x, with_grad=with_grad)
        return point.loss

    def gradient(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the gradient.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        ndarray, shape (m,), float64
            The gradient; zeros where it or the loss is not finite, a point that is rejected.
        """
        self._with_grad = True
        x = self._space.expand(z)
        point = self._known(x.tobytes())
        if point is None or (point.grad is None and math.isfinite(point.loss)):
            point = self._evaluate(x, with_grad=True)
        if point.grad is None or not math.isfinite(point.loss):
            return np.zeros(self._space.num_free)
        return self._space.reduce(point.grad)

    def _known(self, key: bytes) -> Point | None:
        for point in (self._last, self.best, self._start):
            if point is not None and point.key == key:
                return point
        return None

    def _evaluate(self, x: NDArray[np.float64], *, with_grad: bool) -> Point:
        if self.raised is not None:
            raise self.raised
        key = x.tobytes()
        if not bool(np.isfinite(x).all()):  # a local search at the end of the precision
            return Point(x, math.inf, None, key)
        if self._num_evals == self.max_evals:
            self.fail(Ended(Status.MAX_EVALS))
        self._num_evals += 1
        grad = None
        try:
            if with_grad:
                value, gradient = self._objective.value_and_grad(x.copy())
                loss, grad = float(value), np.array(gradient, dtype=np.float64)
            else:
                loss = float(self._objective.value(x.copy()))
        except BaseException as error:
            self.raised = error
            raise
        if not math.isfinite(loss) or not (grad is None or bool(np.isfinite(grad).all())):
            loss = math.inf
        self._last = point = Point(x, loss, grad, key)
        if self._num_evals > 1 and (loss < self.best.loss or key == self.best.key):
            self.best = point
        return point

    def fail(self, error: BaseException) -> None:
        """End the search.

        Parameters
        ----------
        error : BaseException
            What to raise, now and in place of every further evaluation.

        Raises
        ------
        BaseException
            What is given.
        """
        self.raised = error
        raise error
