"""One small network under solvers of every kind, for what trackers and callbacks see of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import pytest
from training.problems import data, flat_weights

import kormos

if TYPE_CHECKING:
    import numpy as np

X, Y = data()
HELD_OUT = data(seed=1)
EPOCHS = 8  # no solver below converges within them

OPTIONS = {
    "scipy:l-bfgs-b": {"ftol": 0.0, "gtol": 1e-12},
    "native:lbfgs": {"ftol": 0.0, "gtol": 1e-12},
    "tfp:l-bfgs": {"tolerance": 1e-12},
}


@final
@dataclass(frozen=True, slots=True)
class Case:
    """A solver, and after how many iterations callbacks are served."""

    solver: str
    steps: int = 1

    @property
    def served(self) -> list[int]:
        """Epochs whose end callbacks are told of."""
        due = list(range(self.steps - 1, EPOCHS, self.steps))
        return due if due[-1] == EPOCHS - 1 else [*due, EPOCHS - 1]

    @property
    def begun(self) -> list[int]:
        """Epochs whose begin callbacks are told of."""
        return list(range(0, EPOCHS, self.steps))


HOST = Case("scipy:l-bfgs-b")
CHUNKS = Case("native:lbfgs", 7)
FEW = [HOST, Case("native:lbfgs"), CHUNKS]  # where the way to the callbacks is what matters


def _named(case: Case) -> str:
    return f"{case.solver}-{case.steps}"


every_case = pytest.mark.parametrize("case", [*FEW, Case("tfp:l-bfgs")], ids=_named)
few_cases = pytest.mark.parametrize("case", FEW, ids=_named)


@functools.cache
def _network(solver: str) -> tuple[keras.Model, list[np.ndarray]]:
    """Make the network of a solver once: tracing is what costs."""
    keras.utils.set_random_seed(11)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((2,), dtype="float64"),
            keras.layers.Dense(4, activation="tanh", dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    optimizer = kormos.BatchOptimizer(solver, options=OPTIONS[solver])
    model.compile(optimizer=optimizer, loss="mse", metrics=["mae"], jit_compile=False)
    return model, model.get_weights()


def network(case: Case) -> keras.Model:
    """Return the network of a case with its first weights."""
    model, start = _network(case.solver)
    model.set_weights(start)
    model.steps_per_execution = case.steps
    return model


def fit(case: Case, *callbacks: Any, **arguments: Any) -> keras.callbacks.History:
    """Fit the network of a case from its first weights."""
    given = {"epochs": EPOCHS, "verbose": 0, "callbacks": list(callbacks)} | arguments
    return network(case).fit(X, Y, **given)


class Weights(keras.callbacks.Callback):
    """Keep the weights that callbacks see, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, np.ndarray] = {}

    def on_epoch_end(self, epoch, logs=None):
        self.at[epoch] = flat_weights(self.model)
