"""The families of solvers that every feature is tried with, and oracles in NumPy.

Most models here are linear with squared losses, so that the minimum of whatever a feature
makes of them is a weighted least squares problem, which NumPy solves by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

import kormos

if TYPE_CHECKING:
    from collections.abc import Callable

FAMILIES = (
    "scipy:l-bfgs-b",
    "scipy:newton-cg",
    "native:lbfgs",
    "native:newton-cg",
    "native:trust-ncg",
    "tfp:l-bfgs",
)
IN_GRAPH = tuple(family for family in FAMILIES if not family.startswith("scipy:"))
ONE_OF_EACH = ("scipy:l-bfgs-b", "native:lbfgs", "tfp:l-bfgs")

OPTIMUM = 1e-9  # relative: a gradient of 1e-6 leaves its square in the loss
EVALUATED = 1e-12  # relative: the same operations in float64, in another order

SAMPLES = 23  # a prime: every batch size leaves a ragged last batch

TIGHT: dict[str, dict[str, Any]] = {
    "scipy:l-bfgs-b": {"ftol": 0.0, "gtol": 1e-6},
    "scipy:newton-cg": {"xtol": 1e-7},
    "scipy:nelder-mead": {"xatol": 1e-6, "fatol": 1e-13},
    "native:lbfgs": {"ftol": 0.0, "gtol": 1e-6},
    "native:newton-cg": {"gtol": 1e-6},
    "native:trust-ncg": {"gtol": 1e-6},
    "tfp:l-bfgs": {"tolerance": 1e-6},
}


def tight(family: str, **arguments: Any) -> kormos.BatchOptimizer:
    """Make a solver that ends near the minimum and nowhere else."""
    return kormos.BatchOptimizer(family, options=TIGHT[family], **arguments)


def way(family: str) -> dict[str, Any]:
    """Return how a family's models are compiled.

    TensorFlow Probability's line search is traced in ten places, which takes seconds for
    each model: its solver runs eagerly here, but where a model serves many tests.
    """
    return {"jit_compile": False, "run_eagerly": family.startswith("tfp:")}


class Shared:
    """A model that all families train in turn from the same start: tracing is what costs.

    Parameters
    ----------
    make : callable
        Takes the arguments of `compile` that all features share, and gives a built model.
    """

    def __init__(self, make: Callable[..., keras.Model]) -> None:
        self._make = make
        self._made: dict[bool, tuple[keras.Model, list[np.ndarray]]] = {}

    def model(self, family: str) -> keras.Model:
        """Return the model with its first weights, compiled for a family."""
        how = way(family)
        eager = how["run_eagerly"]
        if eager not in self._made:
            keras.utils.set_random_seed(3)
            model = self._make(optimizer="scipy:l-bfgs-b", **how)
            self._made[eager] = model, model.get_weights()
        model, start = self._made[eager]
        model.set_weights(start)
        return model

    def fit(self, family: str, *arrays: Any, **arguments: Any) -> Any:
        """Fit the model by a family, to the minimum; the history, whose `model` it is."""
        how = {"verbose": 0, "method": family, "options": TIGHT[family]}
        return self.model(family).fit(*arrays, **(how | arguments))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def line_data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make a noisy line in two features."""
    x = normal(SAMPLES, 2, seed=seed)
    return x, x @ [[1.0], [-2.0]] + 0.5 + 0.3 * normal(SAMPLES, 1, seed=seed + 100)


def line(policy: str | None = None, **compile_options: Any) -> keras.Model:
    """Make a line, of Keras's own dtype policy or of another."""
    keras.utils.set_random_seed(3)
    unit = layers.Dense(1, name="unit", dtype=policy)
    model = kormos.BatchOptimizedSequentialModel([keras.Input((2,)), unit])
    model.compile(**({"loss": "mse"} | compile_options))
    return model


def column(x: np.ndarray) -> np.ndarray:
    """Append a column of ones, for the bias."""
    return np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)


def least_squares(
    design: np.ndarray, y: np.ndarray, weight: np.ndarray | float = 1.0
) -> tuple[np.ndarray, float]:
    """Solve a weighted least squares problem: the parameters, and the weighted sum of squares."""
    root = np.sqrt(np.broadcast_to(weight, len(y)))
    solution = np.linalg.lstsq(root[:, None] * design, root * y)[0]
    return solution, float(np.sum((root * (design @ solution - y)) ** 2))


def best_line() -> tuple[np.ndarray, float]:
    """Solve for the line that fits `line_data` best: slopes and bias, and mean squared error."""
    x, y = line_data()
    solution, squares = least_squares(column(x), y[:, 0])
    return solution, squares / SAMPLES


def flat_weights(model: keras.Model) -> np.ndarray:
    return np.concatenate(
        [np.ravel(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]
    )


def evaluated(model: keras.Model, *arrays: Any) -> dict[str, float]:
    """Let Keras evaluate a model on (x, y, sample_weight), all samples in one batch."""
    x, y, weight = (*arrays, None)[:3]
    return model.evaluate(  # type: ignore[no-any-return]
        x, y, sample_weight=weight, batch_size=SAMPLES, verbose=0, return_dict=True
    )
