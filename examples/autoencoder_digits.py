"""Autoencoders of handwritten digits: a linear one, whose optimum is known, and a deep one.

    python examples/autoencoder_digits.py [--epochs 300] [--iterations 3000] [--picture out.png]

The 8x8 digits that scikit-learn ships are squeezed through a few numbers and drawn again.
The best that a linear autoencoder can do is the projection onto the first principal
components (Baldi and Hornik 1989, doi:10.1016/0893-6080(89)90014-2), so that its loss tells
how near each optimizer comes. The deep autoencoder has no such oracle; it has to beat the
linear one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import matplotlib as mpl
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import kormos

mpl.use("agg")  # draws to a file; needs no screen
import matplotlib.pyplot as plt

STEPS = 10  # iterations of a solver in the graph, or minibatches of Adam, in one call
COLORS = {"adam": "C0", "native:lbfgs": "C1", "native:newton-cg": "C2"}
SHOWN = 12  # digits in the picture


@dataclass(frozen=True)
class Fit:
    """How one optimizer did on one autoencoder."""

    name: str
    optimizer: str
    model: kormos.BatchOptimizedModel
    loss: float
    val_loss: float
    sweeps: np.ndarray
    losses: np.ndarray
    iterations: int
    evaluations: int
    products: int
    seconds: float
    reason: str


def load(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Give images to train on and the last fifth to validate on, pixels in [0, 1]."""
    images = load_digits().data / 16.0
    split = int(0.8 * len(images))
    return images[:split][:samples], images[split:]


def principal_components(x: np.ndarray, x_val: np.ndarray, code: int) -> tuple[float, float]:
    """Give the losses of the projection onto the first principal components of `x`."""
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:code]

    def loss(images: np.ndarray) -> float:
        centered = images - mean
        return float(np.mean((centered - centered @ axes.T @ axes) ** 2))

    return loss(x), loss(x_val)


def build_linear(code: int) -> kormos.BatchOptimizedModel:
    """Squeeze 64 pixels into `code` numbers and back, by one matrix each."""
    image = keras.Input((64,))
    squeezed = keras.layers.Dense(code, use_bias=False, name="code")(image)
    return kormos.BatchOptimizedModel(image, keras.layers.Dense(64)(squeezed))


def build_deep(code: int) -> kormos.BatchOptimizedModel:
    """Do the same with a hidden layer on either side."""
    image = keras.Input((64,))
    tensor = keras.layers.Dense(64, activation="tanh")(image)
    tensor = keras.layers.Dense(code, name="code")(tensor)
    tensor = keras.layers.Dense(64, activation="tanh")(tensor)
    return kormos.BatchOptimizedModel(image, keras.layers.Dense(64)(tensor))


def optimizers(name: str) -> dict[str, Any]:
    """Give what an autoencoder is trained by; `tol` bounds the change of the loss, or its slope.

    Newton's method is for the last digits of the linear one. The deep one has so many
    parameters, and is so far from its minimum, that products would cost more than they save.
    """
    chosen = {"adam": "adam", "native:lbfgs": kormos.BatchOptimizer("native:lbfgs", tol=1e-12)}
    if name == "linear":
        options = {"preconditioner": "diagonal"}
        newton = kormos.BatchOptimizer("native:newton-cg", tol=1e-7, options=options)
        chosen["native:newton-cg"] = newton
    return chosen


