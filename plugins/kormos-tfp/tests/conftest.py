"""Objectives that count their evaluations as they run, and a host for the loop.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

import functools
import importlib

import numpy as np
import pytest
import tensorflow as tf

from kormos_tfp.specs import SPECS


class Graph:
    """A function as `GraphObjective`; it counts where it runs, not where it is traced."""

    def __init__(self, f, x0, *, epsilon=2.2e-16):
        self.f = f
        self.x0 = np.array(x0, dtype=float)
        self.size = self.x0.size
        self.epsilon = epsilon
        self.counter = tf.Variable(0)
        self.num_traces = 0

    def value(self, x):
        self.num_traces += 1
        self.counter.assign_add(1)
        return self.f(x)

    def value_and_grad(self, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            f = self.value(x)
        return f, tape.gradient(f, x)

    @property
    def count(self):
        return int(self.counter)


class Host:
    """What runs the loop: compiled, or eagerly, which takes no time to compile."""

    bounds = None
    memory = None

    def __init__(self, graph, room=1000, *, compiled=False):
        self.graph, self.room, self.compiled = graph, room, compiled
        self.cache = {}
        self.chunks = []

    def prepare(self, x):
        return self.room

    def compile(self, function, key):
        if not self.compiled:
            return functools.partial(function, self.graph)
        if key not in self.cache:
            self.cache[key] = tf.function(functools.partial(function, self.graph), autograph=False)
        return self.cache[key]

    def report(self, chunk):
        self.chunks.append(chunk)

    @property
    def losses(self):
        return np.concatenate([chunk.losses for chunk in self.chunks])

    @property
    def num_fg(self):
        return sum(chunk.num_fg for chunk in self.chunks)


def _bowl(shift=0.0, n=4):
    """A rotated bowl of condition 100 whose minimum is `shift`, at linspace(-1, 1)."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    matrix = tf.constant(rotation * np.geomspace(1, 100, n) @ rotation.T)
    center = tf.constant(np.linspace(-1, 1, n))

    def f(x):
        away = x - center
        return 0.5 * tf.tensordot(away, tf.linalg.matvec(matrix, away), 1) + shift

    return {"f": f, "x0": np.full(n, 2.0)}


def _rosenbrock(x):
    return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _logistic(n=3):
    """Regularized logistic regression; SciPy finds its minimum."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, n))
    signs = tf.constant(np.sign(X @ np.arange(1, n + 1) + 2 * rng.normal(size=60)))

    def f(x):
        margins = signs * tf.linalg.matvec(tf.constant(X), x)
        return tf.reduce_mean(tf.nn.softplus(-margins)) + 0.005 * tf.tensordot(x, x, 1)

    return {"f": f, "x0": np.full(n, 0.1)}


PROBLEMS = {
    "bowl": _bowl,
    "negative": functools.partial(_bowl, -100.0),
    "valley": lambda: {"f": _rosenbrock, "x0": [-1.2, 1.0]},
    "logistic": _logistic,
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

    def solve_problem(name, graph, *, maxiter=500, room=1000, compiled=False, **options):
        host = Host(graph, room, compiled=compiled)
        solver = make(name, **options)
        result = solver.minimize(host, graph.x0, maxiter=maxiter, callback=lambda x: None)
        return result, host

    return solve_problem
