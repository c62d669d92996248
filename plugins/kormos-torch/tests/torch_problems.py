"""A logistic regression as a torch module, by NumPy and SciPy; objectives of closures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.optimize
import torch

from kormos_torch.closure import Closure
from kormos_torch.layout import Layout
from kormos_torch.objective import ClosureObjective, kinds_of

L2 = 0.01


@dataclass
class Logistic:
    """Mean cross-entropy of a linear model, and a penalty that makes it strictly convex."""

    dtype: torch.dtype = torch.float64
    X: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(7)
        self.X = rng.normal(size=(80, 3))
        noisy = self.X @ [1.0, -2.0, 0.5] + 0.4 + rng.logistic(size=80)
        self.y = (noisy > 0).astype(float)
        self.module = torch.nn.Linear(3, 1, dtype=self.dtype)
        self.inputs = torch.tensor(self.X, dtype=self.dtype)
        self.targets = torch.tensor(self.y, dtype=self.dtype)
        self.reset()

    def reset(self):
        for parameter in self.module.parameters():
            torch.nn.init.constant_(parameter, 0.1)

    def loss(self):
        logits = self.module(self.inputs)[:, 0]
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, self.targets)
        return fit + L2 * sum((p**2).sum() for p in self.module.parameters())

    def oracle(self, w):
        """The same by NumPy: value and gradient at (weights, bias)."""
        z = self.X @ w[:3] + w[3]
        p = 1.0 / (1.0 + np.exp(-z))
        f = np.mean(np.logaddexp(0.0, z) - self.y * z) + L2 * w @ w
        slope = (p - self.y) / len(z)
        return f, np.append(self.X.T @ slope, slope.sum()) + 2.0 * L2 * w

    def hessian(self, w):
        design = np.column_stack([self.X, np.ones(len(self.X))])
        p = 1.0 / (1.0 + np.exp(-design @ w))
        weights = p * (1.0 - p) / len(p)
        return design.T @ (weights[:, None] * design) + 2.0 * L2 * np.eye(4)

    def solution(self, bounds=None):
        """The minimum by SciPy from the NumPy functions."""
        return scipy.optimize.minimize(
            self.oracle,
            np.zeros(4),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"gtol": 1e-10, "ftol": 0.0},
        ).x

    @property
    def weights(self):
        parts = [p.detach().double().numpy().ravel() for p in self.module.parameters()]
        return np.concatenate(parts)


def objective_of(closure, parameters, *, hvp="auto", records=True):
    """Make the objective of a closure as a step does."""
    layout = Layout.of(parameters)
    return ClosureObjective(
        Closure(closure, layout.parameters, None),
        layout,
        bounds=None,
        constraints=(),
        kinds=kinds_of(hvp),
        records=records,
    )
