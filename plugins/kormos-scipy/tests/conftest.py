"""Analytic objectives with honest counts, and solvers by name.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,), ``h`` Hessian (n, n), ``r`` residuals
(m,), ``j`` their Jacobian (m, n).
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy.optimize import least_squares, rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import LinearOperator

from kormos_core import Bounds, Counts
from kormos_scipy.least_squares_specs import LEAST_SQUARES
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


class ResidualObjective:
    """Half a sum of squares with its residuals; refuses to be evaluated outside its box."""

    def __init__(self, r, j, x0, *, scale=None, bounds=None, constraints=()):
        self.r, self.j = r, j
        self.x0 = np.array(x0, dtype=float)
        self.size = self.x0.size
        self.num_residuals = r(self.x0).size
        self.scale = np.ones(self.num_residuals) if scale is None else np.array(scale)
        self.bounds = None if bounds is None else Bounds(*np.array(bounds, dtype=float))
        self.constraints = tuple(constraints)
        self.counts = Counts()
        self.seen = []

    def f(self, x):
        r = self.scale * self.r(x)
        return 0.5 * float(r @ r)

    def g(self, x):
        return (self.scale[:, None] * self.j(x)).T @ (self.scale * self.r(x))

    def value(self, x):
        self.counts.value += 1
        return self.f(x)

    def value_and_grad(self, x):
        self.counts.value_and_grad += 1
        return self.f(x), self.g(x)

    def residual_scale(self):
        return self.scale.copy()

    def residuals(self, x):
        self.counts.value += 1
        self._check_box(x)
        self.seen.append(x.tobytes())
        return self.scale * self.r(x)

    def jacobian(self, x):
        self.counts.value_and_grad += 1
        self._check_box(x)
        return self.scale[:, None] * self.j(x)

    def jvp(self, x, v):
        self.counts.hvp += 1
        return self.scale * (self.j(x) @ v)

    def vjp(self, x, u):
        self.counts.hvp += 1
        return self.j(x).T @ (self.scale * u)

    def ggn_vp(self, x, v):
        return self.vjp(x, self.jvp(x, v))

    def hvp(self, x, v):
        raise AssertionError("least squares take no Hessian products")

    def hessian(self, x):
        raise AssertionError("least squares take no Hessian")

    def _check_box(self, x):
        assert x.shape == self.x0.shape
        if self.bounds is not None:
            assert (x >= self.bounds.lower).all(), f"evaluated below the bounds: {x}"
            assert (x <= self.bounds.upper).all(), f"evaluated above the bounds: {x}"


def _bent():
    """Rosenbrock's function as a sum of two squares."""
    return {
        "r": lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]),
        "j": lambda x: np.array([[-20 * x[0], 10.0], [-1.0, 0.0]]),
        "x0": [-1.2, 1.0],
    }


def _straight(m=30, n=4):
    """A linear model with noise."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(m, n))
    y = X @ np.arange(1, n + 1) + 0.3 * rng.normal(size=m)
    return {"r": lambda x: X @ x - y, "j": lambda x: X.copy(), "x0": np.zeros(n)}


def _decay(num_outliers=0):
    """An exponential decay with noise, and outliers; 25 samples, 3 parameters."""
    rng = np.random.default_rng(3)
    t = np.linspace(0, 4, 25)
    y = 2 * np.exp(-1.3 * t) + 0.5 + 0.02 * rng.normal(size=t.size)
    y[5 : 5 + 3 * num_outliers : 3] += 1.5

    def r(x):
        return x[0] * np.exp(-x[1] * t) + x[2] - y

    def j(x):
        e = np.exp(-x[1] * t)
        return np.stack([e, -x[0] * t * e, np.ones_like(t)], axis=1)

    return {"r": r, "j": j, "x0": [1.0, 0.5, 0.0]}


def _weighted():
    """The decay with outliers, every sample of another weight, one of none."""
    weights = np.linspace(0.2, 3.0, 25)
    weights[7] = 0.0
    return {**_decay(num_outliers=4), "scale": np.sqrt(2 * weights / 25)}


SUMS_OF_SQUARES = {
    "bent": _bent,
    "straight": _straight,
    "decay": _decay,
    "outliers": lambda: _decay(num_outliers=4),
    "weighted": _weighted,
    "underdetermined": lambda: _straight(m=3, n=5),
}


@pytest.fixture
def sum_of_squares():
    """Build a sum of squares by name, parts of it replaced."""

    def build_sum(name, **changes):
        return ResidualObjective(**{**SUMS_OF_SQUARES[name](), **changes})

    return build_sum


@pytest.fixture
def scipy_result():
    """Solve a sum of squares with SciPy alone."""

    def call_scipy(name, objective, *, lsmr=False, **options):
        """Call SciPy as its documentation has it."""

        def jac(x):
            if not lsmr:
                return objective.scale[:, None] * objective.j(x)
            return LinearOperator(
                (objective.num_residuals, objective.size),
                matvec=lambda v: objective.scale * (objective.j(x) @ v.ravel()),
                rmatvec=lambda u: objective.j(x).T @ (objective.scale * u.ravel()),
                dtype=float,
            )

        if objective.bounds is not None:
            options["bounds"] = (objective.bounds.lower, objective.bounds.upper)
        return least_squares(
            lambda x: objective.scale * objective.r(x),
            objective.x0,
            jac,
            method=name.removeprefix("least-squares-"),
            **options,
        )

    return call_scipy


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
        module, cls = {**SPECS, **LEAST_SQUARES}[name].factory.split(":")
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
