"""What a problem of the comparison is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from kormos_core.errors import KormosError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["Data", "Problem", "Recipe", "UnknownProblemError"]


class UnknownProblemError(KormosError, LookupError):
    """A problem name that the comparison does not have."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Samples to train on, and others to validate on.

    Attributes
    ----------
    x, y : ndarray, shape (samples, ...)
        Inputs and targets of the training.
    x_val, y_val : ndarray, shape (samples, ...)
        Inputs and targets of the validation.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]


class Recipe(Protocol):
    """How the parts of a problem are made; nothing is imported or read before that."""

    def load(self) -> Data:
        """Return the data, the same at every call."""
        ...

    def build(self, dtype: str) -> keras.Model:
        """Return a new model, built but not compiled, with parameters of `dtype`."""
        ...

    def loss(self) -> keras.losses.Loss:
        """Return a new loss."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One model with its data, for solvers to be compared on.

    Attributes
    ----------
    name : str
        What a user calls it.
    summary : str
        One line: data, model, loss, penalty.
    metric : str
        Keras's name of the validation metric.
    metric_label : str
        The metric in a word.
    recipe : Recipe
        What makes data, model and loss.
    """

    name: str
    summary: str
    metric: str
    metric_label: str
    recipe: Recipe
