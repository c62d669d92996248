"""Two least-squares problems for networks: a regression, and a physics-informed network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import kormos

if TYPE_CHECKING:
    from collections.abc import Callable

VISCOSITY, OFFSET = 0.05, 1.1  # the front grows steeper as either goes down, to 0 and to 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network, its data, and the losses that fits are to reach."""

    name: str
    build: Callable[[int], keras.Model]  # from a seed to a model with its first weights
    loss: str | None  # as Keras's compile takes it
    x: np.ndarray
    y: np.ndarray
    levels: tuple[float, ...]  # from large to small
    sample_weight: np.ndarray | None = None
    error: Callable[[keras.Model], float] | None = None  # against the known solution

    def compile(self, model: keras.Model, **how: Any) -> None:
        model.compile(loss=self.loss, **how)


def tanh_layers(num_layers: int, width: int) -> list[keras.layers.Layer]:
    hidden = [keras.layers.Dense(width, activation="tanh") for _ in range(num_layers)]
    return [*hidden, keras.layers.Dense(1)]


def friedman(num_samples: int, num_layers: int, width: int, levels: tuple[float, ...]) -> Problem:
    """Regression on Friedman's function of ten inputs, of which five matter, without noise.

    J. H. Friedman, "Multivariate Adaptive Regression Splines", Ann. Stat. 19(1), 1991,
    doi:10.1214/aos/1176347963, section 4.3. Inputs are brought to [-1, 1], targets to variance 1.
    """
    u = np.random.default_rng(0).uniform(size=(num_samples, 10))
    y = 10.0 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20.0 * (u[:, 2] - 0.5) ** 2
    y += 10.0 * u[:, 3] + 5.0 * u[:, 4]

    def build(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((10,)), *tanh_layers(num_layers, width)])

    return Problem(
        name=f"Friedman's function, tanh network {num_layers}x{width}",
        build=build,
        loss="mse",
        x=2.0 * u - 1.0,
        y=((y - y.mean()) / y.std())[:, None],
        levels=levels,
    )


def burgers(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Solve u_t + u u_x = VISCOSITY u_xx for 0 <= x <= 1, with u = 0 at both ends.

    It is -2 VISCOSITY phi_x / phi (Cole and Hopf) for a solution phi of the heat equation,
    phi = OFFSET + exp(-pi^2 VISCOSITY t) cos(pi x).
    """
    decay = np.exp(-(np.pi**2) * VISCOSITY * t)
    slope = 2.0 * VISCOSITY * np.pi * decay * np.sin(np.pi * x)
    return slope / (OFFSET + decay * np.cos(np.pi * x))


class BurgersNetwork(kormos.LeastSquaresMixin, keras.Sequential):
    """u(x, t); a row of the data is one point, inside or at the edge."""

    def compute_residuals(self, x, y, y_pred):
        """Return what is left of the equation, or at the edge the error of u."""
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                u = self(x)
            slopes = inner.gradient(u, x)
            u_x, u_t = slopes[:, :1], slopes[:, 1:]
        u_xx = outer.gradient(u_x, x)[:, :1]
        value, at_edge = y[:, :1], y[:, 1:]
        return ops.where(at_edge > 0.0, y_pred - value, u_t + u * u_x - VISCOSITY * u_xx)


def physics(num_inside: int, num_side: int, width: int, levels: tuple[float, ...]) -> Problem:
    """Burgers' equation on the unit square: what is known at the edge, the equation inside.

    The loss is the mean over the edge and the mean over the inside, added up.
    """
    inside = np.random.default_rng(0).uniform(size=(num_inside, 2))
    k = np.linspace(0.0, 1.0, num_side)
    sides = (np.stack(pair, axis=1) for pair in ((k, 0.0 * k), (0.0 * k, k), (1.0 + 0.0 * k, k)))
    edge = np.concatenate(list(sides))
    known = np.stack([burgers(*edge.T), np.ones(len(edge))], axis=1)
    at_edge = np.arange(len(edge) + num_inside) < len(edge)
    means = np.where(at_edge, 1.0 / len(edge), 1.0 / num_inside)
    grid = np.stack(np.meshgrid(*(np.linspace(0.0, 1.0, 101),) * 2), axis=-1).reshape(-1, 2)
    truth = burgers(*grid.T)

    def build(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        return BurgersNetwork([keras.Input((2,)), *tanh_layers(2, width)])

    def error(model: keras.Model) -> float:
        found = ops.convert_to_numpy(model(grid))[:, 0]
        return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))

    return Problem(
        name=f"Burgers' equation, tanh network 2x{width}",
        build=build,
        loss=None,
        x=np.concatenate([edge, inside]),
        y=np.concatenate([known, np.zeros((num_inside, 2))]),
        levels=levels,
        sample_weight=means * len(means),
        error=error,
    )
