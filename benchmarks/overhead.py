"""What a fit costs beyond its evaluations.

One run prints, for three models, the seconds of a fit over the evaluations times the bare
compiled loss and gradient, both measured side by side; and for the tiny model the time of
an iteration above hand-written SciPy on the same function. All have the data in tensors.

    python benchmarks/overhead.py --mnist mnist.npz

Without --mnist, Keras downloads the file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf
from cases import linear, mlp, softmax
from rich.console import Console
from rich.table import Table

import kormos

if TYPE_CHECKING:
    from cases import Case


def bare_function(case: Case, *, jit: bool):
    """Write the loss and its gradient by hand on Keras's and TensorFlow's public face."""
    model, x, y = case.model, tf.constant(case.x), tf.constant(case.y)
    variables = model.trainable_variables
    sizes = [int(np.prod(v.shape)) for v in variables]

    @tf.function(jit_compile=jit)
    def function(flat):
        with tf.GradientTape() as tape:
            tape.watch(flat)
            parts = [
                tf.reshape(p, v.shape)
                for p, v in zip(tf.split(flat, sizes), variables, strict=True)
            ]
            with keras.StatelessScope(list(zip(variables, parts, strict=True))):
                loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
        return loss, tape.gradient(loss, flat)

    return function


def time_bare(function, point: np.ndarray, calls: int) -> float:
    """Seconds of one call, the median of batches of calls."""
    flat = tf.constant(point)
    function(flat)[1].numpy()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            loss, gradient = function(flat)
            float(loss), gradient.numpy()
        seconds.append((time.perf_counter() - start) / calls)
    return statistics.median(seconds)


def fit(case: Case, start: list[np.ndarray]) -> tuple[float, object]:
    """Seconds and history of one fit from the same weights, its data in tensors already."""
    case.model.set_weights(start)
    x, y = tf.constant(case.x), tf.constant(case.y)
    options = {"ftol": 0.0, "gtol": 1e-12}
    begin = time.perf_counter()
    history = kormos.fit(case.model, x, y, epochs=case.epochs, verbose=0, options=options)
    return time.perf_counter() - begin, history


def by_hand(case: Case, function, start: np.ndarray) -> tuple[float, object]:
    """Seconds and result of SciPy's L-BFGS-B on the bare function."""

    def evaluate(point):
        loss, gradient = function(tf.constant(point))
        return float(loss), gradient.numpy()

    options = {"maxiter": case.epochs, "ftol": 0.0, "gtol": 1e-12}
    begin = time.perf_counter()
    result = scipy.optimize.minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    return time.perf_counter() - begin, result


def measure(case: Case, *, jit: bool, repeats: int) -> list[str]:
    """Measure one model; a row of the table."""
    case.model.compile(
        optimizer=kormos.BatchOptimizer("scipy:l-bfgs-b"), loss=case.loss, jit_compile=jit
    )
    start = case.model.get_weights()
    flat = np.concatenate([w.ravel() for w in start])
    first, _ = fit(case, start)
    function = bare_function(case, jit=jit)
    function(tf.constant(flat))
    ratios, above = [], []
    calls = max(5, min(300, int(0.5 / time_bare(function, flat, 3))))
    for _ in range(repeats):
        bare = time_bare(function, flat, calls)
        seconds, history = fit(case, start)
        evaluations = history.result.fg_evals
        iterations = history.result.num_iterations
        hand, result = by_hand(case, function, flat)
        ratios.append(seconds / (evaluations * bare))
        above.append(1e3 * (seconds / iterations - hand / result.nit))
    return [
        case.name,
        "on" if jit else "off",
        f"{case.model.count_params():,}",
        str(iterations),
        str(evaluations),
        f"{1e3 * bare:.3f}",
        f"{seconds:.3f}",
        f"{statistics.median(ratios):.3f}",
        f"{statistics.median(above):+.3f}",
        f"{first:.2f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keras.config.set_floatx("float64")
    table = Table(title="scipy:l-bfgs-b, float64; medians")
    for heading in (
        "model",
        "XLA",
        "parameters",
        "iterations",
        "evaluations",
        "bare ms",
        "fit s",
        "fit / (evals x bare)",
        "ms/iteration above SciPy by hand",
        "first fit s",
    ):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for make in (lambda: softmax(arguments.mnist), mlp, linear):
        for jit in (False, True):
            table.add_row(*measure(make(), jit=jit, repeats=arguments.repeats))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
