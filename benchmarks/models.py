"""Every kind of model that the laws of the objective are tested on, by every in-graph solver.

One run prints, for each model of `tests/models.py` and each solver, the loss and gradient
norm that it ends with, beside those of `scipy:l-bfgs-b`. A solver has reached the optimum
where its loss is no more than 1e-8 (relative) above SciPy's; models that are not convex have
more than one, and then a gradient norm near zero tells a minimum of its own.

    python benchmarks/models.py
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import keras
import numpy as np
from models import ZOO, floatx, make
from rich.console import Console
from rich.table import Table

import kormos
from kormos_core.errors import CurvatureWarning

SOLVERS = {
    "scipy:l-bfgs-b": {"ftol": 0.0, "gtol": 1e-9, "maxfun": 100_000},
    "native:lbfgs": {"ftol": 0.0, "gtol": 1e-9},
    "native:newton-cg": {"ftol": 0.0, "gtol": 1e-9},
    "native:trust-ncg": {"ftol": 0.0, "gtol": 1e-9},
    "tfp:l-bfgs": {"tolerance": 1e-9},
}


def train(name: str, solver: str, epochs: int):
    """Fit one model from its own weights; the result, or what went wrong."""
    case = make(name)
    optimizer = kormos.BatchOptimizer(solver, options=SOLVERS[solver])
    try:
        with floatx("float64"), warnings.catch_warnings():
            warnings.simplefilter("ignore", CurvatureWarning)
            history = kormos.fit(
                case.model,
                case.x,
                case.y,
                sample_weight=case.sample_weight,
                epochs=epochs,
                verbose=0,
                solver=optimizer,
            )
    except Exception as error:  # noqa: BLE001 - a row of the table says so
        return f"{type(error).__name__}: {str(error)[:60]}"
    return history.result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--only", nargs="*", metavar="MODEL", help="models to train")
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), metavar="SOLVER")
    arguments = parser.parse_args()
    table = Table(title="loss above scipy:l-bfgs-b's, relative; float64")
    for heading in ("model", "solver", "status", "iterations", "loss", "|g|", "above SciPy's"):
        left = heading in {"model", "solver", "status"}
        table.add_column(heading, justify="left" if left else "right")
    reached = dict.fromkeys(arguments.solvers, 0)
    for name in arguments.only or sorted(ZOO):
        best = train(name, "scipy:l-bfgs-b", arguments.epochs)
        for solver in arguments.solvers:
            result = best if solver == "scipy:l-bfgs-b" else train(name, solver, arguments.epochs)
            keras.utils.clear_session()
            if isinstance(result, str) or isinstance(best, str):
                table.add_row(name, solver, str(result))
                continue
            above = (result.loss - best.loss) / max(abs(best.loss), 1e-12)
            reached[solver] += bool(above <= 1e-8 or result.grad_norm < 1e-6)
            row = (result.status.name, str(result.num_iterations), f"{result.loss:.10g}")
            table.add_row(name, solver, *row, f"{result.grad_norm:.1e}", f"{above:+.1e}")
            print(name, solver, *row, f"{result.grad_norm:.1e}", f"{above:+.1e}", flush=True)
    Console(width=120).print(table)
    total = len(arguments.only or ZOO)
    print(f"at SciPy's optimum or at a minimum of their own, of {total}: {reached}")
    print(f"NumPy {np.__version__}, Keras {keras.__version__}")


if __name__ == "__main__":
    main()
