"""Problems on the real data sets that come with scikit-learn, and on random numbers of 0.1.

All but the one with a hidden layer are strictly convex: there is one minimum to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.compare.problem import Data, Problem
from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from types import ModuleType

    import keras
    from numpy.typing import NDArray

    Parts = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

__all__ = ["TABULAR", "make_problem"]

_SPLIT_SEED = 0
_VALIDATION_FRACTION = 0.25


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A classification, or a regression where `num_classes` is None, of a data set.

    Attributes
    ----------
    name : str
        scikit-learn's name: ``load_<name>``.
    num_inputs : int
        Columns of the data.
    num_outputs : int
        Outputs of the model: logits, or predicted targets.
    penalty : float
        Factor of the L2 penalty on all kernels; on biases too where there are several
        logits, since those alone are not unique.
    classes : bool
        Whether the targets are classes.
    scale : float or None
        What the inputs are divided by; None standardizes them by the training samples.
    hidden : int
        Units of a hidden layer of tanh; 0 for none.
    """

    name: str
    num_inputs: int
    num_outputs: int
    penalty: float
    classes: bool = True
    scale: float | None = None
    hidden: int = 0

    def load(self) -> Data:
        """Return scikit-learn's data, split by class where there are classes."""
        x, y = getattr(_sklearn("datasets"), f"load_{self.name}")(return_X_y=True)
        if self.scale is not None:
            x = x / self.scale
        y = y if self.classes and self.num_outputs > 1 else y.reshape(len(y), -1).astype(float)
        x, x_val, y, y_val = _split(x, y, stratify=y if self.classes else None)
        if self.scale is None:
            x, x_val = _standardized(x, x_val)
        if not self.classes:
            y, y_val = _standardized(y, y_val)
        return Data(x=x, y=y, x_val=x_val, y_val=y_val)

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new model that gives logits or predicted targets."""
        import keras

        del start  # Keras draws the weights
        penalty = keras.regularizers.L2(self.penalty)
        biased = penalty if self.classes and self.num_outputs > 1 else None
        layers = [keras.Input((self.num_inputs,), dtype=dtype)]
        if self.hidden:
            inner = keras.layers.Dense(
                self.hidden, activation="tanh", kernel_regularizer=penalty, dtype=dtype
            )
            layers.append(inner)
        outer = keras.layers.Dense(
            self.num_outputs, kernel_regularizer=penalty, bias_regularizer=biased, dtype=dtype
        )
        return keras.Sequential([*layers, outer], name=self.name)

    def loss(self) -> keras.losses.Loss:
        """Return a new cross-entropy of logits, or mean squared error."""
        import keras

        if not self.classes:
            return keras.losses.MeanSquaredError()
        if self.num_outputs == 1:
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


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

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new linear model without bias."""
        import keras

        del start  # there is one
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


TABULAR: Final = (
    Problem(
        name="digits",
        summary="softmax regression on scikit-learn's handwritten digits, L2 1e-4",
        recipe=_Table(name="digits", num_inputs=64, num_outputs=10, penalty=1e-4, scale=16.0),
        metric="sparse_categorical_accuracy",
        metric_label="accuracy",
        sets=("sklearn", "classic"),
    ),
    Problem(
        name="diabetes",
        summary="linear regression on scikit-learn's diabetes data, L2 1e-3",
        recipe=_Table(name="diabetes", num_inputs=10, num_outputs=1, penalty=1e-3, classes=False),
        metric="mean_absolute_error",
        metric_label="MAE",
        sets=("sklearn",),
    ),
    Problem(
        name="linear",
        summary="linear regression of kormos 0.1's README, no noise, L2 1e-3",
        recipe=_Linear(),
        metric="mean_absolute_error",
        metric_label="MAE",
        sets=("synthetic",),
        num_starts=1,
    ),
    Problem(
        name="breast-cancer",
        summary="logistic regression on scikit-learn's breast cancer data, L2 1e-4",
        recipe=_Table(name="breast_cancer", num_inputs=30, num_outputs=1, penalty=1e-4),
        metric="binary_accuracy",
        metric_label="accuracy",
        metric_threshold=0.0,
        sets=("sklearn", "classic"),
    ),
    Problem(
        name="wine",
        summary="softmax regression on scikit-learn's wines, L2 1e-4",
        recipe=_Table(name="wine", num_inputs=13, num_outputs=3, penalty=1e-4),
        metric="sparse_categorical_accuracy",
        metric_label="accuracy",
        sets=("sklearn",),
    ),
    Problem(
        name="iris",
        summary="softmax regression on scikit-learn's irises, L2 1e-4",
        recipe=_Table(name="iris", num_inputs=4, num_outputs=3, penalty=1e-4),
        metric="sparse_categorical_accuracy",
        metric_label="accuracy",
        sets=("sklearn",),
    ),
    Problem(
        name="linnerud",
        summary="linear regression of three targets on scikit-learn's linnerud, L2 1e-3",
        recipe=_Table(name="linnerud", num_inputs=3, num_outputs=3, penalty=1e-3, classes=False),
        metric="mean_absolute_error",
        metric_label="MAE",
        sets=("sklearn",),
    ),
    Problem(
        name="digits-mlp",
        summary="16 units of tanh and softmax on scikit-learn's handwritten digits, L2 1e-4",
        recipe=_Table(
            name="digits", num_inputs=64, num_outputs=10, penalty=1e-4, scale=16.0, hidden=16
        ),
        metric="sparse_categorical_accuracy",
        metric_label="accuracy",
        sets=("sklearn", "classic"),
    ),
)
"""The problems of this module."""


def make_problem(name: str) -> Problem:
    """Return the problem of a name; see `kormos_core.capabilities.ProblemSpec.factory`.

    Parameters
    ----------
    name : str
        One of those in `TABULAR`.

    Returns
    -------
    Problem
        The problem; nothing of it is loaded yet.
    """
    return next(problem for problem in TABULAR if problem.name == name)


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


def _split(x: NDArray[Any], y: NDArray[Any], stratify: NDArray[Any] | None = None) -> Parts:
    return _sklearn("model_selection").train_test_split(  # type: ignore[no-any-return]
        x, y, test_size=_VALIDATION_FRACTION, random_state=_SPLIT_SEED, stratify=stratify
    )


def _standardized(train: NDArray[Any], val: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give each column mean 0 and deviation 1 over the training samples."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / deviation, (val - mean) / deviation
