"""What in-graph solvers cost, side by side with SciPy's and TensorFlow Probability's.

One run prints, all in float64 and as medians of repeated runs:

1. softmax regression on 20,000 handwritten digits from zeros, to relative gaps of 1e-5 and
   1e-8: seconds, evaluations, and seconds over (evaluations times the bare compiled loss
   and gradient), for our solvers, for SciPy by hand and for TFP's own `lbfgs_minimize`;
2. what one iteration costs on a linear model of 50 parameters;
3. what a Hessian product inside `native:newton-cg` costs, in bare gradients;
4. how long a first call takes, tracing and compiling included.

    python benchmarks/solvers.py --mnist mnist.npz

Without --mnist, Keras downloads the file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp
from cases import linear, mlp, softmax
from overhead import bare_function, time_bare
from rich.console import Console
from rich.table import Table

import kormos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cases import Case

GAPS = (1e-5, 1e-8)
LIMITS = {True: 20, False: 500}  # iterations, with Hessian products and without
TIGHT: dict[str, dict[str, Any]] = {  # so that nothing but the limit of iterations ends a solve
    "scipy:l-bfgs-b": {"ftol": 0.0, "gtol": 1e-14, "maxfun": 100_000},
    "scipy:newton-cg": {"xtol": 1e-16},
    "scipy:trust-ncg": {"gtol": 1e-14},
    "tfp:l-bfgs": {"tolerance": 1e-14},
    "native:lbfgs": {"ftol": 0.0, "gtol": 1e-14},
    "native:newton-cg": {"ftol": 0.0, "gtol": 1e-14},
    "native:trust-ncg": {"ftol": 0.0, "gtol": 1e-14},
}


@dataclass(frozen=True)
class Setting:
    """A model, its data on the device, and where to begin."""

    case: Case
    x: tf.Tensor
    y: tf.Tensor
    start: list[np.ndarray]

    @classmethod
    def of(cls, case: Case) -> Setting:
        case.model.compile(loss=case.loss)
        return cls(case, tf.constant(case.x), tf.constant(case.y), case.model.get_weights())

    @property
    def flat(self) -> np.ndarray:
        return np.concatenate([weight.ravel() for weight in self.start])

    def fit(self, solver: str, epochs: int, jit: Any = "auto") -> tuple[float, Any]:
        """Seconds and history of one fit from the start."""
        optimizer = kormos.BatchOptimizer(solver, options=TIGHT[solver], jit_compile=jit)
        self.case.model.set_weights(self.start)
        begin = time.perf_counter()
        history = kormos.fit(
            self.case.model, self.x, self.y, epochs=epochs, verbose=0, solver=optimizer
        )
        return time.perf_counter() - begin, history


def iterations_to(history: Any, best: float, gap: float) -> int | None:
    """Iterations until the loss is within the relative gap of the best one."""
    within = np.asarray(history.history["loss"]) <= best * (1.0 + gap)
    return int(np.argmax(within)) + 1 if within.any() else None


def timed(runs: list[Callable[[], None]], repeats: int) -> list[float]:
    """Median seconds of each of some runs, taken in turn."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for number, run in enumerate(runs):
            begin = time.perf_counter()
            run()
            seconds[number].append(time.perf_counter() - begin)
    return [statistics.median(column) for column in seconds]


def by_hand(function: Callable[..., Any], start: np.ndarray, maxiter: int) -> Any:
    """Run SciPy's L-BFGS-B on the bare function."""

    def evaluate(point: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = function(tf.constant(point))
        return float(loss), gradient.numpy()

    options = {"maxiter": maxiter, "ftol": 0.0, "gtol": 1e-14, "maxfun": 100_000}
    return scipy.optimize.minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)


