"""A compiled model with its data, for a solver to fit.

Symbols: ``w`` trainable weights as one vector (n,).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

from kormos_core.model import BatchOptimizedSequentialModel
from kormos_core.optimizer import BatchOptimizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core.testing.case import Case

__all__ = ["BOX", "CURVE", "PENALTY", "Fitting", "Watch", "logistic_data", "weights_of"]

PENALTY: Final = 1.0 / 64.0
"""Factor of the sum of the kernel's squares; a number that float32 holds exactly."""

CURVE: Final = (-1.2, 0.5)
"""Weights of the exponential curve that the data of least squares lie on."""

BOX: Final = (-6.0, 5.0)
"""Bounds of every weight, for a solver that requires them; they hold all solutions."""

_SAMPLES = 40


def logistic_data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make two features and noisy labels.

    Returns
    -------
    x : ndarray, shape (40, 2), float64
        The features.
    y : ndarray, shape (40, 1), float64
        The labels, 0 or 1.
    """
    random = np.random.default_rng(0)
    x = random.normal(size=(_SAMPLES, 2))
    return x, (x @ [[2.0], [-1.0]] + random.logistic(size=(_SAMPLES, 1)) > 0.5).astype(float)


def weights_of(model: keras.Model) -> NDArray[np.float64]:
    """Return the trainable weights of `model` as one vector, shape (n,)."""
    weights = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    return np.concatenate([np.ravel(w) for w in weights]).astype(np.float64)


@final
class Watch(keras.callbacks.Callback):
    """Write down what callbacks see, and do something at one epoch's end.

    Parameters
    ----------
    act : callable or None
        What to do; takes nothing.
    epoch : int
        Number of the epoch, from 0.
    """

    def __init__(self, act: Callable[[], None] | None = None, epoch: int = 0) -> None:
        super().__init__()
        self._act, self._epoch = act, epoch
        self.losses: list[float] = []
        self.weights: list[NDArray[np.float64]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Take the end of an iteration.

        Parameters
        ----------
        epoch : int
            Its number.
        logs : dict of str to float
            What is told of it.
        """
        self.losses.append((logs or {})["loss"])
        self.weights.append(weights_of(self.model))
        if self._act is not None and epoch == self._epoch:
            self._act()

    @property
    def best(self) -> NDArray[np.float64]:
        """Weights of the accepted iterate with the least loss."""
        return self.weights[int(np.argmin(self.losses))]


@final
class Fitting:
    """A model that is fitted from the same weights again and again: tracing is what costs.

    Logistic regression with a penalty for the kernel; for a solver that takes residuals an
    exponential curve through its data.

    Parameters
    ----------
    case : Case
        The solver.

    Attributes
    ----------
    data : tuple of ndarray
        Inputs and targets.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self.dtype = "float64" if "float64" in case.spec.dtypes else max(case.spec.dtypes)
        if case.takes_residuals:
            t = np.linspace(0.0, 1.0, _SAMPLES)[:, None]
            self.data = (t, np.exp(CURVE[0] * t + CURVE[1]))
        else:
            self.data = logistic_data()
        self._model: keras.Model | None = None

    @property
    def model(self) -> keras.Model:
        """The model."""
        if self._model is None:
            self._model = self.make()
        return self._model

    def make(self, dtype: str | None = None) -> keras.Model:
        """Make a new model with weights of zero, compiled with the solver.

        Parameters
        ----------
        dtype : str or None
            Dtype of its weights; None takes one that the solver declares.

        Returns
        -------
        keras.Model
            The model.
        """
        case, dtype = self._case, dtype or self.dtype
        how: dict[str, Any] = {"activation": "exponential"}
        if not case.takes_residuals:
            how = {"kernel_regularizer": keras.regularizers.L2(PENALTY)}
        unit = keras.layers.Dense(1, kernel_initializer="zeros", dtype=dtype, **how)
        shape = self.data[0].shape[1:]
        model = BatchOptimizedSequentialModel([keras.Input(shape, dtype=dtype), unit])
        if case.takes_residuals:
            loss = keras.losses.MeanSquaredError(dtype=dtype)
        else:
            loss = keras.losses.BinaryCrossentropy(from_logits=True, dtype=dtype)
        box = BOX if case.spec.requires_bounds else None
        optimizer = BatchOptimizer(case.name, options=case.options, bounds=box)
        model.compile(optimizer=optimizer, loss=loss)
        return model

    def fit(self, *callbacks: Any, again: bool = True, **arguments: Any) -> Any:
        """Fit the model.

        Parameters
        ----------
        *callbacks : keras.callbacks.Callback
            Who is told.
        again : bool
            Whether from weights of zero.
        **arguments : object
            Of `BatchOptimizedMixin.fit`, such as ``epochs``, ``x`` and ``y``.

        Returns
        -------
        keras.callbacks.History
            With the `Result`.
        """
        model = self.model
        if again:
            model.set_weights([np.zeros(w.shape) for w in model.get_weights()])
        x, y = self.data
        given = {"x": x, "y": y, "verbose": 0, "callbacks": list(callbacks), **arguments}
        return model.fit(**given)

    def saved_and_loaded(self) -> keras.Model:
        """Write the model to a file, and read it.

        Returns
        -------
        keras.Model
            What was read.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self.model.save(path)
            return keras.saving.load_model(path)
