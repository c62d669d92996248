"""Forecast the Mackey-Glass series by Adam, L-BFGS and Newton's method, from a tf.data stream.

    python examples/time_series_forecast.py [--layer gru] [--iterations 1500] [--picture out.png]

The task is that of Jang (1993, doi:10.1109/21.256541), which forecasters have been compared on
ever since: from x(t - 18), x(t - 12), x(t - 6) and x(t) tell x(t + 6), 500 windows to learn
from and the next 500 to check. The series is chaotic (Mackey and Glass 1977,
doi:10.1126/science.267326); it is integrated here, so that nothing is downloaded.
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
from scipy.integrate import solve_ivp

import kormos

mpl.use("agg")  # draws to a file; needs no screen
import matplotlib.pyplot as plt

LAG = 6  # between the values of a window, and from its last one to the target
LENGTH = 4  # values in a window
SPAN = LENGTH * LAG  # from the first value of a window to the target
FIRST = 118  # time at which the first window ends, as Jang's
BATCH = 125
STEPS = 20  # iterations of a solver in the graph, or minibatches of Adam, in one call
SHARE = 5  # iterations of L-BFGS for one of Newton's, which takes a dozen products
AHEAD = 60  # values that are forecast from forecasts
COLORS = ("C0", "C1", "C2")


@dataclass(frozen=True)
class Forecast:
    """How one way to forecast did; what a baseline has no use for is None."""

    name: str
    train_error: float
    val_error: float
    run: np.ndarray
    losses: tuple[np.ndarray, np.ndarray] | None = None
    iterations: int | None = None
    evaluations: int | None = None
    products: int | None = None
    seconds: float | None = None
    reason: str = ""


def mackey_glass(num_values: int) -> np.ndarray:
    """Integrate x'(t) = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t) at t = 0, 1, 2 ...

    x(0) is 1.2 and what went before is 0. It is done from delay to delay: within one of them
    x(t - 17) is known, and the equation is an ordinary one.
    """
    delay = 17
    x, past, parts = np.array([1.2]), np.zeros_like, []
    for begin in range(0, num_values, delay):

        def slope(t: float, x: np.ndarray, past: Any = past) -> np.ndarray:
            delayed = past(t - delay)
            return 0.2 * delayed / (1.0 + delayed**10) - 0.1 * x

        solved = solve_ivp(
            slope,
            (begin, begin + delay),
            x,
            method="DOP853",
            t_eval=np.arange(begin, begin + delay),
            dense_output=True,
            rtol=1e-10,
            atol=1e-12,
        )
        past, x = solved.sol, solved.sol(begin + delay)
        parts.append(solved.y[0])
    return np.concatenate(parts)[:num_values]


def windows(series: np.ndarray, first: int, count: int, batch_size: int = BATCH) -> Any:
    """Stream `count` windows, of which the first ends at time `first`, with their targets.

    They are cut out of the series in the first sweep, and come from the cache in all others.
    """
    part = series[first - SPAN + LAG : first + count + LAG]
    return keras.utils.timeseries_dataset_from_array(
        part[:, None],
        part[SPAN:, None],
        sequence_length=LENGTH,
        sampling_rate=LAG,
        batch_size=batch_size,
    ).cache()


def arrays(stream: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read windows, a row each, and targets from a `stream`."""
    x, y = zip(*stream.as_numpy_iterator(), strict=True)
    return np.concatenate(x)[:, :, 0], np.concatenate(y)[:, 0]


