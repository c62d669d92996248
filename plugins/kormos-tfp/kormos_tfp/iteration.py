"""What the two quasi-Newton methods share: one iteration, and what is to be said of it.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from kormos_core.loop import RUNNING, Progress, code_of
from kormos_core.result import Status
from kormos_tfp.search import TOLERANCE, Point
from kormos_tfp.tracing import traced_once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.loop import GraphObjective, State
    from kormos_tfp.search import Iteration, Search

__all__ = ["advance", "arguments", "progress", "start"]

_NOISE: Final = 8.0  # rounding errors of the loss, in units of epsilon |f|


def start(x0: NDArray[np.float64]) -> dict[str, Any]:
    """Return the part of the state that both methods have.

    Parameters
    ----------
    x0 : ndarray, shape (n,), float64
        Starting point.

    Returns
    -------
    dict of str to ndarray
        Point, loss and gradient, counts and status.
    """
    return {
        "x": x0,
        "f": np.float64(np.nan),
        "g": np.full_like(x0, np.nan),
        "iteration": np.int32(0),
        "num_fg": np.int32(0),
        "status": np.int32(RUNNING),
    }


def progress(state: State) -> Progress:
    """Tell how far a `state` is; traced."""
    x, f, g = state["x"], state["f"], state["g"]
    none = tf.constant(0)
    return Progress(state["iteration"], x, f, g, state["num_fg"], none, state["status"])


def arguments(method: Search, at: Point) -> dict[str, Any]:
    """Return what both minimizers are told; traced.

    TensorFlow Probability takes `f_relative_tolerance` times the loss itself, which no
    change is below where the loss is negative; so it is given the absolute change.

    Parameters
    ----------
    method : Search
        The method.
    at : Point
        Where the iteration begins.

    Returns
    -------
    dict of str to object
        Arguments by name.
    """
    return {
        "tolerance": _tolerance(method),
        "x_tolerance": method.x_tolerance,
        "f_absolute_tolerance": _change(method, at.f),
        "max_line_search_iterations": method.max_line_search_iterations,
    }


def advance(method: Search, graph: GraphObjective, state: State) -> State:
    """Make one iteration and see how it went; traced.

    Parameters
    ----------
    method : Search
        The method.
    graph : GraphObjective
        The objective.
    state : dict of str to tensor
        Where the method is.

    Returns
    -------
    dict of str to tensor
        Where it is then.
    """
    evaluate = traced_once(_evaluate, graph)
    x, fresh = state["x"], tf.equal(state["num_fg"], 0)
    f, g = tf.cond(fresh, lambda: evaluate(x)[:2], lambda: (state["f"], state["g"]))
    over = ~_finite(f, g) | (_size(g) <= _tolerance(method))
    at = Point(x, f, g, state["iteration"], tf.cast(~over, tf.int32))

    def told(z: Any) -> tuple[Any, Any]:
        _, gradient, loss = evaluate(z)
        return loss, gradient

    made = method.iterate(told, at, state)
    return {
        **_judge(method, at, made, _NOISE * graph.epsilon * tf.abs(f)),
        "num_fg": state["num_fg"] + tf.cast(fresh, tf.int32) + made.num_fg,
        **made.curvature,
    }


def _evaluate(graph: GraphObjective, x: Any) -> tuple[Any, Any, Any]:
    """Return loss, gradient, and the loss that the line search is told.

    It steps back from infinite losses, and would end at one that is not a number.
    """
    f, g = graph.value_and_grad(x)
    wrong = tf.math.is_nan(f) | (tf.math.is_finite(f) & ~_finite(f, g))
    return f, g, tf.where(wrong, tf.constant(np.inf, f.dtype), f)


def _judge(method: Search, at: Point, made: Iteration, noise: Any) -> State:
    """Say whether the iteration is accepted, and whether it is the last one."""
    results = made.results
    new_x, new_f, new_g = results.position, results.objective_value, results.objective_gradient
    finite, step = _finite(new_f, new_g), _size(new_x - at.x)
    # After a failed search the position is one end of its interval, which may be better.
    accepted = finite & (step > 0) & (~results.failed | (new_f < at.f))
    pairs = ((new_x, at.x), (new_f, at.f), (new_g, at.g))
    x, f, g = (tf.where(accepted, new, old) for new, old in pairs)
    change = _change(method, at.f)
    status = _first(
        (~finite, Status.NONFINITE),
        (_size(g) <= _tolerance(method), Status.GRAD_TOL),
        (results.failed & (made.gain > noise), Status.LINESEARCH_FAILED),
        (results.failed, Status.STAGNATED),
        (~results.converged, None),
        (~accepted, Status.STAGNATED),
        (step <= method.x_tolerance, Status.X_TOL),
        ((change > 0) & (tf.abs(new_f - at.f) <= change), Status.F_TOL),
        (True, Status.STAGNATED),
    )
    iteration = at.num_iterations + tf.cast(accepted, tf.int32)
    return {"x": x, "f": f, "g": g, "iteration": iteration, "status": status}


def _first(*cases: tuple[Any, Status | None]) -> Any:
    """Return the code of the first case that holds; None means to go on."""
    code = tf.constant(RUNNING)
    for holds, status in reversed(cases):
        code = tf.where(holds, RUNNING if status is None else code_of(status), code)
    return code


def _tolerance(method: Search) -> float:
    left = method.tol is None or method.tolerance != TOLERANCE
    return method.tolerance if left else method.tol  # type: ignore[return-value]


def _change(method: Search, f: Any) -> Any:
    return tf.maximum(
        tf.cast(method.f_absolute_tolerance, f.dtype), method.f_relative_tolerance * tf.abs(f)
    )


def _finite(f: Any, g: Any) -> Any:
    return tf.math.is_finite(f) & tf.reduce_all(tf.math.is_finite(g))


def _size(v: Any) -> Any:
    return tf.reduce_max(tf.abs(v))
