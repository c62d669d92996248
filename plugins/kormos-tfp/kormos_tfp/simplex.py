"""Nelder and Mead's simplex by TensorFlow Probability.

Symbols: ``x`` parameters (n,), ``f`` loss; all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_core.errors import UnsupportedError
from kormos_core.loop import RUNNING, Progress, code_of, minimize_in_graph
from kormos_core.options import (
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
    Rule,
    array,
    check_options,
    optional,
    ordered,
)
from kormos_core.result import Status
from kormos_tfp.tracing import traced_once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, State

__all__ = ["NelderMead"]

_TOLERANCE: Final = 1e-8
_FRACTION: Final = Rule("a number above 0 and below 1", lambda v: NUMBER.accepts(v) and 0 < v < 1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NelderMead:
    """Minimize by the downhill simplex: `tfp.optimizer.nelder_mead_one_step` (`LoopMethod`).

    Attributes
    ----------
    step_sizes : array_like, shape (n,) or (1,), or None
        Edges of the first simplex, whose vertices are ``x0`` and ``x0`` plus one edge along
        each axis. None means 5 % of the parameter, or 0.00025 where that is zero.
    func_tolerance : float
        Ends the solve once the losses at the vertices differ by less than this.
    position_tolerance : float
        Ends the solve once all vertices are closer than this to the best one, in every
        component.
    reflection : float or None
        How far the worst vertex is reflected; None means 1.
    expansion : float or None
        How far a good reflection is carried on, above 1; None means ``1 + 2 / n``.
    contraction : float or None
        How far a bad reflection is drawn back; None means ``3 / 4 - 1 / (2 n)``.
    shrinkage : float or None
        What remains of the edges where nothing else helps; None means ``1 - 1 / n``.
    tol : float or None
        Sets `func_tolerance` and `position_tolerance` where they are left at their defaults.

    Notes
    -----
    Cost: n + 1 evaluations of the loss to start, one or two an iteration, n + 1 more where
    the simplex shrinks; one to find that the solve is over. Memory: five n x n matrices. An
    iteration changes the simplex; the accepted iterate is its best vertex, which may stay
    the same. A vertex whose loss is not finite counts as worse than any other. Deviations
    from TensorFlow Probability: a simplex that is within its tolerances from the start, or
    that no longer changes, is not told as convergence; the evaluation before each shrinking
    is counted. It needs two parameters.

    References
    ----------
    J. A. Nelder, R. Mead, "A Simplex Method for Function Minimization", Comput. J. 7(4),
    1965, doi:10.1093/comjnl/7.4.308.
    F. Gao, L. Han, "Implementing the Nelder-Mead simplex algorithm with adaptive
    parameters", Comput. Optim. Appl. 51, 2012, equation 4.1, doi:10.1007/s10589-010-9329-3.
    """

    step_sizes: ArrayLike | None = None
    func_tolerance: float = _TOLERANCE
    position_tolerance: float = _TOLERANCE
    reflection: float | None = None
    expansion: float | None = None
    contraction: float | None = None
    shrinkage: float | None = None
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "step_sizes": optional(array(1)),
            "func_tolerance": NONNEGATIVE,
            "position_tolerance": NONNEGATIVE,
            "reflection": optional(POSITIVE),
            "expansion": optional(POSITIVE),
            "contraction": optional(_FRACTION),
            "shrinkage": optional(_FRACTION),
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)
        reflection = 1.0 if self.reflection is None else self.reflection
        ordered(
            self,
            f"reflection={self.reflection!r}, expansion={self.expansion!r}",
            holds=self.expansion is None or self.expansion > max(1.0, reflection),
            cure="Keep expansion above 1 and above reflection.",
        )

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
        if x0.size < 2:
            message = (
                f"tfp:nelder-mead does not take {x0.size} parameter. Allowed are two or more. "
                "Use another solver."
            )
            raise UnsupportedError(message)
        simplex = np.vstack([x0, x0 + np.diag(self._edges(x0))])
        return {
            "simplex": simplex,
            "values": np.full(x0.size + 1, np.nan),
            "x": x0,
            "f": np.float64(np.nan),
            "iteration": np.int32(0),
            "num_fg": np.int32(0),
            "status": np.int32(RUNNING),
        }

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the `state` of minimizing `graph` after one more iteration."""
        evaluate = traced_once(_value, graph)
        new: State = tf.cond(
            tf.equal(state["num_fg"], 0),
            lambda: self._start(evaluate, state),
            lambda: self._step(evaluate, state),
        )
        return new

    def progress(self, state: State) -> Progress:
        """Tell how far a `state` is."""
        none = tf.constant(0)
        g = tf.fill(state["x"].shape, tf.constant(np.nan, tf.float64))
        x, f = state["x"], state["f"]
        return Progress(state["iteration"], x, f, g, state["num_fg"], none, state["status"])

    def _start(self, evaluate: Any, state: State) -> State:
        values = tf.map_fn(evaluate, state["simplex"])
        return {
            **state,
            "values": _comparable(values),
            "f": values[0],
            "num_fg": tf.size(values),
            "status": tf.where(tf.math.is_finite(values[0]), RUNNING, code_of(Status.NONFINITE)),
        }

    def _step(self, evaluate: Any, state: State) -> State:
        old, n = state["simplex"], state["x"].shape[0]
        tight = _TOLERANCE if self.tol is None else self.tol
        f_tol, x_tol = (
            tight if tolerance == _TOLERANCE else tolerance
            for tolerance in (self.func_tolerance, self.position_tolerance)
        )
        done, simplex, values, num_fg = tfp.optimizer.nelder_mead_one_step(
            old,
            state["values"],
            objective_function=lambda x: _comparable(evaluate(x)),
            dim=n,
            func_tolerance=f_tol,
            position_tolerance=x_tol,
            reflection=_given(self.reflection, 1.0),
            expansion=_given(self.expansion, 1.0 + 2.0 / n),
            contraction=_given(self.contraction, 0.75 - 0.5 / n),
            shrinkage=_given(self.shrinkage, 1.0 - 1.0 / n),
        )
        # Where the simplex shrinks, the contraction that failed before is left out.
        num_fg += tf.cast(num_fg > 2, tf.int32)
        best = tf.argmin(values)
        moved = tf.logical_not(done) & tf.reduce_any(simplex != old)
        spread = tf.reduce_max(values) - values[best]
        why = tf.where(spread < f_tol, code_of(Status.F_TOL), code_of(Status.X_TOL))
        why = tf.where(
            tf.logical_and(done, state["iteration"] > 0), why, code_of(Status.STAGNATED)
        )
        return {
            "simplex": simplex,
            "values": values,
            "x": simplex[best],
            "f": values[best],
            "iteration": state["iteration"] + tf.cast(moved, tf.int32),
            "num_fg": state["num_fg"] + num_fg,
            "status": tf.where(moved, RUNNING, why),
        }

    def _edges(self, x0: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the edges of the first simplex, shape (n,)."""
        if self.step_sizes is None:
            return np.where(np.abs(x0) < 1e-10, 0.00025, 0.05 * x0)
        edges = np.array(self.step_sizes, dtype=np.float64)
        if edges.size not in {1, x0.size} or not edges.all():
            message = (
                f"option step_sizes={self.step_sizes!r} of NelderMead does not fit {x0.size} "
                f"parameters. Allowed are 1 or {x0.size} numbers other than zero."
            )
            raise UnsupportedError(message)
        return np.broadcast_to(edges, x0.shape)


def _value(graph: GraphObjective, x: Any) -> Any:
    return graph.value(x)


def _comparable(f: Any) -> Any:
    """Return losses of which one that is not finite counts as the worst of all."""
    return tf.where(tf.math.is_finite(f), f, tf.constant(np.inf, f.dtype))


def _given(option: float | None, otherwise: float) -> float:
    return otherwise if option is None else option
