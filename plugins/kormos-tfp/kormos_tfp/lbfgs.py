"""L-BFGS by TensorFlow Probability.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from kormos_core.loop import minimize_in_graph
from kormos_core.options import check_options, whole
from kormos_tfp.iteration import advance, arguments, progress, start
from kormos_tfp.search import RULES, TOLERANCE, Iteration

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, Progress, State
    from kormos_tfp.search import Point

__all__ = ["LBFGS"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGS:
    """Minimize by limited-memory BFGS: `tfp.optimizer.lbfgs_minimize` (`LoopMethod`).

    Attributes
    ----------
    num_correction_pairs : int
        Number of past steps that describe the curvature.
    tolerance : float
        Ends the solve once the largest component of the gradient is at most this.
    x_tolerance : float
        Ends the solve once the largest component of a step is at most this.
    f_relative_tolerance : float
        Ends the solve once the loss f changes by at most ``f_relative_tolerance * |f|``.
    f_absolute_tolerance : float
        Ends the solve once the loss changes by at most this.
    max_line_search_iterations : int
        Most iterations of one line search, about two evaluations each.
    tol : float or None
        Sets `tolerance` where it is left at its default.

    Notes
    -----
    Cost: 2.7 evaluations of loss and gradient an iteration. Memory:
    ``2 num_correction_pairs + 10`` vectors. The objective is traced once and compiled in ten
    places, so that the first call takes seconds. Deviations from TensorFlow Probability:
    `f_relative_tolerance` is a share of the size of the loss, and so holds below zero too; a
    step of length zero, or one that leaves the loss as it was, is not told as convergence;
    the line search steps back from a NaN, which would end it.

    References
    ----------
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale
    optimization", Math. Program. 45, 1989, doi:10.1007/BF01589116.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006,
    algorithms 7.4 and 7.5, doi:10.1007/978-0-387-40065-5.
    W. W. Hager, H. Zhang, "Algorithm 851: CG_DESCENT", ACM Trans. Math. Softw. 32(1),
    2006, doi:10.1145/1132973.1132979.
    """

    num_correction_pairs: int = 10
    tolerance: float = TOLERANCE
    x_tolerance: float = 0.0
    f_relative_tolerance: float = 0.0
    f_absolute_tolerance: float = 0.0
    max_line_search_iterations: int = 50
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"num_correction_pairs": whole(1), **RULES})

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
        pairs = np.zeros((self.num_correction_pairs, x0.size))
        return {**start(x0), "position_deltas": pairs, "gradient_deltas": pairs}

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the `state` of minimizing `graph` after one more iteration."""
        return advance(self, graph, state)

    def progress(self, state: State) -> Progress:
        """Tell how far a `state` is."""
        return progress(state)

    def iterate(self, evaluate: Callable[[Any], Any], at: Point, state: State) -> Iteration:
        """Iterate once by TensorFlow Probability; see `kormos_tfp.search.Search`."""
        steps, changes = state["position_deltas"], state["gradient_deltas"]
        before = _results_type()(
            converged=tf.zeros((), tf.bool),
            failed=tf.zeros((), tf.bool),
            num_iterations=at.num_iterations,
            num_objective_evaluations=tf.constant(0),
            position=at.x,
            objective_value=at.f,
            objective_gradient=at.g,
            position_deltas=steps,
            gradient_deltas=changes,
        )
        results = tfp.optimizer.lbfgs_minimize(
            evaluate,
            initial_position=None,
            previous_optimizer_results=before,
            num_correction_pairs=self.num_correction_pairs,
            max_iterations=at.num_iterations + at.num_steps,
            **arguments(self, at),
        )
        return Iteration(
            results=results,
            num_fg=results.num_objective_evaluations,
            gain=_scale(steps[-1], changes[-1]) * tf.tensordot(at.g, at.g, 1),
            curvature={
                "position_deltas": results.position_deltas,
                "gradient_deltas": results.gradient_deltas,
            },
        )


def _scale(step: Any, change: Any) -> Any:
    """Return the scale of the first estimate of the inverse Hessian: 1 before any step."""
    square = tf.tensordot(change, change, 1)
    scale = tf.math.divide_no_nan(tf.tensordot(step, change, 1), square)
    return tf.where(square > 0, scale, tf.ones_like(scale))


@functools.cache
def _results_type() -> Callable[..., Any]:
    """Return TensorFlow Probability's type of results, which has no public name."""
    with tf.init_scope():
        results = tfp.optimizer.lbfgs_minimize(lambda x: (x[0], x), tf.zeros(1), max_iterations=0)
    return type(results)
