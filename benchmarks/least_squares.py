"""Solvers for least squares beside those for any loss, on networks, in float64.

One run prints

1. for a regression and for a physics-informed network (`least_squares_cases.py`), to each of
   three losses: iterations, evaluations, Hessian products and seconds of Levenberg-Marquardt,
   SciPy's least squares, L-BFGS, truncated Newton methods with Gauss-Newton products, and
   Adam. `levels.py` says how that is measured. All begin at the same weights and take turns
   seed by seed; figures are medians over the seeds, where one that did not come to the
   loss in the limit of time counts as more than the rest; "only" says how low the fits came
   then. Adam's iterations and evaluations are sweeps over the data. "first" is the first fit,
   of one iteration or one call: tracing, compiling, and for solvers of least squares the
   statistics of the fit. SciPy's trace the Jacobian in every fit, which is in their seconds.
2. on the same networks what an iteration is made of: a gradient, a Gauss-Newton product, the
   normal equations, a triangular factor, beside the bare product J'J and a Cholesky
   factorization of its size;
3. the peak memory of two iterations of Levenberg-Marquardt over data of 1, 5 and 20 batches,
   above that of a process that only makes model and solver: as a stream, whose batches are
   made as they are read, and as arrays.

    python benchmarks/least_squares.py

With --quick everything is small and done once, to see that it runs; the figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from least_squares_cases import friedman, physics, tanh_layers
from levels import Solver, SolverFit, tuned_adam
from memory import peak
from rich.console import Console
from rich.table import Table

import kormos
from kormos_core.data import adapt
from kormos_core.objective import Settings, build_objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from least_squares_cases import Problem
    from levels import Run

ENDLESS = {"ftol": 0.0, "gtol": 1e-14}  # so that nothing but the level ends a solve
LM = {"ftol": 0.0, "xtol": 0.0, "gtol": 0.0}
NONE = {"ftol": None, "xtol": None, "gtol": 1e-15}
SOLVERS = (
    Solver(
        name="native:levenberg-marquardt",
        told="cholesky",
        options={**LM, "linear_solver": "cholesky"},
    ),
    Solver(name="native:levenberg-marquardt", told="cg", options={**LM, "linear_solver": "cg"}),
    Solver(name="scipy:least-squares-trf", options={**NONE, "tr_solver": "exact"}),
    Solver(name="native:lbfgs", options=ENDLESS, steps=50),
    Solver(name="native:lbfgs", told="maxcor 100", options={**ENDLESS, "maxcor": 100}, steps=50),
    Solver(name="native:newton-cg", options=ENDLESS, hvp="gauss-newton", steps=5),
    Solver(name="native:trust-ncg", options=ENDLESS, hvp="gauss-newton", steps=5),
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    regression: Problem
    physics: Problem
    limit: float  # seconds until a level counts as not reached
    seeds: int
    adam: tuple[tuple[int, float], ...]  # batch sizes and learning rates to choose from
    batch_size: int  # rows of the data whose memory is measured
    batches: tuple[int, ...]
    solvers: tuple[Solver, ...] = SOLVERS
    memory: tuple[tuple[str, str], ...] = tuple(product(("stream", "arrays"), ("cholesky", "qr")))


def full() -> Scale:
    return Scale(
        regression=friedman(4000, 3, 20, (1e-2, 1e-3, 1e-4)),
        physics=physics(1000, 100, 20, (1e-3, 1e-5, 1e-7)),
        limit=10.0,
        seeds=3,
        adam=tuple((size, rate) for size in (32, 256) for rate in (1e-3, 3e-3, 1e-2)),
        batch_size=10_000,
        batches=(1, 5, 20),
    )


def quick() -> Scale:
    return Scale(
        regression=friedman(200, 1, 4, (0.3,)),
        physics=physics(60, 10, 4, (0.1,)),
        limit=1.0,
        seeds=1,
        adam=((32, 1e-2),),
        batch_size=1000,
        batches=(1, 2),
        solvers=(SOLVERS[0], *SOLVERS[2:4]),
        memory=(("stream", "cholesky"),),
    )


def level_tables(problem: Problem, scale: Scale) -> Iterator[Table]:
    """Time to each loss, a table for each."""
    starts = [problem.build(seed).get_weights() for seed in range(scale.seeds)]
    adam, search_s = tuned_adam(problem, starts[0], scale.adam, scale.limit / 2.0)
    fits = [*(SolverFit(problem, solver, starts[0]) for solver in scale.solvers), adam]
    turns = [[fit.run(start, scale.limit) for fit in fits] for start in starts]
    size = sum(weight.size for weight in starts[0])
    for number, level in enumerate(problem.levels):
        table = Table(
            title=f"{problem.name}, {size:,} parameters, {len(problem.x):,} rows, to {level:.0e}",
            caption=f"limit {scale.limit:g} s; "
            f"Adam: the best of {len(scale.adam)}, found in {search_s:.0f} s",
        )
        for heading in (
            "solver",
            "reached",
            "iterations",
            "evaluations",
            "products",
            "s",
            "first",
        ):
            table.add_column(heading, justify="left" if heading == "solver" else "right")
        if problem.error is not None:
            table.add_column("error", justify="right")
        for place, fit in enumerate(fits):
            cells = level_row([turn[place] for turn in turns], number)
            cells.insert(5, f"{fit.first_s:.1f}")
            table.add_row(fit.label, *cells[: len(table.columns) - 1])
        yield table


def level_row(runs: list[Run], number: int) -> list[str]:
    """How many runs came to a level, and medians of what it took."""
    reaches = [run.reaches[number] for run in runs]
    come = [reach for reach in reaches if reach is not None]
    told, middle = f"{len(come)} of {len(runs)}", (len(runs) - 1) // 2
    if len(come) <= middle:  # one that did not come is above the rest
        lowest = statistics.median(run.lowest for run in runs)
        return [told, "", "", "", f"only {lowest:.1e}", ""]

    def median(name: str) -> float:
        return float(sorted(getattr(reach, name) for reach in come)[middle])

    counts = (f"{median(name):.0f}" for name in ("iterations", "evaluations", "products"))
    error = "" if come[0].error is None else f"{median('error'):.1e}"
    return [told, *counts, f"{median('seconds'):.2f}", error]


def pieces_table(problems: Iterable[Problem], repeats: int) -> Table:
    """Milliseconds of what an iteration of Levenberg-Marquardt is made of."""
    table = Table(title=f"milliseconds of one; medians of {repeats}")
    pieces: dict[str, Callable[..., object]] = {
        "gradient": lambda graph, x: graph.value_and_grad(x)[1],
        "GN product": lambda graph, x: graph.gauss_newton_at(x)(x),
        "normal equations": lambda graph, x: graph.normal_equations(x).matrix,
        "triangle": lambda graph, x: graph.triangle(x).matrix,
    }
    for heading in ("network", *pieces, "bare J'J", "bare Cholesky"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for problem in problems:
        model = problem.build(0)
        problem.compile(model)
        batches = adapt(problem.x, problem.y, problem.sample_weight, float_dtype="float64")
        objective, _ = build_objective(model, batches, settings=Settings(), jit=False)
        start = objective.program.layout.read()
        objective.prepare_residuals(start)
        x = tf.constant(start)
        runs = [partial(objective.compile(piece, name), x) for name, piece in pieces.items()]
        rows = tf.constant(np.random.default_rng(0).normal(size=(len(problem.x), start.size)))
        runs.append(partial(tf.matmul, rows, rows, transpose_a=True))
        runs.append(partial(tf.linalg.cholesky, runs[-1]() + np.eye(start.size)))
        cells = (f"{1e3 * seconds:.1f}" for seconds in timed(runs, repeats))
        table.add_row(f"{problem.name}, {len(problem.x):,} rows", *cells)
    return table


def timed(runs: list[Callable[[], tf.Tensor]], repeats: int) -> list[float]:
    """Median seconds of each of some runs, taken in turn after a first that does not count."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for column, run in zip(seconds, runs, strict=True):
            begin = time.perf_counter()
            run().numpy()
            column.append(time.perf_counter() - begin)
    return [statistics.median(column[1:]) for column in seconds]