def error(predicted: np.ndarray, y: np.ndarray) -> float:
    """Give the non-dimensional error index: the root mean square error over y's deviation."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)) / np.std(y))


def run_freely(predict: Any, window: np.ndarray) -> np.ndarray:
    """Forecast again and again from what was forecast before, `LAG` further each time."""
    values = list(window)
    for _ in range(AHEAD):
        values.append(float(predict(np.asarray(values[-LENGTH:])[None])[0]))
    return np.asarray(values[LENGTH:])


def build_model(layer: str, x: np.ndarray) -> kormos.BatchOptimizedModel:
    """Forecast one value from a window scaled as the windows `x`, by a dense layer or a GRU."""
    scaling = keras.layers.Normalization(axis=None)
    scaling.adapt(x)
    window = keras.Input((LENGTH, 1))
    tensor = scaling(window)
    if layer == "gru":
        tensor = keras.layers.GRU(8)(tensor)
    else:
        tensor = keras.layers.Flatten()(tensor)
        tensor = keras.layers.Dense(20, activation="tanh")(tensor)
    return kormos.BatchOptimizedModel(window, keras.layers.Dense(1)(tensor))


def optimizers() -> dict[str, Any]:
    """Give what is compared; a least-squares loss is what Gauss-Newton products are for."""
    newton = kormos.BatchOptimizer("native:trust-ncg", hvp="gauss-newton", tol=1e-8)
    lbfgs = kormos.BatchOptimizer("native:lbfgs", tol=1e-12)
    return {"adam": "adam", "native:lbfgs": lbfgs, "native:trust-ncg": newton}


def judge(name: str, predict: Any, parts: tuple[Any, Any], **more: Any) -> Forecast:
    """Measure a forecast of both parts, and let it run freely into the second."""
    (x, y), (x_val, y_val) = parts
    return Forecast(
        name=name,
        train_error=error(predict(x), y),
        val_error=error(predict(x_val), y_val),
        run=run_freely(predict, x_val[0]),
        **more,
    )


def train(
    name: str, model: keras.Model, optimizer: Any, stream: Any, parts: tuple[Any, Any], epochs: int
) -> Forecast:
    """Fit by one optimizer and measure what came of it."""
    model.compile(optimizer=optimizer, loss="mse", steps_per_execution=STEPS)
    start = time.perf_counter()
    history = model.fit(stream, epochs=epochs, shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    result = getattr(history, "result", None)
    rows = history.history

    def predict(x: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(model(x[:, :, None]))[:, 0]

    sweeps = np.asarray(rows.get("fg_evals", range(1, epochs + 1)))
    return judge(
        name,
        predict,
        parts,
        losses=(sweeps + np.asarray(rows.get("hessp_evals", 0)), np.asarray(rows["loss"])),
        iterations=result.num_iterations if result else epochs,
        evaluations=result.fg_evals if result else epochs,
        products=result.hessp_evals if result else 0,
        seconds=seconds,
        reason=result.status.value if result else "The epochs were over.",
    )


def baselines(parts: tuple[Any, Any]) -> list[Forecast]:
    """Forecast that nothing changes, and by the least squares of a linear model."""
    x, y = parts[0]
    columns = np.column_stack([x, np.ones(len(x))])
    weights = np.linalg.lstsq(columns, y, rcond=None)[0]
    return [
        judge("persistence", lambda x: x[:, -1], parts),
        judge("linear", lambda x: x @ weights[:-1] + weights[-1], parts),
    ]


def print_table(forecasts: list[Forecast]) -> None:
    """Print a row for each forecast."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("forecast", no_wrap=True, vertical="bottom")
    headings = ("training\nerror", "validation\nerror", "iterations\nor epochs", "evaluations")
    for heading in (*headings, "Hessian\nproducts", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("why it stopped", no_wrap=True, vertical="bottom")
    for row in forecasts:
        counts = (row.iterations, row.evaluations, row.products)
        table.add_row(
            row.name,
            f"{row.train_error:.5f}",
            f"{row.val_error:.5f}",
            *("-" if count is None else str(count) for count in counts),
            "-" if row.seconds is None else f"{row.seconds:.2f}",
            row.reason,
        )
    console = Console()
    console.width = max(console.width, 200)  # a pipe has no width to keep to
    console.print(table)
    print("Errors are root mean squares over the standard deviation of the targets.")


def draw(forecasts: list[Forecast], series: np.ndarray, start: int, path: Path) -> None:
    """Draw how long each forecast keeps to the series by itself, and the losses."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8.4, 6.4), layout="constrained")
    span = np.arange(start, start + LAG * AHEAD + 1)
    top.plot(span, series[span], color="black", linewidth=0.8, label="the series")
    trained = [row for row in forecasts if row.losses]
    for color, row in zip(COLORS, trained, strict=True):
        times = start + LAG * np.arange(1, AHEAD + 1)
        top.plot(times, row.run, "o", color=color, markersize=3.5, label=row.name)
        bottom.plot(*row.losses, color=color, label=row.name)
    top.set(
        xlabel="t",
        ylabel="x(t)",
        ylim=(0.2, 1.4),
        title="Forecasts that go on from what they forecast",
    )
    bottom.set(
        xlabel="sweeps over the training windows, products among them",
        ylabel="mean squared error",
        xscale="log",
        yscale="log",
        title="Training loss",
    )
    for axes in (top, bottom):
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small", ncols=4, loc="lower left")
    figure.savefig(path, dpi=85)
    plt.close(figure)


def main() -> None:
    """Make the series, forecast it in five ways, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2000, help="epochs of Adam")
    parser.add_argument("--iterations", type=int, default=1500, help="most of L-BFGS")
    parser.add_argument("--samples", type=int, default=500, help="windows in each part")
    parser.add_argument("--layer", choices=("dense", "gru"), default="dense")
    parser.add_argument("--picture", type=Path, default=Path("time_series_forecast.png"))
    arguments = parser.parse_args()
    keras.config.set_floatx("float64")  # the errors become small
    keras.config.set_dtype_policy("float64")
    count = arguments.samples
    series = mackey_glass(FIRST + 2 * count + LAG * AHEAD + 1)
    streams = windows(series, FIRST, count), windows(series, FIRST + count, count)
    parts = tuple(map(arrays, streams))

    forecasts = baselines(parts)
    limits = (arguments.epochs, arguments.iterations, arguments.iterations // SHARE)
    # Adam likes small batches, and in another order each time. A batch solver refuses a stream
    # that changes from sweep to sweep: its loss would be another function each time.
    shuffled = windows(series, FIRST, count, batch_size=32).shuffle(count, seed=1)
    for (name, optimizer), limit in zip(optimizers().items(), limits, strict=True):
        keras.utils.set_random_seed(1)
        model = build_model(arguments.layer, parts[0][0])
        stream = shuffled if name == "adam" else streams[0]
        forecasts.append(train(name, model, optimizer, stream, parts, limit))
    print_table(forecasts)
    draw(forecasts, series, FIRST + count, arguments.picture)
    print(f"picture: {arguments.picture}")


if __name__ == "__main__":
    main()
