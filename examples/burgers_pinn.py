"""A physics-informed network for Burgers' equation: Adam first, L-BFGS after it.

    python examples/burgers_pinn.py [--seeds 0 1 2] [--reference burgers_shock.mat]

    u_t + u u_x = (0.01 / pi) u_xx,  -1 <= x <= 1,  0 <= t <= 1,
    u(0, x) = -sin(pi x),  u(t, -1) = u(t, 1) = 0

The problem, the network and the numbers of points are those of M. Raissi, P. Perdikaris
and G. E. Karniadakis, "Physics-informed neural networks", J. Comput. Phys. 378, 2019,
doi:10.1016/j.jcp.2018.10.045. Errors are relative to a reference solution, in the 2-norm:
that of the paper, where --reference names its file, else the Cole-Hopf transformation.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib as mpl
import numpy as np
import rich
from keras import ops
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.io import loadmat
from scipy.stats.qmc import LatinHypercube

import kormos

mpl.use("agg")  # draws to a file; needs no screen
import matplotlib.pyplot as plt

VISCOSITY = 0.01 / np.pi
NUM_EDGE = 100  # points where u is known
STEPS = 10  # of Adam an epoch
SOLVER = "native:lbfgs"
# A long memory takes the place of a dense matrix, and costs little where an evaluation takes
# most of the time. The loss ends at 1e-6, where default tolerances would see no change.
OPTIONS = {"maxcor": 1000, "ftol": 0.0, "gtol": 1e-8}


class Reference(NamedTuple):
    """A solution: u[i, j] at x[i] and t[j]."""

    x: np.ndarray
    t: np.ndarray
    u: np.ndarray

    def of(self, model: keras.Model) -> np.ndarray:
        """Return what a network gives on the same grid."""
        x, t = np.meshgrid(self.x, self.t, indexing="ij")
        u = model(as_inputs(x.ravel(), t.ravel()))
        return ops.convert_to_numpy(u).reshape(self.u.shape)

    def error(self, model: keras.Model) -> float:
        """Return |u_network - u| / |u|."""
        return float(np.linalg.norm(self.of(model) - self.u) / np.linalg.norm(self.u))


def as_inputs(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return what the network takes: x and s = 2 t - 1, both in [-1, 1], as columns."""
    return np.stack([x, 2.0 * t - 1.0], axis=1)


def cole_hopf(x: np.ndarray, t: np.ndarray, num_nodes: int = 100) -> np.ndarray:
    """Solve the equation at points (x, t); the two are broadcast.

    The Cole-Hopf transformation makes it the heat equation, whose solution is an integral
    over a Gaussian: Gauss-Hermite quadrature takes that to rounding. See C. Basdevant et
    al., Comput. Fluids 14, 1986, doi:10.1016/0045-7930(86)90036-8.
    """
    nodes, weights = np.polynomial.hermite.hermgauss(num_nodes)
    y = x[..., None] - 2.0 * np.sqrt(VISCOSITY * t)[..., None] * nodes
    heat = weights * np.exp(-np.cos(np.pi * y) / (2.0 * np.pi * VISCOSITY))
    return -np.sum(np.sin(np.pi * y) * heat, axis=-1) / np.sum(heat, axis=-1)


def load_reference(path: Path | None) -> Reference:
    """Read the paper's solution, or compute one on the same grid."""
    if path is not None:
        data = loadmat(path)
        return Reference(data["x"].ravel(), data["t"].ravel(), data["usol"])
    x, t = np.linspace(-1.0, 1.0, 256), np.linspace(0.0, 0.99, 100)
    return Reference(x, t, cole_hopf(x[:, None], t[None, :]))


class Rows(NamedTuple):
    """Training data; a row is what is asked for at one point."""

    x: np.ndarray  # (rows, 2): the network's inputs
    y: np.ndarray  # (rows, 2): the value of u, and 1 where it is known, 0 inside
    sample_weight: np.ndarray  # (rows,): makes of the mean over rows the sum of two means


