"""Dense BFGS by TensorFlow Probability.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``h`` estimate of the
inverse Hessian (n, n); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_core.errors import UnsupportedError
from kormos_core.loop import minimize_in_graph
from kormos_core.options import FLAG, array, check_options, optional
from kormos_tfp.iteration import advance, arguments, progress, start
from kormos_tfp.search import RULES, TOLERANCE, Iteration

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, Progress, State
    from kormos_tfp.search import Point

__all__ = ["BFGS"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BFGS:
    """Minimize by dense BFGS: `tfp.optimizer.bfgs_minimize` (`kormos_core.loop.LoopMethod`).

    Attributes
    ----------
    tolerance : float
        Ends the solve once the largest component of the gradient is at most this.
    x_tolerance : float
        Ends the solve once the largest component of a step is at most this.
    f_relative_tolerance : float
        Ends the solve once the loss f changes by at most ``f_relative_tolerance * |f|``.
    f_absolute_tolerance : float
        Ends the solve once the loss changes by at most this.
    initial_inverse_hessian_estimate : array_like, shape (n, n), or None
        First estimate of the inverse Hessian, symmetric positive definite; the identity
        where it is None.
    scale_initial_inverse_hessian : bool
        Whether the first step scales that estimate.
    max_line_search_iterations : int
        Most iterations of one line search, about two evaluations each.
    tol : float or None
        Sets `tolerance` where it is left at its default.

    Notes
    -----
    Cost: 2.7 evaluations of loss and gradient and O(n²) operations an iteration. Memory:
    eight n x n matrices while the estimate is updated. The objective is traced once and
    compiled in ten places, so that the first call takes seconds. Deviations from TensorFlow
    Probability: those of `kormos_tfp.lbfgs.LBFGS`.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006,
    algorithm 6.1 and equation 6.20, doi:10.1007/978-0-387-40065-5.
    W. W. Hager, H. Zhang, "Algorithm 851: CG_DESCENT", ACM Trans. Math. Softw. 32(1),
    2006, doi:10.1145/1132973.1132979.
    """

    tolerance: float = TOLERANCE
    x_tolerance: float = 0.0
    f_relative_tolerance: float = 0.0
    f_absolute_tolerance: float = 0.0
    initial_inverse_hessian_estimate: ArrayLike | None = None
    scale_initial_inverse_hessian: bool = True
    max_line_search_iterations: int = 50
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "initial_inverse_hessian_estimate": optional(array(2)),
            "scale_initial_inverse_hessian": FLAG,
            **RULES,
        }
        check_options(self, rules)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return minimize_in_graph(self, objective, x0, maxiter=maxiter, callback=callback)

    def init(self, x0: NDArray[np.float64], bounds: Bounds | None) -> dict[str, Any]:
        """Return the state before the first evaluation at `x0`; `bounds` are not supported."""
        del bounds
        return {**start(x0), "inverse_hessian_estimate": self._first_estimate(x0.size)}

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the `state` of minimizing `graph` after one more iteration."""
        return advance(self, graph, state)

    def progress(self, state: State) -> Progress:
        """Tell how far a `state` is."""
        return progress(state)

    def iterate(self, evaluate: Callable[[Any], Any], at: Point, state: State) -> Iteration:
        """Iterate once by TensorFlow Probability; see `kormos_tfp.search.Search`."""
        # It cannot go on from its own results: every iteration is a solve of its own, which
        # begins with the last one's estimate and is told what is known at its start.
        h = state["inverse_hessian_estimate"]
        gain = tf.tensordot(at.g, tf.linalg.matvec(h, at.g), 1)
        # Where rounding has spoilt the estimate, it is the first one that is gone back to.
        h = tf.cond(gain > 0, lambda: h, lambda: self._traced_estimate(at.x.shape[0]))
        scale = self.scale_initial_inverse_hessian
        results = tfp.optimizer.bfgs_minimize(
            lambda x: (at.f, at.g) if x is at.x else evaluate(x),
            initial_position=at.x,
            initial_inverse_hessian_estimate=h,
            scale_initial_inverse_hessian=tf.equal(at.num_iterations, 0) & scale,
            validate_args=False,  # it would factorize the estimate; the first one has been
            max_iterations=at.num_steps,
            **arguments(self, at),
        )
        return Iteration(
            results=results,
            num_fg=results.num_objective_evaluations - 1,
            gain=gain,
            curvature={"inverse_hessian_estimate": results.inverse_hessian_estimate},
        )

    def _traced_estimate(self, size: int) -> Any:
        """Return the first estimate, shape (n, n), without keeping an identity in the graph."""
        if self.initial_inverse_hessian_estimate is None:
            return tf.eye(size, dtype=tf.float64)
        return tf.constant(self.initial_inverse_hessian_estimate, tf.float64)

    def _first_estimate(self, size: int) -> NDArray[np.float64]:
        """Return the first estimate, shape (n, n); refuse what cannot be one."""
        if self.initial_inverse_hessian_estimate is None:
            return np.eye(size)
        h = np.array(self.initial_inverse_hessian_estimate, dtype=np.float64)
        name = f"option initial_inverse_hessian_estimate of BFGS, of shape {h.shape},"
        if h.shape != (size, size):
            message = f"{name} does not fit {size} parameters. Its shape is ({size}, {size})."
            raise UnsupportedError(message)
        if not _is_positive_definite(h):
            message = (
                f"{name} is not usable. Allowed are symmetric positive definite matrices. "
                "Left out it is the identity."
            )
            raise UnsupportedError(message)
        return h


def _is_positive_definite(matrix: NDArray[np.float64]) -> bool:
    if not np.array_equal(matrix, matrix.T):
        return False
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
