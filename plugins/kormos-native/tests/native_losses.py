"""Losses to minimize, written in `keras.ops`.

Symbols: ``x`` parameters (n,).
"""

from __future__ import annotations

import keras
import numpy as np

ops = keras.ops


def rosenbrock(x):
    return ops.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def make_quadratic(condition, shift=0.0, n=20):
    """A rotated bowl with the known minimum `shift` at linspace(-1, 1)."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    matrix = ops.convert_to_tensor(rotation * np.geomspace(1, condition, n) @ rotation.T)
    center = ops.convert_to_tensor(np.linspace(-1, 1, n))

    def quadratic(x):
        d = x - center
        return 0.5 * ops.sum(d * ops.matmul(matrix, d)) + shift

    return quadratic


def make_logistic(dtype="float64", n=20):
    """Regularized logistic regression, computed in `dtype`."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, n))
    y = np.sign(X @ np.arange(1, n + 1) + 20 * rng.normal(size=300))
    signed = ops.convert_to_tensor((y[:, None] * X).astype(dtype))

    def logistic(x):
        w = ops.cast(x, dtype)
        return ops.mean(ops.softplus(-ops.matmul(signed, w))) + 0.005 * ops.sum(w * w)

    return logistic


def barrier(x):
    """Convex, with its minimum n at ones; not a number where a component is negative."""
    return ops.sum(x) - ops.sum(ops.log(x))


PROBLEMS = {
    "round": (make_quadratic(10), np.full(20, 2.0)),
    "long": (make_quadratic(1e3), np.full(20, 2.0)),
    "negative": (make_quadratic(10, shift=-100.0), np.full(20, 2.0)),
    "valley": (rosenbrock, np.tile([-1.2, 1.0], 5)),
    "logistic": (make_logistic(), np.zeros(20)),
    "barrier": (barrier, np.full(5, 0.01)),
}
