"""What one Hessian-vector product costs, in gradients.

One run prints the time of a product over the time of a loss and gradient of the same
objective, for every kind of product, with XLA and without.

    python benchmarks/hvp.py --mnist mnist.npz

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
from cases import linear, mlp, softmax
from rich.console import Console
from rich.table import Table

from kormos_core.data import adapt
from kormos_core.objective import HVP_KINDS, Settings, build_objective

if TYPE_CHECKING:
    from cases import Case

    from kormos_core.objective import ModelObjective


def seconds(function, calls: int) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def ratios(objective: ModelObjective, repeats: int) -> tuple[float, float]:
    """Seconds of a gradient, and a product's time over it; medians."""
    rng = np.random.default_rng(0)
    x = objective.program.layout.read() + 0.01 * rng.normal(size=objective.size)
    v = rng.normal(size=objective.size)
    objective.hvp(x, v)
    calls = max(2, min(100, int(0.3 / seconds(lambda: objective.value_and_grad(x), 2))))
    gradients, quotients = [], []
    for _ in range(repeats):
        gradient = seconds(lambda: objective.value_and_grad(x), calls)
        product = seconds(lambda: objective.hvp(x, v), calls)
        gradients.append(gradient)
        quotients.append(product / gradient)
    return statistics.median(gradients), statistics.median(quotients)


def measure(case: Case, *, jit: bool, repeats: int) -> list[list[str]]:
    """Measure all kinds on one model; rows of the table."""
    case.model.compile(loss=case.loss)
    batches = adapt(case.x, case.y, float_dtype="float64")
    rows = []
    for kind in HVP_KINDS:
        objective, _ = build_objective(case.model, batches, settings=Settings(jit=jit), hvp=kind)
        gradient, quotient = ratios(objective, repeats)
        taken = str(objective.hvp_kind)
        how = "on" if jit else "off"
        rows.append([case.name, how, kind, taken, f"{1e3 * gradient:.2f}", f"{quotient:.2f}"])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    keras.config.set_floatx("float64")
    table = Table(title="Hessian-vector products, float64; medians")
    for heading in ("model", "XLA", "asked for", "taken", "gradient ms", "product / gradient"):
        table.add_column(heading, justify="right" if heading[-1] in "st" else "left")
    for make in (lambda: softmax(arguments.mnist), mlp, linear):
        for jit in (False, True):
            for row in measure(make(), jit=jit, repeats=arguments.repeats):
                table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
