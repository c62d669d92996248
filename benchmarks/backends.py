"""What a fit costs on each of Keras's backends, beside what their users write by hand.

One run prints, for each backend that is installed, all in float64 and as medians of runs
that take turns:

1. for a softmax regression and a tanh network: seconds of `native:lbfgs` and of
   `scipy:l-bfgs-b`, on torch also by `torch.compile` (`jit_compile=True`), and these over
   (evaluations times the bare loss and gradient), which are measured before each fit; they
   are written in torch and JAX alone, where Keras rounds float64, and on Keras on TensorFlow;
2. seconds to a relative gap of the softmax's minimum, for `native:lbfgs`, SciPy by hand
   on the backend's function with BLAS held to one thread, and the backend's own solver:
   `optax.lbfgs` in one compiled loop, `torch.optim.LBFGS` with its strong-Wolfe search,
   TensorFlow Probability's `lbfgs_minimize`; and as the floor of each its evaluations
   times the bare loss and gradient.

Each backend has a process of its own.

    python benchmarks/backends.py --mnist mnist.npz

Without --mnist, Keras downloads the file.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from cases import Case

BACKENDS = ("tensorflow", "jax", "torch")
FITS = ("native:lbfgs", "scipy:l-bfgs-b")
JIT = " by torch.compile"
TIGHT = {"ftol": 0.0, "gtol": 1e-14, "maxfun": 100_000}  # only iterations end a solve
PAIRS = 10  # of L-BFGS, for everyone


class Setting:
    """A model on the backend of this process, its data on the device, where to begin."""

    def __init__(self, case: Case) -> None:
        import keras
        import numpy as np

        self.case = case
        self.x, self.y = (keras.ops.convert_to_tensor(data) for data in (case.x, case.y))
        self.start = case.model.get_weights()
        self.flat = np.concatenate([weight.ravel() for weight in self.start])
        self.peers = importlib.import_module(f"on_{keras.config.backend()}")
        case.model.compile(loss=case.loss)
        self.loss = self.peers.by_hand(case)
        self.function = self.peers.bare(self.loss)
        by_hand = float(self.function(self.peers.tensor(self.flat))[0])
        by_keras = case.model.evaluate(case.x, case.y, batch_size=len(case.x), verbose=0)
        if abs(by_hand - by_keras) > 1e-5 * by_keras:
            raise SystemExit(f"the loss by hand is {by_hand}, and that of Keras {by_keras}")

    @property
    def fits(self) -> tuple[str, ...]:
        """The fits to measure; where nothing is compiled, also such that are, as one may ask."""
        return FITS + tuple(name + JIT for name in FITS if self.peers.COMPILES_ON_REQUEST)

    def bare_seconds(self, calls: int) -> float:
        """Seconds of one bare loss and gradient on the device."""
        point = self.peers.tensor(self.flat)
        self.peers.wait(self.function(point))
        seconds = []
        for _ in range(5):
            begin = time.perf_counter()
            for _ in range(calls):
                self.peers.wait(self.function(point))
            seconds.append((time.perf_counter() - begin) / calls)
        return statistics.median(seconds)

    def fit(self, solver: str, epochs: int) -> tuple[float, Any]:
        """Seconds and history of one fit from the start."""
        import kormos

        name, compiled = solver.removesuffix(JIT), solver.endswith(JIT)
        optimizer = kormos.BatchOptimizer(
            name, options={**TIGHT, "maxcor": PAIRS}, jit_compile=compiled or None
        )
        self.case.model.set_weights(self.start)
        begin = time.perf_counter()
        history = kormos.fit(
            self.case.model, self.x, self.y, epochs=epochs, verbose=0, solver=optimizer
        )
        return time.perf_counter() - begin, history


def ratios(setting: Setting, repeats: int) -> Iterator[dict[str, Any]]:
    """Measure fits of a given number of iterations over their bare evaluations."""
    calls = max(5, int(0.5 / setting.bare_seconds(3)))
    rows = {}
    for solver in setting.fits:
        first, history = setting.fit(solver, setting.case.epochs)
        rows[solver] = {"first": first, "result": history.result, "seconds": [], "ratios": []}
    bare = []
    for _ in range(repeats):
        for solver, row in rows.items():
            bare.append(setting.bare_seconds(calls))
            seconds, history = setting.fit(solver, setting.case.epochs)
            row["seconds"].append(seconds)
            row["ratios"].append(seconds / (history.result.fg_evals * bare[-1]))
    for solver, row in rows.items():
        result = row["result"]
        yield {
            "what": f"{setting.case.name}, {result.num_iterations} iterations",
            "solver": solver,
            "bare ms": 1e3 * statistics.median(bare),
            "evaluations": result.fg_evals,
            "s": statistics.median(row["seconds"]),
            "ratio": statistics.median(row["ratios"]),
            "first s": row["first"],
        }


def to_gap(setting: Setting, gap: float, repeats: int) -> Iterator[dict[str, Any]]:
    """Measure the seconds to a relative gap of the minimum."""
    import numpy as np

    losses = {solver: setting.fit(solver, 500)[1].history["loss"] for solver in setting.fits}
    best = min(map(min, losses.values()))
    target = best * (1.0 + gap)
    runs: dict[str, Callable[[], tuple[float, int]]] = {}
    for solver in setting.fits:
        count = int(np.argmax(np.asarray(losses[solver]) <= target)) + 1
        runs[solver] = lambda s=solver, c=count: measured(setting.fit(s, c))
    runs["SciPy by hand"] = lambda: by_hand(setting, target)
    runs |= setting.peers.rivals(setting.loss, setting.flat, target, PAIRS)
    for run in runs.values():
        run()  # compiles
    bare, seconds = [], {name: [] for name in runs}
    evaluations = {}
    for _ in range(repeats):
        bare.append(setting.bare_seconds(5))
        for name, run in runs.items():
            spent, evaluations[name] = run()
            seconds[name].append(spent)
    per_evaluation = statistics.median(bare)
    for name in runs:
        spent = statistics.median(seconds[name])
        floor = evaluations[name] * per_evaluation
        yield {
            "what": f"{setting.case.name} to f* (1 + {gap:.0e}), f* = {best:.12g}",
            "solver": name,
            "bare ms": 1e3 * per_evaluation,
            "evaluations": evaluations[name],
            "s": spent,
            "ratio": spent / floor,
            "first s": None,
        }


def measured(fit: tuple[float, Any]) -> tuple[float, int]:
    """Return seconds and evaluations of a fit."""
    seconds, history = fit
    return seconds, history.result.fg_evals


class ReachedError(Exception):
    """The loss is low enough."""


def by_hand(setting: Setting, target: float) -> tuple[float, int]:
    """Run SciPy's L-BFGS-B on the bare function until a loss, BLAS held to one thread."""
    import scipy.optimize
    from threadpoolctl import threadpool_limits

    evaluations = 0

    def evaluate(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal evaluations
        evaluations += 1
        loss, gradient = setting.function(setting.peers.tensor(point))
        if float(loss) <= target:
            raise ReachedError
        return float(loss), setting.peers.array(gradient)

    options = {"maxiter": 10_000, "ftol": 0.0, "gtol": 0.0, "maxfun": 10_000, "maxcor": PAIRS}
    begin = time.perf_counter()
    try:
        with threadpool_limits(1, user_api="blas"):
            scipy.optimize.minimize(
                evaluate, setting.flat, jac=True, method="L-BFGS-B", options=options
            )
    except ReachedError:
        return time.perf_counter() - begin, evaluations
    raise SystemExit("SciPy by hand did not reach the loss")


def measure(arguments: argparse.Namespace) -> None:
    """Measure on the backend of this process; a line of JSON for each row."""
    import keras
    from cases import mlp, softmax

    keras.config.set_floatx("float64")
    for make in (lambda: softmax(arguments.mnist), mlp):
        setting = Setting(make())
        for row in ratios(setting, arguments.repeats):
            print(json.dumps(row), flush=True)
        if setting.case.name.startswith("softmax"):
            for row in to_gap(setting, arguments.gap, arguments.repeats):
                print(json.dumps(row), flush=True)


def rows_of(backend: str) -> list[dict[str, Any]]:
    """Measure in a process that runs on a backend."""
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "JAX_ENABLE_X64": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [sys.executable, *sys.argv, "--here"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> None:
    """Print a table for each backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gap", type=float, default=1e-5, help="relative gap of the minimum")
    parser.add_argument("--only", nargs="*", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments)
        return
    from rich.console import Console
    from rich.table import Table

    for backend in arguments.only:
        if importlib.util.find_spec(backend) is None:
            print(f"{backend} is not installed")
            continue
        table = Table(title=f"{backend}, float64; medians of {arguments.repeats} turns")
        for heading in ("what", "solver", "bare ms", "evaluations", "s", "ratio", "first s"):
            table.add_column(heading, justify="left" if heading in {"what", "solver"} else "right")
        before = None
        for row in rows_of(backend):
            cells = [f"{v:.3g}" if isinstance(v, float) else str(v or "") for v in row.values()]
            cells[0] = "" if row["what"] == before else cells[0]
            before = row["what"]
            table.add_row(*cells)
        Console(width=130).print(table)


if __name__ == "__main__":
    main()