def train(
    name: str,
    model: kormos.BatchOptimizedModel,
    optimizer: Any,
    images: tuple[np.ndarray, np.ndarray],
    epochs: int,
) -> Fit:
    """Fit by one optimizer and measure what came of it."""
    x, x_val = images
    model.compile(optimizer=optimizer, loss="mse", steps_per_execution=STEPS)
    start = time.perf_counter()
    batch_size = 32 if optimizer == "adam" else None
    history = model.fit(x, x, batch_size=batch_size, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    result = getattr(history, "result", None)
    rows = history.history
    sweeps = np.asarray(rows.get("fg_evals", range(1, epochs + 1)))
    return Fit(
        name=name,
        optimizer=result.solver if result else optimizer,
        model=model,
        loss=model.evaluate(x, x, verbose=0),
        val_loss=model.evaluate(x_val, x_val, verbose=0),
        sweeps=sweeps + np.asarray(rows.get("hessp_evals", 0)),
        losses=np.asarray(rows["loss"]),
        iterations=result.num_iterations if result else epochs,
        evaluations=result.fg_evals if result else epochs,
        products=result.hessp_evals if result else 0,
        seconds=seconds,
        reason=result.status.value if result else "The epochs were over.",
    )


def print_table(fits: list[Fit], optimum: tuple[float, float]) -> None:
    """Print a row for each fit, and one for the principal components."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("autoencoder", no_wrap=True, vertical="bottom")
    table.add_column("optimizer", no_wrap=True, vertical="bottom")
    headings = ("loss", "over PCA's", "validation\nloss", "iterations\nor epochs")
    for heading in (*headings, "evaluations", "Hessian\nproducts", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("why it stopped", no_wrap=True, vertical="bottom")
    for fit in fits:
        table.add_row(
            fit.name,
            fit.optimizer,
            f"{fit.loss:.9f}",
            f"{fit.loss / optimum[0] - 1.0:+.1e}",
            f"{fit.val_loss:.6f}",
            str(fit.iterations),
            str(fit.evaluations),
            str(fit.products),
            f"{fit.seconds:.2f}",
            fit.reason,
        )
    table.add_row("PCA", "SVD", f"{optimum[0]:.9f}", "0", f"{optimum[1]:.6f}")
    console = Console()
    console.width = max(console.width, 200)  # a pipe has no width to keep to
    console.print(table)
    print(
        "Over PCA's: the relative difference. Evaluations and products are sweeps over the data."
    )


def draw_digits(figure: Any, fits: list[Fit], images: np.ndarray) -> None:
    """Draw `images` that no fit has seen, and what is left of them."""
    rows = {"original": images}
    for fit in (fit for fit in fits if fit.optimizer in {"adam", "native:lbfgs"}):
        rows[f"{fit.name}\n{fit.optimizer}"] = fit.model.predict(images, verbose=0)
    panels = figure.subplots(len(rows), len(images))
    for line, (label, drawn) in zip(panels, rows.items(), strict=True):
        for panel, image in zip(line, drawn, strict=True):
            panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0.0, vmax=1.0)
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize="small")


def draw_losses(figure: Any, fits: list[Fit], optimum: float) -> None:
    """Draw how far above PCA's the linear loss is, and the loss of the deep autoencoder."""
    left, right = figure.subplots(1, 2)
    for fit in fits:
        linear = fit.name == "linear"
        shown = fit.losses / optimum - 1.0 if linear else fit.losses
        axes = left if linear else right
        axes.plot(fit.sweeps, shown, color=COLORS[fit.optimizer], label=fit.optimizer)
    left.set(title="Linear: training loss over PCA's, less 1")
    right.set(title="Deep: training loss")
    right.axhline(optimum, color="black", linewidth=0.8, label="PCA")
    for axes in (left, right):
        axes.set(xlabel="sweeps over the training images", xscale="log", yscale="log")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend(fontsize="small")


def draw(fits: list[Fit], x_val: np.ndarray, optimum: float, path: Path) -> None:
    """Draw digits above, losses below."""
    figure = plt.figure(figsize=(9.0, 7.0), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.05))
    draw_digits(above, fits, x_val[:SHOWN])
    draw_losses(below, fits, optimum)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    """Train both autoencoders by each optimizer, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=300, help="epochs of Adam")
    parser.add_argument("--iterations", type=int, default=3000, help="most of a batch solver")
    parser.add_argument("--samples", type=int, default=1437, help="training images to use")
    parser.add_argument("--code", type=int, default=8, help="numbers that an image becomes")
    parser.add_argument("--picture", type=Path, default=Path("autoencoder_digits.png"))
    arguments = parser.parse_args()
    # The loss is compared with its optimum to many digits: float32 has seven.
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    images = load(arguments.samples)
    optimum = principal_components(*images, arguments.code)

    fits = []
    for name, build in (("linear", build_linear), ("deep", build_deep)):
        for optimizer in optimizers(name).values():
            keras.utils.set_random_seed(1)
            model = build(arguments.code)
            limit = arguments.epochs if optimizer == "adam" else arguments.iterations
            fits.append(train(name, model, optimizer, images, limit))
        print(f"{name}: {model.count_params()} parameters, {len(images[0])} images")
    print_table(fits, optimum)
    draw(fits, images[1], optimum[0], arguments.picture)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