def draw_rows(seed: int, num_inside: int, edge_weight: float) -> Rows:
    """Draw points on the edge, where u is known, and inside, where the equation holds."""
    rng = np.random.default_rng(seed)
    place, side = rng.uniform(size=NUM_EDGE), rng.choice(3, NUM_EDGE, p=(0.5, 0.25, 0.25))
    x = np.choose(side, (2.0 * place - 1.0, -1.0, 1.0))
    t = np.where(side == 0, 0.0, place)
    u = np.where(side == 0, -np.sin(np.pi * x), 0.0)
    edge = np.stack([u, np.ones(NUM_EDGE)], axis=1)
    inside = LatinHypercube(2, rng=rng).random(num_inside)
    points = np.concatenate([as_inputs(x, t), as_inputs(2.0 * inside[:, 0] - 1.0, inside[:, 1])])
    targets = np.concatenate([edge, np.zeros((num_inside, 2))])
    weights = np.where(targets[:, 1] > 0.0, edge_weight / NUM_EDGE, 1.0 / num_inside)
    return Rows(points, targets, weights * len(points))


def derivatives(layers, x):
    """Return u, u_x, u_s and u_xx, each of shape (rows,), of tanh layers and a linear one.

    A layer passes them on by the chain rule: where z = W h + b and a = tanh(z),
    a_x = (1 - a^2) z_x and a_xx = (1 - a^2) (z_xx - 2 a z_x^2). This is one pass forward,
    far cheaper than to differentiate the network backwards twice.
    """
    u = ops.transpose(x)  # units by rows, which multiplies faster than rows by units
    u_xx = ops.zeros_like(u)
    u_x, u_s = ops.add(u_xx, [[1.0], [0.0]]), ops.add(u_xx, [[0.0], [1.0]])
    for layer in layers:
        kernel = ops.transpose(layer.kernel)
        u, u_x, u_s, u_xx = (ops.matmul(kernel, h) for h in (u, u_x, u_s, u_xx))
        u = u + layer.bias[:, None]
        if layer is not layers[-1]:
            u = ops.tanh(u)
            slope = 1.0 - u * u
            u_xx = slope * (u_xx - 2.0 * u * u_x * u_x)
            u_x, u_s = slope * u_x, slope * u_s
    return u[0], u_x[0], u_s[0], u_xx[0]


class BurgersNetwork(kormos.BatchOptimizedSequentialModel):
    """u(x, s), whose loss tells how badly it satisfies the equation and its edge."""

    # Keras's signature; `derivatives` makes y_pred once more
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # noqa: ARG002, FBT002
        """Return a mean over rows, so that rows may come in batches; u_t = 2 u_s."""
        u, u_x, u_s, u_xx = derivatives(self.layers, x)
        residual = 2.0 * u_s + u * u_x - VISCOSITY * u_xx
        error = ops.where(y[:, 1] > 0.0, u - y[:, 0], residual)
        return ops.mean(sample_weight * error**2)


def build_model(seed: int) -> BurgersNetwork:
    """Make the paper's network: 8 hidden layers of 20 units, 3,021 parameters."""
    keras.utils.set_random_seed(seed)
    dense = [
        keras.layers.Dense(20, activation="tanh", kernel_initializer="glorot_normal")
        for _ in range(8)
    ]
    last = keras.layers.Dense(1, kernel_initializer="glorot_normal")
    return BurgersNetwork([keras.Input((2,)), *dense, last])


class ErrorTrace(keras.callbacks.Callback):
    """Note the error every so many epochs; of a solver, an epoch is an iteration."""

    def __init__(self, reference: Reference, every: int) -> None:
        super().__init__()
        self.reference, self.every = reference, every
        self.sweeps: list[float] = []
        self.errors: list[float] = []

    def on_train_begin(self, logs=None):  # noqa: ARG002 - Keras's signature
        self.note(0)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            self.note(logs.get("fg_evals", epoch + 1))

    def note(self, sweeps: float) -> None:
        self.sweeps.append(sweeps)
        self.errors.append(self.reference.error(self.model))


