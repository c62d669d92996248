"""Objectives that count their evaluations as they run, and a host for the loop.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kormos_core.objective import Rows
from kormos_optimistix.specs import SPECS

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiling is most of the time of these tests."""


class Graph:
    """A function as `GraphObjective`; it counts where it runs, not where it is traced."""

    def __init__(self, f, x0, *, r=None, epsilon=2.2e-16):
        self.f, self.r = f, r
        self.x0 = np.array(x0, dtype=float)
        self.size = self.x0.size
        self.epsilon = epsilon
        self.num_traces = 0
        self._count = 0

    def value(self, x):
        self.num_traces += 1
        jax.debug.callback(self._take_note)
        return self.f(x)

    def value_and_grad(self, x):
        self.value(x)
        return jax.value_and_grad(self.f)(x)

    def residuals_and_jacobian(self, x, num_residuals):
        self.num_traces += 1
        jax.debug.callback(self._take_note)
        assert num_residuals == self.r(x).size
        return Rows(self.r(x), jax.jacfwd(self.r)(x))

    def _take_note(self):
        self._count += 1

    @property
    def count(self):
        jax.effects_barrier()
        return self._count


class Host:
    """What runs the loop."""

    bounds = None
    memory = None

    def __init__(self, graph, room, cache):
        self.graph, self.room, self.cache = graph, room, cache
        self.num_residuals = None if graph.r is None else graph.r(graph.x0).size
        self.chunks = []

    def prepare(self, x):
        return self.room

    def compile(self, function, key):
        if key not in self.cache:
            traced = functools.partial(function, self.graph)
            self.cache[key] = jax.jit(traced, compiler_options=QUICK)
        return self.cache[key]

    def report(self, chunk):
        self.chunks.append(chunk)

    @property
    def losses(self):
        return np.concatenate([chunk.losses for chunk in self.chunks])

    @property
    def num_fg(self):
        return sum(chunk.num_fg for chunk in self.chunks)


def bowl(shift=0.0, n=4):
    """Make a rotated bowl of condition 100 whose minimum is `shift`, at linspace(-1, 1)."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    matrix = jnp.array(rotation * np.geomspace(1, 100, n) @ rotation.T)
    center = jnp.linspace(-1, 1, n)

    def f(x):
        away = x - center
        return 0.5 * away @ matrix @ away + shift

    return {"f": f, "x0": np.full(n, 2.0)}


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def logistic(n=3):
    """Regularize logistic regression; SciPy finds its minimum."""
    rng = np.random.default_rng(1)
    X = jnp.array(rng.normal(size=(60, n)))
    signs = jnp.sign(X @ jnp.arange(1.0, n + 1) + 2 * rng.normal(size=60))

    def f(x):
        return jnp.mean(jax.nn.softplus(-signs * (X @ x))) + 0.005 * x @ x

    return {"f": f, "x0": np.full(n, 0.1)}


def _squares(r, x0):
    return {"f": lambda x: 0.5 * jnp.sum(r(x) ** 2), "r": r, "x0": x0}


def curve():
    """Fit an exponential to points that do not lie on one."""
    t = jnp.linspace(0.0, 2.0, 15)
    y = 2.5 * jnp.exp(-1.3 * t) + 0.05 * jnp.cos(9.0 * t)
    return _squares(lambda b: b[0] * jnp.exp(-b[1] * t) - y, [1.0, 0.5])


def banana():
    """Return Rosenbrock's residuals."""
    return _squares(
        lambda x: jnp.concatenate([10.0 * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1]]), [-1.2, 1.0]
    )


PROBLEMS = {
    "curve": curve,
    "banana": banana,
    "bowl": bowl,
    "negative": functools.partial(bowl, -100.0),
    "valley": lambda: {"f": rosenbrock, "x0": [-1.2, 1.0]},
    "logistic": logistic,
}


@pytest.fixture(scope="session")
def build():
    """Build a problem by name, parts of it replaced, or of a function."""

    def build_problem(problem, x0=None, **changes):
        parts = {"f": problem} if callable(problem) else PROBLEMS[problem]()
        start = {} if x0 is None else {"x0": x0}
        return Graph(**{**parts, **start, **changes})

    return build_problem


@pytest.fixture
def make():
    """Make a solver by its name."""

    def make_solver(name, **options):
        module, cls = SPECS[name].factory.split(":")
        return getattr(importlib.import_module(module), cls)(**options)

    return make_solver


@pytest.fixture
def solve(make):
    """Solve a problem; what the loop reported is on the host that comes with the result."""

    def solve_problem(name, graph, *, maxiter=500, room=1000, cache=None, **options):
        host = Host(graph, room, {} if cache is None else cache)
        solver = make(name, **options)
        result = solver.minimize(host, graph.x0, maxiter=maxiter, callback=lambda x: None)
        return result, host

    return solve_problem
