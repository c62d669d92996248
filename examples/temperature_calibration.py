"""Calibrate an over-confident classifier by one parameter, its temperature.

    python examples/temperature_calibration.py [--epochs 300] [--samples 200] [--picture out.png]

A network that fits its few training digits perfectly is surer of new ones than it is right.
Guo, Pleiss, Sun and Weinberger (2017, arXiv:1706.04599) divide its logits by one number T,
found on digits held out: no prediction changes, only how sure it is. The cross-entropy is
convex in 1 / T, which is what is fitted here. One parameter is the smallest model there is,
and the task of a few Newton steps.

The classifier is trained three times. Without a penalty its loss has no minimum but at
infinity, and L-BFGS is on its way there; a very small penalty is enough to keep it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import matplotlib as mpl
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy.special import log_softmax
from sklearn.datasets import load_digits

import kormos

mpl.use("agg")  # draws to a file; needs no screen
import matplotlib.pyplot as plt

HELD_OUT = 500  # digits that the temperature is fitted on
BINS = 15  # of equal width; as many as Guo et al. take
CLASSIFIERS = {  # optimizer, penalty
    "adam": ("adam", 0.0),
    "native:lbfgs": ("native:lbfgs", 0.0),
    "native:lbfgs, L2": ("native:lbfgs", 1e-5),
}
STEPS = 10  # minibatches of Adam in one call
CALIBRATORS = ("adam", "scipy:l-bfgs-b", "native:newton-cg")


class Digits(NamedTuple):
    """Images or logits (samples, features), and labels."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """How sure a classifier is, and how often it is right; arrays have an entry for a bin."""

    loss: float
    accuracy: float
    calibration_error: float
    bin_accuracy: np.ndarray
    bin_share: np.ndarray


@dataclass(frozen=True)
class Row:
    """How one fit went."""

    fitted: str
    loss: float
    temperature: float
    test: Reliability
    iterations: int
    evaluations: int
    seconds: float
    reason: str


class Temperature(keras.layers.Layer):
    """Divide logits by a temperature; the weight is its inverse."""

    def build(self, input_shape: Any) -> None:
        del input_shape
        self.inverse = self.add_weight(shape=(), initializer="ones", name="inverse")

    def call(self, logits: Any) -> Any:
        return self.inverse * logits


def load(samples: int) -> tuple[Digits, Digits, Digits]:
    """Draw digits to train on, to calibrate with, and to test."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    parts = (rest[:samples], held, rest[samples:])
    train, held_out, test = (Digits(x[part] / 16.0, y[part]) for part in parts)
    return train, held_out, test


def judge(logits: np.ndarray, y: np.ndarray) -> Reliability:
    """Measure `logits`; the calibration error is Guo et al.'s ECE, their equation (3)."""
    logs = log_softmax(logits, axis=1)
    sure, right = np.exp(logs.max(axis=1)), logs.argmax(axis=1) == y
    which = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(which, minlength=BINS)
    num_right, sum_sure = (np.bincount(which, weights, BINS) for weights in (right, sure))
    return Reliability(
        loss=float(-np.mean(logs[np.arange(len(y)), y])),
        accuracy=float(np.mean(right)),
        calibration_error=float(np.sum(np.abs(num_right - sum_sure)) / len(y)),
        bin_accuracy=num_right / np.maximum(count, 1),
        bin_share=count / len(y),
    )


def build_classifier(penalty: float) -> kormos.BatchOptimizedSequentialModel:
    """Classify a digit by 26,122 parameters, many more than there are digits to train on."""
    layers = [
        keras.layers.Dense(
            units, activation=activation, kernel_regularizer=keras.regularizers.L2(penalty)
        )
        for units, activation in ((128, "relu"), (128, "relu"), (10, None))
    ]
    return kormos.BatchOptimizedSequentialModel([keras.Input((64,)), *layers])


def build_calibrator() -> kormos.BatchOptimizedSequentialModel:
    """Divide logits by one number."""
    return kormos.BatchOptimizedSequentialModel([keras.Input((10,)), Temperature()])


