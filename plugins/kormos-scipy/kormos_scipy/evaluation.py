"""What SciPy evaluates: one sweep a point, never outside the box, never on silently with NaN.

Symbols: ``x`` parameters (n,), ``z`` the free ones (m,), ``f`` loss, ``g`` gradient (n,),
``v`` direction; all float64.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, final

import numpy as np

from kormos_core import Status
from kormos_scipy.points import Breakdown, Point, Search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Objective
    from kormos_scipy.space import Space

__all__ = ["Evaluator", "check_finite"]


@final
class Evaluator:
    """Objective of one solve as SciPy's callables of the free parameters.

    The last evaluated point and the last accepted one are remembered, so that a value and a
    gradient at one x cost one evaluation in whatever order SciPy asks for them. Without
    gradients the best one is as well: Powell's line searches start there.

    Parameters
    ----------
    objective : Objective
        What is evaluated.
    space : Space
        From free parameters to all.
    with_grad : bool
        Whether the method takes gradients.
    tolerant : bool
        Whether the method recovers from a loss of ``inf``; NaN becomes ``inf`` then.
    extends : bool
        Whether the method's way leads outside the box: the loss is carried on there by its
        second-order Taylor polynomial at the projection. It is constant there otherwise.

    Attributes
    ----------
    num_evals : int
        Evaluations so far.
    best : Point or None
        Point of the least loss, for a method without gradients.
    search : Search
        The trial points since the last accepted one.
    last_search : Search
        Those that led to the last accepted one.
    """

    def __init__(
        self,
        objective: Objective,
        space: Space,
        *,
        with_grad: bool,
        tolerant: bool,
        extends: bool,
    ) -> None:
        self.num_evals = 0
        self.best: Point | None = None
        self.search = Search()
        self.last_search = Search()
        self._objective = objective
        self._space = space
        self._with_grad = with_grad
        self._tolerant = tolerant
        self._extends = extends
        self._last: Point | None = None
        self._accepted: Point | None = None
        self._failed: bytes | None = None
        self._outside: tuple[bytes, NDArray[np.float64]] | None = None

    def value(self, z: NDArray[np.float64]) -> float:
        """Evaluate the loss.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        float
            The loss.
        """
        point = self.at(self._space.expand(z))
        beyond = self._beyond(z, point)
        if point.grad is None or beyond is None:
            return point.loss
        d, hd = beyond
        return point.loss + float(self._space.reduce(point.grad) @ d + 0.5 * (d @ hd))

    def gradient(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the gradient.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        ndarray, shape (m,), float64
            The gradient; a copy.
        """
        point = self.at(self._space.expand(z))
        if point.grad is None or not math.isfinite(point.loss):
            return np.zeros(self._space.num_free)  # of a point that is rejected: never used
        grad = self._space.reduce(point.grad)  # a copy: SciPy's compiled code may write to it
        beyond = self._beyond(z, point)
        return grad if beyond is None else grad + beyond[1]

    def product(self, z: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate a Hessian product.

        Parameters
        ----------
        z, v : ndarray, shape (m,), float64
            The free parameters and a direction.

        Returns
        -------
        ndarray, shape (m,), float64
            The Hessian times the direction.

        Raises
        ------
        Breakdown
            When the direction or the product is not finite.
        """
        if not v.any():
            return np.zeros_like(v)  # trust-constr asks for it in every iteration
        check_finite(v, "direction")
        product = self._objective.hvp(self._space.expand(z), self._space.embed(v))
        return self._checked(self._space.reduce(np.asarray(product, dtype=np.float64)))

    def hessian(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the Hessian.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        ndarray, shape (m, m), float64
            The Hessian.

        Raises
        ------
        Breakdown
            When the Hessian is not finite at a point whose loss is.
        """
        x = self._space.expand(z)
        if not math.isfinite(self.at(x).loss):
            return np.eye(z.size)  # of a point that is rejected: never used
        hessian = np.asarray(self._objective.hessian(x), dtype=np.float64)
        return self._checked(self._space.reduce_matrix(hessian))

    def at(self, x: NDArray[np.float64]) -> Point:
        """Evaluate at `x`, unless it is one of the remembered points.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The parameters; kept.

        Returns
        -------
        Point
            The point.

        Raises
        ------
        Breakdown
            When `x` is not finite; when the loss or the gradient is not, at the first point
            or for a method that does not recover from it.
        """
        key = x.tobytes()
        known = self._known(key)
        if known is not None:
            return known
        if key == self._failed:
            raise Breakdown(Status.NONFINITE, "the loss or its gradient is not finite")
        check_finite(x, "trial point")
        self._last = point = self._evaluate(x, key)
        if self._accepted is None and self.num_evals == 1:
            self._accepted = point
        elif self._accepted is not None:
            self.search = self.search.widened(abs(point.loss - self._accepted.loss))
        if not self._with_grad and (self.best is None or point.loss < self.best.loss):
            self.best = point
        return point

    def accept(self, x: NDArray[np.float64]) -> None:
        """Take a point for the last accepted one.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The parameters.
        """
        before = self._accepted
        self._accepted = self._known(x.tobytes())  # None: evaluated earlier and forgotten
        if before is not None and self._accepted is not None:
            self.last_search = replace(self.search, gain=before.loss - self._accepted.loss)
        self.search = Search()

    def _known(self, key: bytes) -> Point | None:
        for point in (self._last, self._accepted, self.best):
            if point is not None and point.key == key:
                return point
        return None

    def _beyond(
        self, z: NDArray[np.float64], point: Point
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return the way ``d`` from the box to `z`, and ``H d``; None inside."""
        if not self._extends or not math.isfinite(point.loss):
            return None
        d = z - self._space.reduce(point.x)
        if not d.any():
            return None
        key = z.tobytes()
        if self._outside is None or self._outside[0] != key:
            self._outside = (key, self.product(z, d))
        return d, self._outside[1]

    def _evaluate(self, x: NDArray[np.float64], key: bytes) -> Point:
        self.num_evals += 1
        grad = None
        if self._with_grad:
            value, gradient = self._objective.value_and_grad(x.copy())
            loss, grad = float(value), np.array(gradient, dtype=np.float64)
        else:
            loss = float(self._objective.value(x.copy()))
        if math.isfinite(loss) and (grad is None or bool(np.isfinite(grad).all())):
            return Point(x, loss, grad, key)
        if not self._tolerant or self.num_evals == 1:
            self._failed = key
            what = "the gradient has NaN or infinite numbers" if math.isfinite(loss) else ""
            raise Breakdown(Status.NONFINITE, what or f"the loss is {loss}")
        return Point(x, math.inf, grad, key)

    def _checked(self, derivative: NDArray[np.float64]) -> NDArray[np.float64]:
        if not bool(np.isfinite(derivative).all()):
            raise Breakdown(Status.NONFINITE, "the Hessian has NaN or infinite numbers")
        return derivative


def check_finite(vector: NDArray[np.float64], what: str) -> None:
    """Stop a solver that goes on with NaN, as 0/0 at the end of the precision makes it.

    Parameters
    ----------
    vector : ndarray, float64
        What SciPy asks to evaluate.
    what : str
        What it is.

    Raises
    ------
    Breakdown
        When it has NaN or infinite numbers.
    """
    if not bool(np.isfinite(vector).all()):
        nan = bool(np.isnan(vector).any())
        status = Status.STAGNATED if nan else Status.NONFINITE
        raise Breakdown(status, f"SciPy's {what} has {'NaN' if nan else 'infinite numbers'}")
