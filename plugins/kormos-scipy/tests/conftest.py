"""Analytic objectives with honest counts, and solvers by name.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,), ``h`` Hessian (n, n).
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

from kormos_core import Bounds, Counts
from kormos_scipy.specs import SPECS


class AnalyticObjective:
    """A loss with its derivatives; refuses to be evaluated outside its box."""

    def __init__(self, f, g, h, x0, *, minimum=None, bounds=None, constraints=()):
        self.f, self.g, self.h = f, g, h
        self.x0 = np.array(x0, dtype=float)
        self.minimum = minimum
        self.size = self.x0.size
        self.bounds = None if bounds is None else Bounds(*np.array(bounds, dtype=float))
        self.constraints = tuple(constraints)
        self.counts = Counts()
        self.seen = []

    def value(self, x):
        self.counts.value += 1
        self._enter(x)
        return float(self.f(x))

    def value_and_grad(self, x):
        self.counts.value_and_grad += 1
        self._enter(x)
        return float(self.f(x)), np.array(self.g(x), dtype=float)

    def hvp(self, x, v):
        self.counts.hvp += 1
        self._check_box(x)
        return self.h(x) @ v

    def hessian(self, x):
        self.counts.hvp += self.size
        self._check_box(x)
        return self.h(x)

    @property
    def num_repeated(self):
        return len(self.seen) - len(set(self.seen))

    def _enter(self, x):
        self._check_box(x)
        self.seen.append(x.tobytes())

    def _check_box(self, x):
        assert x.shape == self.x0.shape
        if self.bounds is not None:
            assert (x >= self.bounds.lower).all(), f"evaluated below the bounds: {x}"
            assert (x <= self.bounds.upper).all(), f"evaluated above the bounds: {x}"


def _quadratic(condition, shift=0.0, n=4):
    """A rotated bowl with known minimum `shift` at linspace(-1, 1)."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    matrix = rotation * np.geomspace(1, condition, n) @ rotation.T
    matrix = (matrix + matrix.T) / 2
    center = np.linspace(-1, 1, n)
    return {
        "f": lambda x: 0.5 * (x - center) @ matrix @ (x - center) + shift,
        "g": lambda x: matrix @ (x - center),
        "h": lambda x: matrix,
        "x0": np.full(n, 2.0),
        "minimum": shift,
    }


def _rosenbrock():
    # a start from which the Hessian stays positive definite, for dogleg
    return {"f": rosen, "g": rosen_der, "h": rosen_hess, "x0": [1.2, 1.3, 1.5], "minimum": 0.0}


def _valley():
    """Rosenbrock's function from its classic start, along its whole bent valley."""
    return {"f": rosen, "g": rosen_der, "h": rosen_hess, "x0": [-1.2, 1.0], "minimum": 0.0}


def _logistic(n=4):
    """Regularized logistic regression; its minimum to 12 digits by Newton's method."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, n))
    y = np.sign(X @ np.arange(1, n + 1) + 2 * rng.normal(size=60))

    def weights(w):
        return 1 / (1 + np.exp(y * (X @ w)))

    def f(w):
        return np.logaddexp(0, -y * (X @ w)).mean() + 0.005 * w @ w

    def g(w):
        return -(X.T @ (y * weights(w))) / y.size + 0.01 * w

    def h(w):
        p = weights(w)
        return (X.T * (p * (1 - p))) @ X / y.size + 0.01 * np.eye(n)

    w = np.zeros(n)
    for _ in range(20):
        w -= np.linalg.solve(h(w), g(w))
    return {"f": f, "g": g, "h": h, "x0": np.zeros(n), "minimum": f(w)}


PROBLEMS = {
    "round": lambda: _quadratic(10),
    "long": lambda: _quadratic(1e3),
    "negative": lambda: _quadratic(10, shift=-100.0),
    "rosenbrock": _rosenbrock,
    "valley": _valley,
    "logistic": _logistic,
}


@pytest.fixture
def build():
    """Build a problem by name, parts of it replaced."""

    def build_problem(name, **changes):
        return AnalyticObjective(**{**PROBLEMS[name](), **changes})

    return build_problem


@pytest.fixture
def make():
    """Make a solver by SciPy's name of the method."""

    def make_solver(name, **options):
        module, cls = SPECS[name].factory.split(":")
        return getattr(importlib.import_module(module), cls)(**options)

    return make_solver


@pytest.fixture
def solve(make):
    """Solve a problem; the accepted iterates are put on the objective."""

    def solve_problem(name, objective, *, maxiter=2000, callback=None, **options):
        objective.iterates = []

        def record(x):
            objective.iterates.append(x.copy())
            if callback is not None:
                callback(x)

        solver = make(name, **options)
        return solver.minimize(objective, objective.x0, maxiter=maxiter, callback=record)

    return solve_problem
