"""For which layers XLA pays inside a solver's loop.

One run prints, for models that differ in kind, the time of an evaluation in the compiled
loop and of a Hessian product at a fixed point, without XLA and with it; and how long
compiling takes. In-graph solvers decide by these figures (`kormos_core.objective.compiled`).

    python benchmarks/jit.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers, ops
from rich.console import Console
from rich.table import Table

from kormos_core.data import adapt
from kormos_core.objective import Settings, build_objective

if TYPE_CHECKING:
    from kormos_core.objective import ModelObjective

ROWS = 1000


@dataclass(frozen=True)
class Case:
    """A model of one kind of layers, and data for it."""

    name: str
    model: keras.Model
    x: np.ndarray
    y: np.ndarray


def case(name: str, shape: tuple[int, ...], *body: layers.Layer) -> Case:
    """Put layers between an input and a linear unit."""
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input(shape), *body, layers.Dense(1)])
    model.compile(loss="mse")
    return Case(name, model, rng.normal(size=(ROWS, *shape)), rng.normal(size=(ROWS, 1)))


def tokens(name: str, *body: layers.Layer) -> Case:
    """Put layers behind an embedding."""
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((20,), dtype="int32"), layers.Embedding(500, 16), *body, layers.Dense(1)]
    )
    model.compile(loss="mse")
    return Case(name, model, rng.integers(0, 500, (ROWS, 20)), rng.normal(size=(ROWS, 1)))


def attention() -> Case:
    """Make a small transformer block."""
    inputs = keras.Input((20, 16))
    hidden = layers.MultiHeadAttention(2, 8)(inputs, inputs)
    outputs = layers.Dense(1)(layers.GlobalAveragePooling1D()(layers.Add()([inputs, hidden])))
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    rng = np.random.default_rng(0)
    data = rng.normal(size=(ROWS, 20, 16)), rng.normal(size=(ROWS, 1))
    return Case("attention", model, *data)


def cases() -> list[Case]:
    """Make all of them."""
    image = (16, 16, 3)
    return [
        case("linear", (50,)),
        case("dense tanh 3x64", (50,), *(layers.Dense(64, "tanh") for _ in range(3))),
        case("dense relu 3x64", (50,), *(layers.Dense(64, "relu") for _ in range(3))),
        case("batch normalization", (50,), layers.Dense(64), layers.BatchNormalization()),
        case("layer normalization", (50,), layers.Dense(64), layers.LayerNormalization()),
        case("convolution", image, layers.Conv2D(8, 3, activation="tanh"), layers.Flatten()),
        case("convolution 1d", (64, 4), layers.Conv1D(8, 5, activation="tanh"), layers.Flatten()),
        case("depthwise", image, layers.DepthwiseConv2D(3, activation="tanh"), layers.Flatten()),
        case("average pooling", image, layers.AveragePooling2D(2), layers.Flatten()),
        case("max pooling", image, layers.MaxPooling2D(2), layers.Flatten()),
        case("simple rnn", (20, 8), layers.SimpleRNN(16)),
        case("gru", (20, 8), layers.GRU(16)),
        case("lstm", (20, 8), layers.LSTM(16)),
        tokens("embedding", layers.GlobalAveragePooling1D()),
        attention(),
    ]


def seconds(function, *arguments) -> float:
    """Time a call."""
    begin = time.perf_counter()
    float(function(*arguments))
    return time.perf_counter() - begin


def evaluate(graph, x, count):
    """Evaluate at `count` points in the loop."""

    def body(number, x, total):
        f, g = graph.value_and_grad(x)
        return number + 1, x - 1e-12 * g, total + f

    start = (ops.zeros((), "int32"), x, ops.zeros((), "float64"))
    return ops.while_loop(lambda number, *_: number < count, body, start)[2]


def multiply(graph, x, count):
    """Multiply `count` directions at one point in the loop."""
    product = graph.hvp_at(x)
    start = (ops.zeros((), "int32"), ops.ones_like(x))

    def body(number, v):
        return number + 1, v + 1e-12 * product(v)

    return ops.sum(ops.while_loop(lambda number, _: number < count, body, start)[1])


def measure(objective: ModelObjective, what, repeats: int) -> tuple[float, float]:
    """Milliseconds of one turn of a loop, and seconds until the first call is back."""
    x = ops.convert_to_tensor(objective.program.layout.read())
    function = objective.compile(what, what.__name__)
    few, many = (ops.convert_to_tensor(np.int32(count)) for count in (1, 11))
    first = seconds(function, x, few)
    turns = [(seconds(function, x, many) - seconds(function, x, few)) / 10 for _ in range(repeats)]
    return 1e3 * statistics.median(turns), first


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", metavar="MODEL", help="models to measure")
    arguments = parser.parse_args()
    keras.config.set_floatx("float64")
    table = Table(title="in the compiled loop, float64; XLA over none")
    for heading in ("model", "of", "ms", "ms by XLA", "XLA / none", "first s", "first s by XLA"):
        table.add_column(heading, justify="left" if heading in {"model", "of"} else "right")
    for one in cases():
        if arguments.only and one.name not in arguments.only:
            continue
        for what in (evaluate, multiply):
            cells: dict[bool, tuple[float, float] | None] = {}
            for jit in (False, True):
                batches = adapt(one.x, one.y, float_dtype="float64")
                objective, _ = build_objective(
                    one.model, batches, settings=Settings(), jit=jit, hvp="reverse-over-reverse"
                )
                try:
                    cells[jit] = measure(objective, what, arguments.repeats)
                except Exception as error:  # noqa: BLE001 - a backend fails in many ways
                    print(f"{one.name}, {what.__name__}, XLA {jit}: {str(error)[:150]}")
                    cells[jit] = None
            plain, by_xla = cells[False], cells[True]
            row = [f"{plain[0]:.2f}" if plain else "-", f"{by_xla[0]:.2f}" if by_xla else "-"]
            row.append(f"{by_xla[0] / plain[0]:.2f}" if plain and by_xla else "-")
            row += [f"{cell[1]:.2f}" if cell else "-" for cell in (plain, by_xla)]
            table.add_row(one.name, what.__name__, *row)
            print(one.name, what.__name__, *row, flush=True)  # the slow ones take minutes
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