def raw_tfp(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile TFP's own minimizer of the bare function, as its documentation shows."""

    @tf.function
    def solve(start: tf.Tensor, maxiter: tf.Tensor) -> Any:
        return tfp.optimizer.lbfgs_minimize(
            function, initial_position=start, tolerance=1e-14, max_iterations=maxiter
        )

    return solve


def softmax_tables(mnist: str | None, repeats: int) -> Iterator[Table]:
    """Time to a gap on the softmax, a table for each gap."""
    setting = Setting.of(softmax(mnist))
    function = bare_function(setting.case, jit=False)
    best = setting.fit("native:newton-cg", 12)[1].result.loss
    raw = raw_tfp(function)
    histories = {
        solver: setting.fit(solver, LIMITS["cg" in solver])[1]
        for solver in (
            "native:lbfgs",
            "scipy:l-bfgs-b",
            "tfp:l-bfgs",
            "native:newton-cg",
            "scipy:newton-cg",
        )
    }
    for gap in GAPS:
        bare = time_bare(function, setting.flat, 5)
        table = Table(
            title=f"softmax 20000x784x10 to f* (1 + {gap:.0e}), f* = {best:.12g}; "
            f"bare gradient {1e3 * bare:.1f} ms"
        )
        for heading in ("solver", "iterations", "evaluations", "products", "s", "ratio"):
            table.add_column(heading, justify="left" if heading == "solver" else "right")
        rows, runs = [], []
        for solver, history in histories.items():
            count = iterations_to(history, best, gap)
            if count is None:
                table.add_row(solver, "not reached", "", "", "", "")
                continue
            evals, products = (
                history.history[name][count - 1] for name in ("fg_evals", "hessp_evals")
            )
            rows.append((solver, count, evals, products))
            runs.append(lambda s=solver, c=count: setting.fit(s, c))
            if solver == "scipy:l-bfgs-b":
                result = by_hand(function, setting.flat, count)
                rows.append(("SciPy by hand", count, result.nfev, 0))
                runs.append(lambda c=count: by_hand(function, setting.flat, c))
            if solver == "tfp:l-bfgs":
                start, limit = tf.constant(setting.flat), tf.constant(count)
                total = int(raw(start, limit).num_objective_evaluations)
                rows.append(("lbfgs_minimize", count, total, 0))
                runs.append(lambda a=start, b=limit: raw(a, b))
        for row, seconds in zip(rows, timed(runs, repeats), strict=True):
            ratio = "" if row[-1] else f"{seconds / (row[2] * bare):.2f}"
            table.add_row(*map(str, row), f"{seconds:.2f}", ratio)
        yield table


def linear_table(repeats: int) -> Table:
    """Milliseconds of an iteration on the tiny model, and of a fit before its first."""
    table = Table(title="linear 1000x50: what one more iteration costs")
    headings = ("solver", "XLA", "iterations", "evaluations", "ms an iteration", "ms a fit", "|g|")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"solver", "XLA"} else "right")
    setting = Setting.of(linear())
    for solver, jit, few, many in (
        ("native:lbfgs", True, 20, 300),
        ("native:lbfgs", False, 20, 300),
        ("scipy:l-bfgs-b", False, 20, 300),
        ("scipy:l-bfgs-b", True, 20, 300),
        ("tfp:l-bfgs", True, 20, 100),
        ("native:newton-cg", True, 2, 8),
        ("native:trust-ncg", True, 2, 8),
    ):
        result = setting.fit(solver, many, jit)[1].result
        short, long = timed(
            [lambda e=epochs, s=solver, j=jit: setting.fit(s, e, j) for epochs in (few, many)],
            repeats,
        )
        spent = (long - short) / (result.num_iterations - few)
        cells = (str(result.num_iterations), str(result.fg_evals), f"{1e3 * spent:.3f}")
        fixed = 1e3 * (short - few * spent)
        table.add_row(solver, str(jit), *cells, f"{fixed:.1f}", f"{result.grad_norm:.1e}")
    return table


def product_table(mnist: str | None, repeats: int) -> Table:
    """Bare gradients that a product inside Newton-CG costs."""
    table = Table(title="a Hessian product inside native:newton-cg")
    for heading in ("model", "XLA", "iterations", "evaluations", "products", "s", "gradients"):
        table.add_column(heading, justify="left" if heading in {"model", "XLA"} else "right")
    for make, epochs in ((mlp, 12), (lambda: softmax(mnist), 8)):
        setting = Setting.of(make())
        for jit in (False, True):
            bare = bare_function(setting.case, jit=jit)
            result = setting.fit("native:newton-cg", epochs, jit)[1].result
            costs, seconds = [], []
            for _ in range(repeats):
                gradient = time_bare(bare, setting.flat, 5)
                spent, history = setting.fit("native:newton-cg", epochs, jit)
                result = history.result
                rest = spent - result.fg_evals * gradient
                costs.append(rest / result.hessp_evals / gradient)
                seconds.append(spent)
            cells = [result.num_iterations, result.fg_evals, result.hessp_evals]
            table.add_row(
                setting.case.name,
                str(jit),
                *map(str, cells),
                f"{statistics.median(seconds):.2f}",
                f"{statistics.median(costs):.2f}",
            )
    return table


def first_call_table() -> Table:
    """Seconds of a first fit of one iteration, on fresh models."""
    table = Table(title="first call on the tanh MLP 6x20: tracing, compiling, one iteration")
    for heading in ("solver", "XLA", "s"):
        table.add_column(heading, justify="right" if heading == "s" else "left")
    for solver, jit in (
        ("native:lbfgs", False),
        ("tfp:l-bfgs", False),
        ("native:lbfgs", True),
        ("tfp:l-bfgs", True),
        ("native:newton-cg", False),
        ("native:newton-cg", True),
        ("scipy:l-bfgs-b", False),
    ):
        seconds = statistics.median(Setting.of(mlp()).fit(solver, 1, jit)[0] for _ in range(3))
        table.add_row(solver, str(jit), f"{seconds:.2f}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", nargs="*", default=["softmax", "linear", "product", "first"], metavar="TABLE"
    )
    arguments = parser.parse_args()
    keras.config.set_floatx("float64")
    tables: dict[str, Callable[[], Iterable[Table]]] = {
        "first": lambda: [first_call_table()],
        "linear": lambda: [linear_table(arguments.repeats)],
        "product": lambda: [product_table(arguments.mnist, arguments.repeats)],
        "softmax": lambda: softmax_tables(arguments.mnist, arguments.repeats),
    }
    for name, make in tables.items():
        if name in arguments.only:
            for table in make():
                Console(width=110).print(table)


if __name__ == "__main__":
    main()