WIDTH = 200  # of the data whose memory is measured
UNITS = {"cholesky": 4, "qr": 1}  # which have parameters in the numbers that each is meant for


def child(num_batches: int, batch_size: int, linear_solver: str, kind: str) -> None:
    """Take two iterations, or none without batches, and print the peak of the process, in MiB."""
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((WIDTH,)), *tanh_layers(1, UNITS[linear_solver])])
    optimizer = kormos.BatchOptimizer(
        "native:levenberg-marquardt", options={"linear_solver": linear_solver}
    )
    model.compile(optimizer=optimizer, loss="mse")

    def batches():
        for number in range(num_batches):
            x = np.random.default_rng(number).random((batch_size, WIDTH))
            yield x, np.sin(x[:, :5].sum(axis=1, keepdims=True))

    if num_batches and kind == "arrays":
        x, y = np.empty((num_batches * batch_size, WIDTH)), np.empty((num_batches * batch_size, 1))
        for number, pair in enumerate(batches()):
            place = slice(number * batch_size, (number + 1) * batch_size)
            x[place], y[place] = pair
        kormos.fit(model, x, y, batch_size=batch_size, epochs=2, verbose=0)
    elif num_batches:
        kinds = tuple(tf.TensorSpec((None, width), tf.float64) for width in (WIDTH, 1))
        stream = tf.data.Dataset.from_generator(batches, output_signature=kinds)
        options = tf.data.Options()
        options.autotune.enabled = False  # else tf.data reads batches ahead, and holds them
        kormos.fit(model, stream.with_options(options), epochs=2, verbose=0)
    # what getrusage tells begins with the peak of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    high = next(line for line in status if line.startswith("VmHWM"))
    print(f"PEAK {int(high.split()[1]) / 1024:.1f}")


