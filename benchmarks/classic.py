"""How many evaluations solvers need on the classical test functions.

Each solver runs from the standard start of each function of Moré, Garbow and Hillstrom
until it can go no further. A function counts as solved where the least sum of squares found
is a published minimum f* up to

    f - f* <= 1e-8 f*              where f* > 0,
    f <= 1e-8 min(1, f(x0))        where f* = 0.

Of several published minima the one in question is the largest that is not above f; all but
the least are marked "local", though some are saddles or lie at infinity. "To target" is what
had been spent at the first iterate that came as close to it; "in all" is what the solve took
until its end.

    python benchmarks/classic.py --solvers scipy:l-bfgs-b,scipy:newton-cg --csv rows.csv
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from rich.console import Console
from rich.progress import track
from rich.table import Table

import kormos
from kormos_core.compare.classic import CLASSIC

TOLERANCE = 1e-8
MAXITER = 5000

# Tolerances that no solve meets before its rounding errors do; other solvers get none.
OPTIONS = {
    "native:lbfgs": {"gtol": 1e-12, "ftol": 0.0},
    "native:newton-cg": {"gtol": 1e-12, "ftol": 0.0},
    "native:trust-ncg": {"gtol": 1e-12, "ftol": 0.0},
    "scipy:l-bfgs-b": {"gtol": 1e-12, "ftol": 0.0, "maxfun": 100_000},
    "scipy:newton-cg": {"xtol": 1e-16},  # it knows no tolerance of the gradient
    "scipy:trust-ncg": {"gtol": 1e-12},
}

PAIRS = (
    ("native:lbfgs", "scipy:l-bfgs-b"),
    ("native:newton-cg", "scipy:newton-cg"),
    ("native:trust-ncg", "scipy:trust-ncg"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One solver on one function."""

    number: int
    function: str
    solver: str
    solved: bool = False
    minimum: float | None = None
    is_local: bool = False
    f: float | None = None
    evals_to_target: int | None = None
    products_to_target: int | None = None
    evals: int | None = None
    products: int | None = None
    iterations: int | None = None
    ending: str = ""

    @property
    def what(self) -> str:
        """What was found, in a word."""
        if self.f is None:
            return "error"
        if not self.solved:
            return f"f* {self.f - self.minimum:+.1e}"
        return "local" if self.is_local else "solved"


class Recorder(keras.callbacks.Callback):
    """Keeps the loss and the evaluations so far of each iterate."""

    def __init__(self):
        super().__init__()
        self.iterates = []

    def on_epoch_end(self, epoch, logs):
        del epoch
        self.iterates.append((logs["loss"], int(logs["fg_evals"]), int(logs["hessp_evals"])))


def allowance(minimum: float, start: float) -> float:
    """How far above a minimum counts as there; `start` is f(x0)."""
    return TOLERANCE * (minimum if minimum > 0 else min(1.0, start))


def minimum_below(minima: tuple[float, ...], f: float, start: float) -> float:
    """Find the largest published minimum that is not above `f`."""
    return max((m for m in minima if m - allowance(m, start) <= f), default=minima[0])


def solve(function, solver: str, maxiter: int) -> Row:
    """Run one solver on one function; an exception is a row of its own."""
    recorder = Recorder()
    known = {"number": function.number, "function": function.name, "solver": solver}
    try:
        result = kormos.minimize(
            function,
            function.x0,
            solver=solver,
            maxiter=maxiter,
            options=OPTIONS.get(solver),
            callbacks=[recorder],
        )
    except Exception as error:  # noqa: BLE001 - of any kind: the other rows count all the same
        return Row(**known, ending=f"{type(error).__name__}: {error}")
    start = float(function(keras.ops.convert_to_tensor(function.x0, dtype="float64")))
    known |= {
        "f": result.loss,
        "evals": result.fg_evals,
        "products": result.hessp_evals,
        "iterations": result.num_iterations,
        "ending": result.status.name,
    }
    minimum = known["minimum"] = minimum_below(function.minima, result.loss, start)
    target = minimum + allowance(minimum, start)
    if not minimum - allowance(minimum, start) <= result.loss <= target:  # NaN is not, either
        return Row(**known)
    end = (result.loss, result.fg_evals, result.hessp_evals)
    _, evals, products = next(it for it in [*recorder.iterates, end] if it[0] <= target)
    return Row(
        **known,
        solved=True,
        is_local=minimum != function.minima[0],
        evals_to_target=evals,
        products_to_target=products,
    )


