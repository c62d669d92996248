"""Residuals whose squares are to be minimized, and objectives of them.

Symbols: ``x`` parameters (n,), ``v`` direction (n,); ``r`` residuals (m,), ``J`` their
Jacobian (m, n).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import scipy.optimize
from native_graphs import Counting, run, tensor

from kormos_core.backends import current_backend
from kormos_core.objective import Squares

if TYPE_CHECKING:
    from collections.abc import Callable

ops = keras.ops

T = tensor(np.linspace(0.0, 4.0, 30))
NOISE = tensor(0.05 * np.cos(7.0 * np.arange(30.0)))
DECAY = 2.5 * ops.exp(-1.3 * T) + 0.4 + NOISE


def decay(x):
    """An exponential and a constant, fitted to data with errors."""
    return x[0] * ops.exp(-x[1] * T) + x[2] - DECAY


def exact(x):
    """The same without errors: the least is 0."""
    return x[0] * ops.exp(-x[1] * T) + x[2] - (DECAY - NOISE)


def valley(x):
    """Rosenbrock's."""
    return ops.concatenate([10.0 * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1]])


def humps(x):
    """Large residuals, nonlinear all the way: Gauss and Newton's steps converge slowly."""
    return ops.stack([x[0] - 3.0, x[1] ** 2 + 1.0, ops.sin(x[0] * x[1]) + 2.0, x[0] * x[1] - 4.0])


def few(x):
    """Three residuals of five parameters."""
    return ops.stack([x[0] * x[1] - 1.0, x[2] + x[3] * x[0] - 2.0, ops.exp(x[4]) - 3.0 * x[0]])


def redundant(x):
    """The exponential with a rate and a constant that are two parameters each."""
    return x[0] * ops.exp(-(x[1] + 0.3 * x[2]) * T) + x[3] + 0.1 * x[4] - DECAY


def unused(x):
    """The exponential, and a parameter that does nothing."""
    return decay(ops.stack([x[0], x[1], x[3]]))


PROBLEMS = {
    "decay": (decay, np.array([1.0, 1.0, 0.0])),
    "exact": (exact, np.array([1.0, 1.0, 0.0])),
    "valley": (valley, np.array([-1.2, 1.0, -1.2])),
    "humps": (humps, np.array([1.0, 1.0])),
    "few": (few, np.array([1.0, 0.5, 0.5, 1.0, 1.0])),
    "redundant": (redundant, np.array([1.0, 0.5, 0.5, 0.2, 0.2])),
    "unused": (unused, np.array([1.0, 1.0, 7.0, 0.1])),
}


def linearize(residuals, x):
    """Return residuals, (m,), and their Jacobian, (m, n), column by column."""
    units = map(tensor, np.eye(x.shape[0]))
    r, push = current_backend().jvp(residuals, x)
    return r, ops.stack([push(unit) for unit in units], axis=1)


@dataclass(frozen=True)
class SquaresGraph:
    """Half the sum of squares of residuals as `GraphObjective`."""

    residuals: Callable[[Any], Any]
    size: int
    epsilon: float = 2.2e-16

    def value_and_grad(self, x):
        return current_backend().value_and_grad(
            lambda z: 0.5 * ops.sum(ops.square(self.residuals(z))), x
        )

    def normal_equations(self, x):
        r, J = linearize(self.residuals, x)
        across = ops.transpose(J)
        return Squares(0.5 * ops.vdot(r, r), ops.matmul(across, r), ops.matmul(across, J))

    def triangle(self, x):
        r, J = linearize(self.residuals, x)
        n = self.size
        both = ops.concatenate([J, ops.expand_dims(r, 1)], axis=1)
        R = ops.qr(ops.concatenate([both, ops.zeros((n + 1, n + 1), "float64")], axis=0))[1]
        return Squares(0.5 * ops.vdot(r, r), ops.matmul(ops.transpose(J), r), R[:n, :n], R[:n, n])

    def gauss_newton_at(self, x):
        _, J = linearize(self.residuals, x)
        return lambda v: ops.matmul(ops.transpose(J), ops.matmul(J, v))


class CountingSquares(Counting):
    """The same, to be run eagerly: every sweep and every product is counted."""

    def __init__(self, residuals, size):
        self.graph, self.size, self.epsilon = SquaresGraph(residuals, size), size, 2.2e-16
        self.num_fg, self.products = 0, []

    def normal_equations(self, x):
        self.num_fg += 1
        return self.graph.normal_equations(x)

    def triangle(self, x):
        self.num_fg += 1
        return self.graph.triangle(x)

    def gauss_newton_at(self, x):
        product = self.graph.gauss_newton_at(x)
        self.products.append(0)

        def counted(v):
            self.products[-1] += 1
            return product(v)

        return counted


def states_of(method, residuals, x0, *, eager=False, calls=500):
    """Run a method until it ends; `eager` pays where there are few iterations."""
    graph = (CountingSquares if eager else SquaresGraph)(residuals, len(x0))
    return run(method, graph, x0, calls=calls)


def rows_at(residuals, x):
    """Return residuals, (m,), and Jacobian, (m, n), as NumPy arrays."""
    return tuple(np.array(part) for part in linearize(residuals, tensor(x)))


@functools.cache
def by_scipy(problem):
    """Let MINPACK minimize one of the `PROBLEMS` with at least as many residuals as parameters."""
    residuals, x0 = PROBLEMS[problem]
    return scipy.optimize.least_squares(
        lambda x: rows_at(residuals, x)[0],
        x0,
        lambda x: rows_at(residuals, x)[1],
        method="lm",
        **dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15),
        max_nfev=200,
    )


def linear(J, y):
    """Return the residuals ``J x - y``."""
    matrix, target = tensor(J), tensor(y)
    return lambda x: ops.matmul(matrix, x) - target


def make_matrix(m, n, condition, seed=0):
    """A matrix of random directions with singular values from 1 down to 1 / condition."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(k, min(m, n))))[0] for k in (m, n))
    return (left * np.geomspace(1.0, 1.0 / condition, min(m, n))) @ right.T
