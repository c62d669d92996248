"""Structured data: ten columns of 442 patients, a small classifier, Adam and L-BFGS.

    python examples/structured_data_classification.py [--epochs 200] [--picture out.png]

Does a patient's diabetes progress faster than the median within a year? The data is that of
Efron, Hastie, Johnstone and Tibshirani (2004, doi:10.1214/009053604000000067), which
scikit-learn ships. Keras's FeatureSpace turns the raw columns into features: numbers are
normalized, the age is cut into bins, the sex is looked up as an integer, the class of weight
as a string, and sex and age are crossed. The table is small, so that all of it is one batch,
and the penalized loss has a minimum that a batch solver reaches.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import tensorflow as tf
from keras.utils import FeatureSpace
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes
from sklearn.metrics import roc_auc_score

import kormos

mpl.use("agg")  # draws to a file; needs no screen
import matplotlib.pyplot as plt

NUMBERS = ("bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
WEIGHT_CLASSES = ("under", "normal", "over", "obese")
WEIGHT_BOUNDS = (18.5, 25.0, 30.0)  # of the body mass index, kg/m², by the WHO
STEPS = 10  # iterations of a solver in the graph, or minibatches of Adam, in one call


@dataclass(frozen=True)
class Row:
    """How one optimizer did."""

    optimizer: str
    loss: float
    val_loss: float
    val_auc: float
    val_accuracy: float
    iterations: int
    evaluations: int
    seconds: float
    reason: str


def weight_class(bmi: np.ndarray) -> np.ndarray:
    """Name the class of weight that each body mass index is in."""
    return np.asarray(WEIGHT_CLASSES)[np.digitize(bmi, WEIGHT_BOUNDS)]


def load() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Give raw columns, and whether the disease progressed faster than the median."""
    data = load_diabetes(scaled=False)
    columns = dict(zip(data.feature_names, data.data.T, strict=True))
    columns["sex"] = columns["sex"].astype("int64")  # 1 or 2; which is which is not told
    columns["weight"] = weight_class(columns["bmi"])
    fast = data.target > np.median(data.target)
    return columns, fast.astype("float32")[:, None]


def build_space(columns: dict[str, np.ndarray]) -> FeatureSpace:
    """Learn means, bins and vocabularies from the `columns` of the training rows."""
    space = FeatureSpace(
        features={
            "age": FeatureSpace.float_discretized(num_bins=5),
            "sex": FeatureSpace.integer_categorical(num_oov_indices=0),
            "weight": FeatureSpace.string_categorical(num_oov_indices=0),
            **{name: FeatureSpace.float_normalized() for name in NUMBERS},
        },
        crosses=[FeatureSpace.cross(("sex", "age"), crossing_dim=16)],
        output_mode="concat",
    )
    space.adapt(tf.data.Dataset.from_tensor_slices(columns).batch(64))
    return space


def build_model(space: FeatureSpace, hidden: int, penalty: float) -> kormos.BatchOptimizedModel:
    """Classify encoded features; without `hidden` units it is logistic regression."""
    inputs = space.get_encoded_features()
    ridge = keras.regularizers.L2(penalty)
    tensor = inputs
    if hidden:
        tensor = keras.layers.Dense(hidden, activation="tanh", kernel_regularizer=ridge)(tensor)
    logit = keras.layers.Dense(1, kernel_regularizer=ridge)(tensor)
    return kormos.BatchOptimizedModel(inputs=inputs, outputs=logit)