def memory_table(scale: Scale, repeats: int) -> Table:
    """Peaks above that of a process without data."""
    batch = scale.batch_size * WIDTH * 8 / 2**20
    table = Table(
        title="peak memory, MiB, above a process without data",
        caption=f"a batch is {scale.batch_size:,} rows of {WIDTH} numbers, {batch:.0f} MiB",
    )
    for heading in ("data", "linear solver"):
        table.add_column(heading)
    for heading in ("parameters", "J of a batch", *(f"{n} x" for n in scale.batches)):
        table.add_column(heading, justify="right")
    table.add_column("last / first", justify="right")

    def measure(number: int, linear_solver: str, kind: str) -> float:
        how = ("--batch-size", str(scale.batch_size), "--linear-solver", linear_solver)
        return peak(__file__, number, repeats, *how, "--kind", kind)

    for kind, linear_solver in scale.memory:
        size = (WIDTH + 2) * UNITS[linear_solver] + 1
        empty = measure(0, linear_solver, kind)
        found = [measure(number, linear_solver, kind) - empty for number in scale.batches]
        cells = (f"{mib:.0f}" for mib in (scale.batch_size * size * 8 / 2**20, *found))
        table.add_row(kind, linear_solver, str(size), *cells, f"{found[-1] / found[0]:.2f}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--seeds", type=int, help="how many starts")
    parser.add_argument("--limit", type=float, help="seconds until a loss is not reached")
    parser.add_argument("--repeats", type=int, default=1, help="processes for a peak of memory")
    parts = ("regression", "physics", "pieces", "memory")
    parser.add_argument("--only", nargs="*", default=parts, choices=parts, metavar="PART")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--linear-solver", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child, arguments.batch_size, arguments.linear_solver, arguments.kind)
        return
    keras.config.set_floatx("float64")
    scale = quick() if arguments.quick else full()
    asked = {"seeds": arguments.seeds, "limit": arguments.limit}
    scale = replace(scale, **{name: value for name, value in asked.items() if value is not None})
    networks = (scale.regression, scale.physics)
    tables: dict[str, Callable[[], Iterable[Table]]] = {
        "regression": lambda: level_tables(scale.regression, scale),
        "physics": lambda: level_tables(scale.physics, scale),
        "pieces": lambda: [pieces_table(networks, 1 if arguments.quick else 5)],
        "memory": lambda: [memory_table(scale, arguments.repeats)],
    }
    for name, make in tables.items():
        if name in arguments.only:
            for table in make():
                Console(width=140).print(table)


if __name__ == "__main__":
    main()