def rows_table(rows: list[Row], solvers: list[str]) -> Table:
    """Every solve, by function."""
    table = Table(title="classical functions from their standard starts, float64")
    for heading in ("function", "solver", "found"):
        table.add_column(heading, no_wrap=True)
    for heading in ("evals to target", "in all", "products to target", "in all"):
        table.add_column(heading, justify="right")
    table.add_column("ending")
    for i, row in enumerate(rows):
        counts = (row.evals_to_target, row.evals, row.products_to_target, row.products)
        table.add_row(
            f"({row.number}) {row.function}" if i % len(solvers) == 0 else "",
            row.solver,
            row.what,
            *("" if count is None else str(count) for count in counts),
            row.ending,
            end_section=(i + 1) % len(solvers) == 0,
        )
    return table


def common(rows: list[Row], solvers: list[str]) -> list[list[Row]]:
    """Rows of each solver on the functions for which all found the same minimum."""
    by = {(row.solver, row.function): row for row in rows}
    groups = [[by[solver, function.name] for solver in solvers] for function in CLASSIC]
    return [g for g in groups if all(r.solved and r.minimum == g[0].minimum for r in g)]


def totals_table(rows: list[Row], solvers: list[str]) -> Table:
    """Functions solved by each solver, and its evaluations where all found the same."""
    groups = common(rows, solvers)
    table = Table(title=f"totals; evaluations over the {len(groups)} functions all solved alike")
    table.add_column("solver")
    for heading in ("solved", "of them local", "evaluations to target", "in all", "products"):
        table.add_column(heading, justify="right")
    for k, solver in enumerate(solvers):
        own = [row for row in rows if row.solver == solver and row.solved]
        same = [group[k] for group in groups]
        table.add_row(
            solver,
            f"{len(own)} of {len(CLASSIC)}",
            str(sum(row.is_local for row in own)),
            str(sum(row.evals_to_target for row in same)),
            str(sum(row.evals for row in same)),
            str(sum(row.products_to_target for row in same)),
        )
    return table


def pairs_table(rows: list[Row], solvers: list[str]) -> Table:
    """Each native solver against SciPy's of the same method."""
    table = Table(title="native / SciPy, to target, where both found the same minimum")
    table.add_column("pair")
    for heading in (
        "functions",
        "evaluations",
        "ratio of sums",
        "geometric mean",
        "with products",
        "fewer / same / more",
    ):
        table.add_column(heading, justify="right")
    for pair in PAIRS:
        groups = common(rows, list(pair)) if set(pair) <= set(solvers) else []
        if not groups:
            continue
        evals = [[row.evals_to_target for row in group] for group in groups]
        work = [[r.evals_to_target + r.products_to_target for r in group] for group in groups]
        first, second = (sum(column) for column in zip(*evals, strict=True))
        signs = [(a > b) - (a < b) for a, b in evals]
        table.add_row(
            " / ".join(pair),
            str(len(groups)),
            f"{first} / {second}",
            f"{first / second:.2f}",
            f"{geometric_mean(evals):.2f}",
            f"{geometric_mean(work):.2f}",
            " / ".join(str(signs.count(sign)) for sign in (-1, 0, 1)),
        )
    return table


def geometric_mean(pairs: list[list[int]]) -> float:
    """Geometric mean of the quotients."""
    return math.exp(sum(math.log(a / b) for a, b in pairs) / len(pairs))


def write_csv(path: str, rows: list[Row]) -> None:
    """Write the rows, one line each."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--solvers", default=",".join(OPTIONS), help="names, with commas between")
    parser.add_argument("--maxiter", type=int, default=MAXITER, help="most iterations of a solve")
    parser.add_argument("--csv", help="where the rows are written to")
    arguments = parser.parse_args()
    solvers = arguments.solvers.split(",")
    for solver in solvers:
        kormos.BatchOptimizer(solver)  # a wrong name is told before anything begins
    console = Console(width=150)
    todo = [(function, solver) for function in CLASSIC for solver in solvers]
    rows = [
        solve(function, solver, arguments.maxiter)
        for function, solver in track(todo, "solving", console=console, transient=True)
    ]
    console.print(rows_table(rows, solvers))
    console.print(totals_table(rows, solvers))
    pairs = pairs_table(rows, solvers)
    if pairs.row_count:
        console.print(pairs)
    if arguments.csv:
        write_csv(arguments.csv, rows)


if __name__ == "__main__":
    main()