def train(
    model: kormos.BatchOptimizedModel,
    optimizer: str,
    data: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    epochs: int,
) -> tuple[Row, dict[str, list[float]]]:
    """Fit by one optimizer and measure what came of it."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
        steps_per_execution=STEPS,
    )
    start = time.perf_counter()
    history = model.fit(
        *data,
        batch_size=32 if optimizer == "adam" else None,
        epochs=epochs,
        validation_data=validation,
        validation_freq=min(STEPS, epochs) if optimizer == "adam" else 1,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    result = getattr(history, "result", None)
    told = model.evaluate(*validation, verbose=0, return_dict=True)
    row = Row(
        optimizer=optimizer,
        loss=model.evaluate(*data, verbose=0, return_dict=True)["loss"],
        val_loss=told["loss"],
        val_auc=roc_auc_score(validation[1], model.predict(validation[0], verbose=0)),
        val_accuracy=told["accuracy"],
        iterations=result.num_iterations if result else epochs,
        evaluations=result.fg_evals if result else epochs,
        seconds=seconds,
        reason=result.status.value if result else "The epochs were over.",
    )
    return row, history.history


def print_table(rows: list[Row]) -> None:
    """Print a row for each optimizer."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    headings = ("loss", "validation\nloss", "AUC", "accuracy", "iterations\nor epochs")
    table.add_column("optimizer", no_wrap=True, vertical="bottom")
    for heading in (*headings, "evaluations", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("why it stopped", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(
            row.optimizer,
            f"{row.loss:.6f}",
            f"{row.val_loss:.4f}",
            f"{row.val_auc:.4f}",
            f"{row.val_accuracy:.4f}",
            str(row.iterations),
            str(row.evaluations),
            f"{row.seconds:.2f}",
            row.reason,
        )
    console = Console()
    console.width = max(console.width, 200)  # a pipe has no width to keep to
    console.print(table)
    print("Losses hold the penalty. An evaluation is a sweep over the training rows.")


def draw(
    histories: dict[str, dict[str, list[float]]],
    risks: dict[str, np.ndarray],
    bmi: np.ndarray,
    path: Path,
) -> None:
    """Draw the losses, and what the models say of one patient at several weights."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.0), layout="constrained")
    for color, (name, history) in zip(("C0", "C1"), histories.items(), strict=True):
        sweeps = np.asarray(history.get("fg_evals", range(1, len(history["loss"]) + 1)))
        left.plot(sweeps, history["loss"], color=color, label=f"{name}, training")
        held = history["val_loss"]  # after every STEPS iterations, and after the last
        at = np.append(sweeps[STEPS - 1 :: STEPS], sweeps[-1])[: len(held)]
        left.plot(at, held, ":", color=color, label=f"{name}, validation")
        for style, sex in (("-", 0), ("--", 1)):
            label = f"{name}, sex {sex + 1}"
            right.plot(bmi, risks[name][sex], style, color=color, label=label)
    left.set(
        xlabel="sweeps over the training rows",
        ylabel="penalized cross-entropy",
        xscale="log",
        title="Loss",
    )
    right.set(
        xlabel="body mass index, kg/m²",
        ylabel="probability of fast progression",
        ylim=(0.0, 1.0),
        title="A patient who is the median in all else",
    )
    for axes in (left, right):
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def ask(
    model: keras.Model, space: FeatureSpace, columns: dict[str, np.ndarray], bmi: np.ndarray
) -> np.ndarray:
    """Give probabilities for raw columns: a row for each sex, a column for each `bmi`."""
    inputs = dict(space.get_inputs())  # Keras warns of a mismatch with the kind of dict it is
    raw = keras.Model(inputs, model(space.get_encoded_features()))
    patient = {name: np.full(bmi.shape, np.median(columns[name])) for name in ("age", *NUMBERS)}
    patient |= {"bmi": bmi, "weight": weight_class(bmi)}
    logits = []
    for sex in (1, 2):
        rows = patient | {"sex": np.full(bmi.shape, sex)}
        asked = {name: tf.constant(rows[name][:, None]) for name in inputs}
        logits.append(keras.ops.convert_to_numpy(raw(asked))[:, 0])
    return 1.0 / (1.0 + np.exp(-np.stack(logits)))


def main() -> None:
    """Encode, train by each optimizer, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200, help="most epochs or iterations")
    parser.add_argument("--hidden", type=int, default=16, help="hidden units; 0 for none")
    parser.add_argument("--penalty", type=float, default=0.01, help="on the squared weights")
    parser.add_argument("--picture", type=Path, default=Path("structured_data_classification.png"))
    arguments = parser.parse_args()
    columns, y = load()
    order = np.random.default_rng(0).permutation(len(y))
    kept, held = order[:331], order[331:]
    rows = {name: values[kept] for name, values in columns.items()}
    space = build_space(rows)
    data = (space(rows), y[kept])
    validation = (space({name: values[held] for name, values in columns.items()}), y[held])

    table, histories, risks = [], {}, {}
    bmi = np.linspace(18.0, 42.0, 97)
    for optimizer in ("adam", "native:lbfgs"):
        keras.utils.set_random_seed(1)
        model = build_model(space, arguments.hidden, arguments.penalty)
        row, histories[optimizer] = train(model, optimizer, data, validation, arguments.epochs)
        table.append(row)
        risks[optimizer] = ask(model, space, columns, bmi)
    shape = data[0].shape
    print(f"{shape[0]} training rows, {shape[1]} features, {model.count_params()} parameters")
    print_table(table)
    draw(histories, risks, bmi, arguments.picture)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
