"""What SciPy's least squares evaluate: residuals once a point, derivatives where it stands.

Symbols: ``x`` parameters (n,), ``z`` the free ones (k,), ``r`` residuals (m,), ``J`` their
Jacobian (m, k), ``v`` direction (k,), ``u`` vector of the residuals' length (m,); all
float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
from scipy.sparse.linalg import LinearOperator

from kormos_core import Status
from kormos_scipy.evaluation import check_finite
from kormos_scipy.points import Breakdown, Point, Search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import LeastSquaresObjective
    from kormos_scipy.robust_losses import RobustLoss
    from kormos_scipy.space import Space

__all__ = ["ResidualEvaluator"]

# In place of residuals that are not finite, of which MINPACK knows nothing: it takes them for
# a bad step and shortens it. Their norm, over as many as there may be, stays finite.
_HUGE = 1e150


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A point whose residuals are known."""

    x: NDArray[np.float64]
    residuals: NDArray[np.float64]
    loss: float
    key: bytes


@final
class ResidualEvaluator:
    """Objective of one solve as SciPy's callables of the free parameters.

    The last evaluated point and the last accepted one are remembered, so that residuals at
    one x cost one evaluation.

    Parameters
    ----------
    objective : LeastSquaresObjective
        What is evaluated.
    space : Space
        From free parameters to all.
    robust : RobustLoss or None
        What takes the place of half the sum of squares, or None.
    dense : bool
        Whether SciPy takes the Jacobian as a matrix; as its products otherwise.
    knows_nonfinite : bool
        Whether SciPy rejects residuals that are not finite; it is given huge ones otherwise.

    Attributes
    ----------
    num_evals : int
        Evaluations of the residuals so far.
    best : Point or None
        Always None: no point is below the last accepted one.
    search : Search
        The trial points since the last accepted one.
    last_search : Search
        Those that led to the last accepted one.
    """

    def __init__(
        self,
        objective: LeastSquaresObjective,
        space: Space,
        *,
        robust: RobustLoss | None,
        dense: bool,
        knows_nonfinite: bool,
    ) -> None:
        self.num_evals = 0
        self.best: Point | None = None
        self.search = Search()
        self.last_search = Search()
        self._objective = objective
        self._space = space
        self._robust = robust
        self._dense = dense
        self._knows_nonfinite = knows_nonfinite
        self._last: _Trial | None = None
        self._accepted: _Trial | None = None
        self._failed: bytes | None = None
        self._grad: tuple[bytes, NDArray[np.float64]] | None = None

    def residuals(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the residuals.

        Parameters
        ----------
        z : ndarray, shape (k,), float64
            The free parameters.

        Returns
        -------
        ndarray, shape (m,), float64
            The residuals, a copy; none is finite where the loss is not.
        """
        trial = self._trial(self._space.expand(z))
        if math.isfinite(trial.loss):
            return trial.residuals.copy()  # SciPy scales them in place
        return np.full_like(trial.residuals, np.inf if self._knows_nonfinite else _HUGE)

    def jacobian(self, z: NDArray[np.float64]) -> NDArray[np.float64] | LinearOperator:
        """Evaluate the Jacobian.

        Parameters
        ----------
        z : ndarray, shape (k,), float64
            The free parameters.

        Returns
        -------
        ndarray or LinearOperator, shape (m, k), float64
            The Jacobian; a matrix is SciPy's to change.

        Raises
        ------
        Breakdown
            When it has NaN or infinite numbers.
        """
        x = self._space.expand(z)
        if not self._dense:
            return self._operator(x)
        jacobian = np.asarray(self._objective.jacobian(x.copy()), dtype=np.float64)
        if self._space.free is not None:
            jacobian = jacobian[:, self._space.free]
        elif self._robust is not None:
            jacobian = jacobian.copy()  # SciPy scales it in place
        if not bool(np.isfinite(jacobian).all()):
            raise Breakdown(Status.NONFINITE, "the Jacobian has NaN or infinite numbers")
        trial = self._trial(x)
        self._grad = (trial.key, jacobian.T @ self._weigh(trial.residuals))
        return jacobian

    def at(self, x: NDArray[np.float64]) -> Point:
        """Evaluate loss and gradient, from residuals and Jacobian where they are known.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The parameters; kept.

        Returns
        -------
        Point
            The point; without a gradient where there is none that is finite.

        Raises
        ------
        Breakdown
            When `x` or its loss is not finite.
        """
        trial = self._trial(x)
        return Point(x, trial.loss, self._gradient(trial), trial.key)

    def accept(self, x: NDArray[np.float64]) -> None:
        """Take a point for the last accepted one.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The parameters.
        """
        before, self._accepted = self._accepted, self._trial(x)
        if before is not None:
            self.last_search = replace(self.search, gain=before.loss - self._accepted.loss)
        self.search = Search()

    def _trial(self, x: NDArray[np.float64]) -> _Trial:
        key = x.tobytes()
        for trial in (self._last, self._accepted):
            if trial is not None and trial.key == key:
                return trial
        if key == self._failed:
            raise Breakdown(Status.NONFINITE, "the loss is not finite")
        check_finite(x, "trial point")
        self._last = trial = self._evaluate(x, key)
        if self._accepted is None:
            self._accepted = trial
        else:
            self.search = self.search.widened(abs(trial.loss - self._accepted.loss))
        return trial

    def _evaluate(self, x: NDArray[np.float64], key: bytes) -> _Trial:
        self.num_evals += 1
        r = np.array(self._objective.residuals(x.copy()), dtype=np.float64)
        with np.errstate(over="ignore"):  # a loss of inf is rejected, as NaN is
            loss = float(0.5 * (r @ r)) if self._robust is None else self._robust.cost(r)
        if not math.isfinite(loss):
            if self.num_evals == 1:
                self._failed = key
                raise Breakdown(Status.NONFINITE, f"the loss is {loss}")
            loss = math.inf
        return _Trial(x, r, loss, key)

    def _gradient(self, trial: _Trial) -> NDArray[np.float64] | None:
        """Return the gradient of all parameters, 0 for those that are fixed."""
        if not (self._space.num_free and math.isfinite(trial.loss)):
            return None
        if self._grad is not None and self._grad[0] == trial.key:
            return self._space.embed(self._grad[1])
        weighed = self._weigh(trial.residuals)
        grad = np.array(self._objective.vjp(trial.x, weighed), dtype=np.float64)
        return grad if bool(np.isfinite(grad).all()) else None

    def _weigh(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        return r if self._robust is None else self._robust.weigh(r)

    def _operator(self, x: NDArray[np.float64]) -> LinearOperator:
        objective, space = self._objective, self._space

        def product(v: NDArray[Any]) -> NDArray[np.float64]:
            if not v.any():  # SciPy asks for it to learn the dtype
                return np.zeros(objective.num_residuals)
            check_finite(v, "direction")
            direction = space.embed(np.asarray(v, dtype=np.float64).ravel())
            return _finite(np.asarray(objective.jvp(x, direction), dtype=np.float64))

        def transposed(u: NDArray[Any]) -> NDArray[np.float64]:
            if not u.any():
                return np.zeros(space.num_free)
            check_finite(u, "vector of residuals")
            pulled = objective.vjp(x, np.asarray(u, dtype=np.float64).ravel())
            return _finite(space.reduce(np.asarray(pulled, dtype=np.float64)))

        shape = (objective.num_residuals, space.num_free)
        return LinearOperator(shape, matvec=product, rmatvec=transposed, dtype=np.float64)


def _finite(product: NDArray[np.float64]) -> NDArray[np.float64]:
    if not bool(np.isfinite(product).all()):
        raise Breakdown(Status.NONFINITE, "a product with the Jacobian is not finite")
    return product
