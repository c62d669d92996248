"""TensorFlow's side of `backends.py`: its bare function, its own solver."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from cases import Case

__all__ = ["COMPILES_ON_REQUEST", "array", "bare", "by_hand", "rivals", "tensor", "wait"]

COMPILES_ON_REQUEST = False  # whether nothing is compiled unless it is asked for


def tensor(point: np.ndarray) -> Any:
    """Put a vector on the device."""
    return tf.constant(point)


def array(value: Any) -> np.ndarray:
    """Take a vector from the device."""
    return value.numpy()


def wait(values: Any) -> None:
    """Return when values have been computed."""
    tf.nest.map_structure(lambda value: value.numpy(), values)


def by_hand(case: Case) -> Callable[[Any], Any]:
    """Write a case's loss of a flat vector on Keras's public face, which rounds nothing here."""
    model, x, y = case.model, tensor(case.x), tensor(case.y)

    def loss(flat: Any) -> Any:
        pairs, begin = [], 0
        for variable in model.trainable_variables:
            end = begin + math.prod(variable.shape)
            pairs.append((variable, tf.reshape(flat[begin:end], variable.shape)))
            begin = end
        with keras.StatelessScope(pairs):
            y_pred = model(x, training=True)
            return model.compute_loss(x=x, y=y, y_pred=y_pred)

    return loss


def bare(loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile a loss with its gradient."""

    @tf.function
    def function(flat: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(flat)
            f = loss(flat)
        return f, tape.gradient(f, flat)

    return function


def rivals(
    loss: Callable[[Any], Any], start: np.ndarray, target: float, pairs: int
) -> dict[str, Callable[[], tuple[float, int]]]:
    """Return TensorFlow Probability's minimizer, ended at a loss by its iterations."""
    import tensorflow_probability as tfp

    function = bare(loss)

    @tf.function
    def solve(point: Any, limit: Any) -> Any:
        return tfp.optimizer.lbfgs_minimize(
            function,
            initial_position=point,
            num_correction_pairs=pairs,
            tolerance=1e-14,
            max_iterations=limit,
        )

    begin, low, high = tensor(start), 1, 512
    while low < high:  # how many iterations lead to the loss
        middle = (low + high) // 2
        reached = float(solve(begin, tf.constant(middle)).objective_value) <= target
        low, high = (low, middle) if reached else (middle + 1, high)
    limit = tf.constant(low)

    def run() -> tuple[float, int]:
        began = time.perf_counter()
        evaluations = int(solve(begin, limit).num_objective_evaluations)
        return time.perf_counter() - began, evaluations

    return {"lbfgs_minimize": run}
