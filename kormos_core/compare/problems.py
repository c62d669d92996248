"""The problems that solvers can be compared on.

All are strictly convex, so that there is one minimum for every solver to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from kormos_core.compare.problem import Data, Problem, UnknownProblemError
from kormos_core.errors import UnsupportedError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    import keras
    from numpy.typing import NDArray

__all__ = ["PROBLEMS", "find_problem"]

_SPLIT_SEED = 0
_VALIDATION_FRACTION = 0.25


@final
class _Digits:
    """Softmax regression; the penalty is on the bias too, which alone is not unique."""

    def load(self) -> Data:
        """Return scikit-learn's digits, pixels scaled to 0..1, split by class."""
        x, y = _sklearn("datasets").load_digits(return_X_y=True)
        return _split(x / 16.0, y, stratify=y)

    def build(self, dtype: str) -> keras.Model:
        """Return a new model that gives logits."""
        import keras

        penalty = keras.regularizers.L2(1e-4)
        dense = keras.layers.Dense(
            10, kernel_regularizer=penalty, bias_regularizer=penalty, dtype=dtype
        )
        return keras.Sequential([keras.Input((64,), dtype=dtype), dense], name="digits")

    def loss(self) -> keras.losses.Loss:
        """Return a new cross-entropy."""
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@final
class _Diabetes:
    """Ridge regression on ten measurements of each patient."""

    def load(self) -> Data:
        """Return scikit-learn's diabetes; inputs and target are standardized."""
        x, y = _sklearn("datasets").load_diabetes(return_X_y=True)
        data = _split(x, y[:, None])
        (x, y), (x_mean, y_mean) = (data.x, data.y), (data.x.mean(axis=0), data.y.mean(axis=0))
        x_std, y_std = x.std(axis=0), y.std(axis=0)
        return Data(
            x=(x - x_mean) / x_std,
            y=(y - y_mean) / y_std,
            x_val=(data.x_val - x_mean) / x_std,
            y_val=(data.y_val - y_mean) / y_std,
        )

    def build(self, dtype: str) -> keras.Model:
        """Return a new linear model."""
        import keras

        dense = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1e-3), dtype=dtype)
        return keras.Sequential([keras.Input((10,), dtype=dtype), dense], name="diabetes")

    def loss(self) -> keras.losses.Loss:
        """Return a new mean squared error."""
        import keras

        return keras.losses.MeanSquaredError()


@final
class _Linear:
    """The linear model of kormos 0.1's README: no noise, initial weights one."""

    def load(self) -> Data:
        """Return the README's random numbers."""
        import numpy as np

        # the generator and the order of the README, whose figures are published
        random = np.random.RandomState(1)
        w, x = random.normal(size=50), random.normal(size=(1000, 50))
        x_val = random.normal(size=(1000, 50))
        return Data(x=x, y=(x @ w)[:, None], x_val=x_val, y_val=(x_val @ w)[:, None])

    def build(self, dtype: str) -> keras.Model:
        """Return a new linear model without bias."""
        import keras

        dense = keras.layers.Dense(
            1,
            use_bias=False,
            kernel_initializer="ones",
            kernel_regularizer=keras.regularizers.L2(1e-3),
            dtype=dtype,
        )
        return keras.Sequential([keras.Input((50,), dtype=dtype), dense], name="linear")

    def loss(self) -> keras.losses.Loss:
        """Return a new mean squared error."""
        import keras

        return keras.losses.MeanSquaredError()


PROBLEMS = (
    Problem(
        name="digits",
        summary="softmax regression on scikit-learn's handwritten digits, L2 1e-4",
        metric="sparse_categorical_accuracy",
        metric_label="accuracy",
        recipe=_Digits(),
    ),
    Problem(
        name="diabetes",
        summary="linear regression on scikit-learn's diabetes data, L2 1e-3",
        metric="mean_absolute_error",
        metric_label="MAE",
        recipe=_Diabetes(),
    ),
    Problem(
        name="linear",
        summary="linear regression of kormos 0.1's README, no noise, L2 1e-3",
        metric="mean_absolute_error",
        metric_label="MAE",
        recipe=_Linear(),
    ),
)


def find_problem(name: str) -> Problem:
    """Find the problem of a name.

    Parameters
    ----------
    name : str
        The name, in any case.

    Returns
    -------
    Problem
        The problem; nothing of it is loaded yet.

    Raises
    ------
    UnknownProblemError
        If there is none of that name.
    """
    for problem in PROBLEMS:
        if problem.name == name.lower():
            return problem
    names = [problem.name for problem in PROBLEMS]
    message = (
        f"unknown problem {name!r}.{nearest(name, names)} Allowed: {', '.join(names)}. "
        "Name one of them."
    )
    raise UnknownProblemError(message)


def _sklearn(module: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(f"sklearn.{module}")
    except ModuleNotFoundError as error:
        message = (
            "the data of this problem comes with scikit-learn, which is not installed. "
            "The problem 'linear' needs none. Install it: pip install scikit-learn"
        )
        raise UnsupportedError(message) from error


def _split(x: NDArray[Any], y: NDArray[Any], stratify: NDArray[Any] | None = None) -> Data:
    x, x_val, y, y_val = _sklearn("model_selection").train_test_split(
        x, y, test_size=_VALIDATION_FRACTION, random_state=_SPLIT_SEED, stratify=stratify
    )
    return Data(x=x, y=y, x_val=x_val, y_val=y_val)