class Phase(NamedTuple):
    """How one optimizer went."""

    sweeps: list[float]  # over the data
    losses: list[float]  # after them
    trace: ErrorTrace
    error: float  # in the end
    seconds: float  # compilation included
    result: kormos.Result | None  # of a solver


def train(model, rows: Rows, reference: Reference, optimizer, epochs: int, *, jit: bool) -> Phase:
    """Train by one of Keras's optimizers in minibatches, or by a solver on all rows at once."""
    begin = time.perf_counter()
    trace = ErrorTrace(reference, -(-epochs // 40))
    minibatches = not isinstance(optimizer, kormos.BatchOptimizer)
    model.compile(
        optimizer=optimizer,
        steps_per_execution=1 if minibatches else trace.every,
        jit_compile=jit,
    )
    history = model.fit(
        **rows._asdict(),
        batch_size=-(-len(rows.x) // STEPS) if minibatches else None,
        epochs=epochs,
        callbacks=[trace],
        verbose=0,
    )
    return Phase(
        sweeps=history.history.get("fg_evals", [*range(1, epochs + 1)]),
        losses=history.history["loss"],
        trace=trace,
        error=reference.error(model),
        seconds=time.perf_counter() - begin,
        result=getattr(history, "result", None),
    )


class Run(NamedTuple):
    """What one seed came to."""

    seed: int
    model: BurgersNetwork
    adam: Phase
    solver: Phase
    alone: Phase | None  # Adam in the solver's place


def run(seed: int, reference: Reference, arguments: argparse.Namespace, *, alone: bool) -> Run:
    """Train one network by Adam, and go on by the solver from where Adam ended."""
    rows = draw_rows(seed, arguments.collocation, arguments.edge_weight)
    model, twin = build_model(seed), build_model(seed)
    optimizer, jit = keras.optimizers.Adam(1e-3), arguments.jit
    adam = train(model, rows, reference, optimizer, arguments.epochs, jit=jit)
    twin.set_weights(model.get_weights())
    optimizer = kormos.BatchOptimizer(SOLVER, options=OPTIONS)
    solver = train(model, rows, reference, optimizer, arguments.iterations, jit=jit)
    print(f"seed {seed}: error {solver.error:.2e}. {solver.result}", flush=True)
    more = None
    if alone:
        sweeps = int(solver.sweeps[-1])
        more = train(twin, rows, reference, keras.optimizers.Adam(1e-3), sweeps, jit=jit)
        print(f"seed {seed}, Adam alone: error {more.error:.2e}, {more.seconds:.0f} s", flush=True)
    return Run(seed, model, adam, solver, more)


def tabulate(runs: list[Run]) -> Table:
    """Make the table of all seeds, and of the medians of its columns."""
    columns = {
        "Adam\ns": ("{:.0f}", [run.adam.seconds for run in runs]),
        "\nloss": ("{:.1e}", [run.adam.losses[-1] for run in runs]),
        "\nerror": ("{:.1e}", [run.adam.error for run in runs]),
        "solver\ns": ("{:.0f}", [run.solver.seconds for run in runs]),
        "itera-\ntions": ("{:.0f}", [run.solver.result.num_iterations for run in runs]),
        "evalua-\ntions": ("{:.0f}", [run.solver.result.fg_evals for run in runs]),
        "\nloss ": ("{:.2e}", [run.solver.result.loss for run in runs]),
        "\n|g|": ("{:.1e}", [run.solver.result.grad_norm for run in runs]),
        "\nerror ": ("{:.2e}", [run.solver.error for run in runs]),
    }
    table = Table("\nseed", box=SIMPLE_HEAD, padding=0)  # fits into 80 columns
    for name in columns:
        table.add_column(name, justify="right")
    for at, one in enumerate(runs):
        cells = [form.format(values[at]) for form, values in columns.values()]
        table.add_row(str(one.seed), *cells, end_section=one is runs[-1])
    table.add_row("median", *(form.format(np.median(v)) for form, v in columns.values()))
    return table


def draw(shown: Run, runs: list[Run], reference: Reference, path: Path) -> None:
    """Draw one run's solution, slices of it beside the reference, and how all runs went."""
    figure = plt.figure(figsize=(10.0, 8.4), layout="constrained")
    axes = figure.subplot_mosaic(
        [["field"] * 6, [*"aabbcc"], ["losses"] * 3 + ["errors"] * 3],
        height_ratios=(1.0, 0.9, 1.2),
    )
    u = reference.of(shown.model)
    limits = {"vmin": -1.0, "vmax": 1.0, "cmap": "RdBu_r"}
    image = axes["field"].pcolormesh(reference.t, reference.x, u, shading="gouraud", **limits)
    axes["field"].set(xlabel="t", ylabel="x", title=f"u(t, x) of the network, seed {shown.seed}")
    figure.colorbar(image, ax=axes["field"], pad=0.01)
    for name, t in zip("abc", (0.25, 0.5, 0.75), strict=True):
        at = int(np.argmin(np.abs(reference.t - t)))
        axes["field"].axvline(t, color="black", linewidth=0.8, linestyle=":")
        axes[name].plot(
            reference.x, reference.u[:, at], "tab:blue", linewidth=3, label="reference"
        )
        axes[name].plot(reference.x, u[:, at], "tab:red", linestyle="--", label="network")
        axes[name].set(xlabel="x", title=f"t = {reference.t[at]:.2f}", ylim=(-1.1, 1.1))
    axes["a"].set_ylabel("u")
    axes["a"].legend(loc="lower left", frameon=False)
    draw_progress(axes["losses"], axes["errors"], runs)
    figure.savefig(path, dpi=120)


def draw_progress(losses: plt.Axes, errors: plt.Axes, runs: list[Run]) -> None:
    """Draw losses and errors of all runs against sweeps over the data."""
    for run in runs:
        begin = run.adam.sweeps[-1]
        phases = [("Adam", "tab:blue", 0, run.adam), (SOLVER, "tab:red", begin, run.solver)]
        if run.alone is not None:
            phases.append((f"Adam alone, seed {run.seed}", "tab:gray", begin, run.alone))
        for name, color, at, phase in phases:
            style = {"color": color, "linewidth": 1.2, "label": name}
            losses.plot(np.add(phase.sweeps, at), phase.losses, **style)
            errors.plot(np.add(phase.trace.sweeps, at), phase.trace.errors, **style)
    for axes, name in ((losses, "loss"), (errors, "relative error")):
        axes.set(xlabel="sweeps over the data", title=name, yscale="log")
        axes.grid(visible=True, alpha=0.3)
    lines = {line.get_label(): line for line in losses.get_lines()}  # one for all runs
    losses.legend(lines.values(), lines, frameon=False)


def parse() -> argparse.Namespace:
    """Read the command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0], help="a run for each")
    add("--reference", type=Path, help="the paper's burgers_shock.mat")
    add("--picture", type=Path, default=Path("burgers_pinn.png"))
    add("--epochs", type=int, default=100, help="of Adam")
    add("--iterations", type=int, default=2000, help="of the solver")
    add("--collocation", type=int, default=10_000, help="points inside")
    add("--edge-weight", type=float, default=10.0, help="of the edge's part of the loss")
    add("--jit", action=argparse.BooleanOptionalAction, default=True, help="compile by XLA")
    add("--adam-alone", action="store_true", help="also let Adam go on, with the first seed")
    return parser.parse_args()


def main() -> list[Run]:
    """Train a network for each seed, print the table, draw the picture."""
    arguments = parse()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    reference = load_reference(arguments.reference)
    begin = time.perf_counter()
    runs = [
        run(seed, reference, arguments, alone=arguments.adam_alone and seed == arguments.seeds[0])
        for seed in arguments.seeds
    ]
    rich.print(tabulate(runs), f"{time.perf_counter() - begin:.0f} s in all")
    shown = sorted(runs, key=lambda run: run.solver.error)[len(runs) // 2]
    draw(shown, runs, reference, arguments.picture)
    print(f"picture: {arguments.picture}")
    return runs


if __name__ == "__main__":
    runs = main()
