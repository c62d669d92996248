"""Tiny models, data and callbacks that the tests of the fit loop share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import kormos
from kormos_core.objective import floatx_scope

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_ORDER = ("l-bfgs-b", "bfgs", "cg", "tnc", "slsqp")
SECOND_ORDER = (
    "newton-cg",
    "trust-ncg",
    "trust-krylov",
    "trust-exact",
    "dogleg",
    "trust-constr",
)
GRADIENT_FREE = ("nelder-mead", "powell", "cobyla", "cobyqa")
METHODS = (*FIRST_ORDER, *SECOND_ORDER, *GRADIENT_FREE)
BOUNDED = ("l-bfgs-b", "tnc", "slsqp", "trust-constr", *GRADIENT_FREE)
CONSTRAINED = ("slsqp", "trust-constr", "cobyla", "cobyqa")

SAMPLES = 20
START = [[1.4], [0.2]]  # of a line's kernel: random ones are others on each backend


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make a noisy line in two features, whose best fit is near (1, -2) and 0.5."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SAMPLES, 2))
    noise = 0.1 * rng.normal(size=SAMPLES)
    return x, (x @ [1.0, -2.0] + 0.5 + noise)[:, None]


def line_layers(dtype: str = "float64", **options: Any) -> list[Any]:
    """Make the layers of a line: three parameters, kernel and bias."""
    options = {"kernel_initializer": keras.initializers.Constant(START)} | options
    return [
        keras.Input((2,), dtype=dtype),
        keras.layers.Dense(1, dtype=dtype, name="unit", **options),
    ]


def line(solver: Any = "l-bfgs-b", **compile_options: Any) -> keras.Model:
    """Make a line in float64, compiled with a solver."""
    model = kormos.BatchOptimizedSequentialModel(line_layers())
    model.compile(**({"optimizer": solver, "loss": "mse"} | compile_options))
    return model


@functools.cache
def _kept_line(solver: str, metrics: tuple[str, ...]) -> tuple[keras.Model, list[np.ndarray]]:
    model = line(solver, metrics=list(metrics))
    return model, model.get_weights()


def line_anew(solver: str = "l-bfgs-b", *metrics: str) -> keras.Model:
    """Return the one line of a solver and metrics as it was made: tracing is what costs."""
    model, start = _kept_line(solver, metrics)
    model.set_weights(start)
    model.steps_per_execution = 1
    return model


def plain_line(**compile_options: Any) -> keras.Model:
    """Make the same line as a model of Keras's own class."""
    model = keras.Sequential(line_layers())
    with floatx_scope("float64"):  # else Keras computes the loss in float32
        model.compile(**({"optimizer": "sgd", "loss": "mse"} | compile_options))
    return model


def flat_weights(model: keras.Model) -> np.ndarray:
    """Return the trainable weights as one vector."""
    return np.concatenate(
        [np.ravel(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]
    )


def line_loss(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Compute the mean squared error of a line: the oracle in NumPy."""
    return float(np.mean((x @ weights[:-1] + weights[-1] - y[:, 0]) ** 2))


def line_gradient(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute its gradient: the oracle in NumPy."""
    design = np.column_stack([x, np.ones(len(x))])
    return 2.0 * design.T @ (design @ weights - y[:, 0]) / len(x)


def best_line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Solve the least squares problem of a line: the oracle in NumPy."""
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y[:, 0])[0]


def is_traced(tensor: Any) -> bool:
    """Tell whether a tensor stands for values that are not there yet."""
    try:
        keras.ops.convert_to_numpy(tensor)
    except Exception:  # noqa: BLE001 - each backend refuses in its own way
        return True
    return False


class Watch(keras.callbacks.Callback):
    """Record what a callback sees, and act once at an epoch's begin or end."""

    def __init__(
        self,
        act: Callable[[Watch], Any] | None = None,
        *,
        epoch: int = 1,
        at: str = "end",
    ) -> None:
        super().__init__()
        self.act, self.epoch, self.at = act, epoch, at
        self.events: list[tuple[str, int]] = []
        self.logs: list[dict[str, float]] = []
        self.weights: list[np.ndarray] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(("begin", epoch))
        if self.act is not None and (self.at, self.epoch) == ("begin", epoch):
            self.act(self)

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(("end", epoch))
        self.logs.append(dict(logs))
        self.weights.append(flat_weights(self.model))
        if self.act is not None and (self.at, self.epoch) == ("end", epoch):
            self.act(self)

    @property
    def best_weights(self) -> np.ndarray:
        """Weights of the accepted iterate with the least loss."""
        return self.weights[int(np.argmin([logs["loss"] for logs in self.logs]))]


def stop_training(watch: Watch) -> None:
    """Ask to stop, as Keras's callbacks do."""
    watch.model.stop_training = True
