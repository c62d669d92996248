"""Models with their data, that the benchmarks measure on."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

__all__ = ["Case", "linear", "mlp", "softmax"]


L2 = 1e-4


@dataclass(frozen=True)
class Case:
    """A model with its data and the ratio it is to reach."""

    name: str
    model: keras.Model
    loss: keras.losses.Loss
    x: np.ndarray
    y: np.ndarray
    epochs: int
    l2: float = 0.0  # of the penalty of kernels


def softmax(path: str | None) -> Case:
    """Softmax regression on 20,000 handwritten digits, 7,850 parameters."""
    images, labels = mnist(path)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(
                10, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(L2)
            ),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Case("softmax 20000x784x10", model, loss, images, labels, 60, L2)


def mlp() -> Case:
    """A tanh network of 6 layers with 20 units on 10,000 points of the plane."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, (10_000, 2))
    y = np.sin(np.pi * x[:, :1]) * np.exp(-x[:, 1:])
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(20, activation="tanh") for _ in range(6)]
    model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    return Case("tanh MLP 6x20, 10000x2", model, keras.losses.MeanSquaredError(), x, y, 100)


def linear() -> Case:
    """Linear regression of kormos 0.1's README, 50 parameters."""
    rng = np.random.default_rng(1)
    w = rng.normal(size=50)
    x = rng.normal(size=(1000, 50)) * np.logspace(0, 1.5, 50)
    model = keras.Sequential(
        [
            keras.Input((50,)),
            keras.layers.Dense(
                1,
                use_bias=False,
                kernel_initializer="ones",
                kernel_regularizer=keras.regularizers.L2(1e-3),
            ),
        ]
    )
    return Case("linear 1000x50", model, keras.losses.MeanSquaredError(), x, (x @ w)[:, None], 400)


def mnist(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Load 20,000 images of the training set as rows in [0, 1]."""
    if path is None:
        (images, labels), _ = keras.datasets.mnist.load_data()
    else:
        with np.load(path) as archive:
            images, labels = archive["x_train"], archive["y_train"]
    return images[:20_000].reshape(-1, 784) / 255.0, labels[:20_000].astype("int64")