def fit(model: keras.Model, optimizer: str, data: Digits, epochs: int) -> dict[str, Any]:
    """Fit by one optimizer and tell how it went, in the names of `Row`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    adam = optimizer == "adam"
    model.compile(optimizer=optimizer, loss=loss, steps_per_execution=STEPS if adam else 1)
    batch_size = 32 if adam else None
    start = time.perf_counter()
    history = model.fit(*data, batch_size=batch_size, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    result = getattr(history, "result", None)
    return {
        "loss": model.evaluate(*data, verbose=0),
        "iterations": result.num_iterations if result else epochs,
        "evaluations": result.fg_evals + result.hessp_evals if result else epochs,
        "seconds": seconds,
        "reason": result.status.value if result else "The epochs were over.",
    }


def calibrate(optimizer: str, held: Digits, test: Digits, epochs: int) -> Row:
    """Find the temperature of the logits `held` out by one optimizer."""
    model = build_calibrator()
    told = fit(model, optimizer, held, epochs)
    told["fitted"] = f"  temperature by {optimizer}"
    temperature = 1.0 / float(model.layers[0].inverse)
    return Row(temperature=temperature, test=judge(test.x / temperature, test.y), **told)


def print_table(rows: list[Row]) -> None:
    """Print a row for each fit."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("fitted", no_wrap=True, vertical="bottom")
    headings = ("loss", "T", "test\nloss", "test\nECE", "test\naccuracy", "iterations\nor epochs")
    for heading in (*headings, "evaluations", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("why it stopped", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(
            row.fitted,
            f"{row.loss:.8f}",
            f"{row.temperature:.5f}",
            f"{row.test.loss:.4f}",
            f"{row.test.calibration_error:.4f}",
            f"{row.test.accuracy:.4f}",
            str(row.iterations),
            str(row.evaluations),
            f"{row.seconds:.2f}",
            row.reason,
        )
    console = Console()
    console.width = max(console.width, 200)  # a pipe has no width to keep to
    console.print(table)
    print("An evaluation is a sweep over what is fitted, Hessian products among them.")


def draw_reliability(axes: Any, told: Reliability, title: str) -> None:
    """Draw how often a classifier is right, for each bin of how sure it is."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    filled = told.bin_share > 0.0
    width = 1.0 / BINS
    axes.bar(middles[filled], told.bin_accuracy[filled], width, ec="white", label="accuracy")
    axes.bar(middles, told.bin_share, width / 3.0, color="C1", label="share of the digits")
    axes.plot([0.0, 1.0], [0.0, 1.0], "--", color="black", linewidth=0.8)
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0), xlabel="confidence", title=title)


def draw(results: dict[str, tuple[Row, Row]], path: Path) -> None:
    """Draw each classifier's reliability, below it that of its logits over T."""
    size = (3.4 * len(results), 6.4)
    figure, panels = plt.subplots(2, len(results), figsize=size, layout="constrained")
    for (name, (before, after)), (above, below) in zip(results.items(), panels.T, strict=True):
        draw_reliability(above, before.test, f"{name}: ECE {before.test.calibration_error:.3f}")
        title = f"T = {after.temperature:.2f}: ECE {after.test.calibration_error:.3f}"
        draw_reliability(below, after.test, title)
    panels[0, 0].legend(fontsize="small", loc="upper left")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    """Train three classifiers, calibrate each in three ways, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=300, help="most epochs or iterations")
    parser.add_argument("--samples", type=int, default=200, help="digits to train on")
    parser.add_argument("--picture", type=Path, default=Path("temperature_calibration.png"))
    arguments = parser.parse_args()
    keras.config.set_floatx("float64")  # the temperature is wanted to many digits
    keras.config.set_dtype_policy("float64")
    train, held_out, test = load(arguments.samples)

    table, results = [], {}
    for name, (optimizer, penalty) in CLASSIFIERS.items():
        keras.utils.set_random_seed(1)
        model = build_classifier(penalty)
        told = fit(model, optimizer, train, arguments.epochs)
        held, new = (Digits(model.predict(x, verbose=0), y) for x, y in (held_out, test))
        classifier = Row(fitted=f"classifier by {name}", temperature=1.0, test=judge(*new), **told)
        rows = [calibrate(one, held, new, arguments.epochs) for one in CALIBRATORS]
        table += [classifier, *rows]
        results[name] = (classifier, rows[-1])
    print_table(table)
    draw(results, arguments.picture)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
