"""Validation on held-out data, between iterations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.data import (
    DEFAULT_BATCH_SIZE,
    StreamBatches,
    count_samples,
    is_arrays,
    is_positive_whole,
    reason_of,
)
from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Validation", "repeatable"]


@final
class _Kept(keras.utils.PyDataset):
    """Batches that were read from an iterator."""

    def __init__(self, batches: Sequence[Any]) -> None:
        super().__init__()
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]


def repeatable(data: Any, steps: int | None) -> Any:
    """Read an iterator once and keep it, so that every validation is on the same data.

    Parameters
    ----------
    data : object
        As `validation_data` of `keras.Model.fit`.
    steps : int or None
        Batches to read; None for all.

    Returns
    -------
    object
        A dataset in place of an iterator; anything else as it is.

    Raises
    ------
    DataError
        If an iterator does not end and `steps` is None.
    """
    if not isinstance(data, Iterator):
        return data
    try:
        read = StreamBatches.of(data, steps=steps, class_weight=None, float_dtype="float32")
    except DataError as error:
        message = (
            f"validation_data does not end: {type(data).__name__}. Allowed are iterators that do. "
            "Pass validation_steps."
        )
        raise DataError(message) from error
    return _Kept(tuple(read.source))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """When and on what to validate.

    Attributes
    ----------
    data : tuple or source of batches
        As `validation_data` of `keras.Model.fit`.
    batch_size : int or None
        Samples at a time; None takes as many as fit a slice of training data.
    steps : int or None
        Batches to draw; None for all.
    freq : int or sequence of int
        Every how many iterations, or after which ones, counted from 1.
    """

    data: Any
    batch_size: int | None = None
    steps: int | None = None
    freq: int | Sequence[int] = 1

    def __post_init__(self) -> None:
        """Refuse data that cannot be evaluated, and a frequency that means nothing."""
        _check_data(self.data)
        for name, number in (("steps", self.steps), ("batch_size", self.batch_size)):
            if number is not None and not is_positive_whole(number):
                message = (
                    f"validation_{name} is not usable: {number!r:.80}. Allowed is a positive "
                    "integer, or None. Pass one of them."
                )
                raise DataError(message)
        freq = self.freq
        positive = isinstance(freq, int) and not isinstance(freq, bool) and freq >= 1
        many: Any = freq  # a user may pass anything
        listed = isinstance(many, Sequence) and not isinstance(many, str)
        listed = listed and all(is_positive_whole(number) for number in many)
        if not positive and not listed:
            message = (
                f"validation_freq is not usable: {freq!r}. Allowed is a positive integer, or a "
                "list of iterations counted from 1. Pass one of them."
            )
            raise DataError(message)

    def is_due(self, epoch: int) -> bool:
        """Tell whether to validate after `epoch`, counted from 0."""
        if isinstance(self.freq, int):
            return (epoch + 1) % self.freq == 0
        return epoch + 1 in self.freq

    def try_on(self, model: keras.Model) -> None:
        """Evaluate one batch, so that data that do not fit are told before the solver starts.

        Parameters
        ----------
        model : keras.Model
            A built model.

        Raises
        ------
        DataError
            If the model cannot be evaluated on them.
        """
        try:
            self._evaluate(model, None, one_batch=True)
        except Exception as error:
            message = (
                f"the model {model.name!r} cannot be evaluated on validation_data: "
                f"{type(error).__name__}: {reason_of(error)}. Allowed is data like the "
                "training's. Correct their shapes, structure or values."
            )
            raise DataError(message) from error

    def run(
        self, model: keras.Model, callbacks: keras.callbacks.CallbackList
    ) -> Mapping[str, Any]:
        """Evaluate the model as it stands.

        Parameters
        ----------
        model : keras.Model
            The model, at an accepted iterate.
        callbacks : keras.callbacks.CallbackList
            Told of the evaluation, as Keras does.

        Returns
        -------
        mapping of str to float, or to array for a metric with several values
            Loss and metrics, their names led by ``val_``.
        """
        logs = self._evaluate(model, callbacks, one_batch=False)
        return {
            f"val_{name}": value if np.ndim(value) else float(value)
            for name, value in logs.items()
        }

    def _evaluate(
        self,
        model: keras.Model,
        callbacks: keras.callbacks.CallbackList | None,
        *,
        one_batch: bool,
    ) -> Mapping[str, Any]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(self.data)
        arrays = is_arrays(x)
        batch_size = self.batch_size
        if arrays and batch_size is None:
            batch_size = min(count_samples(x, y, weight), DEFAULT_BATCH_SIZE)
        with _one_step_at_a_time(model):
            told: Mapping[str, Any] = model.evaluate(
                x=_with_words_as_tensors(x),
                y=y,
                sample_weight=weight,
                batch_size=batch_size if arrays else None,
                steps=1 if one_batch else self.steps,
                callbacks=callbacks,
                return_dict=True,
                verbose=0,
            )
        return told


@contextmanager
def _one_step_at_a_time(model: keras.Model) -> Iterator[None]:
    """Let Keras evaluate where it refuses several steps in one execution."""
    several = model.steps_per_execution
    if several == 1 or current_backend().compiles_loops:
        yield
        return
    model.steps_per_execution = 1
    try:
        yield
    finally:
        model.steps_per_execution = several


def _with_words_as_tensors(x: Any) -> Any:
    """Turn arrays of strings into tensors: Keras evaluates these, and refuses the arrays."""

    def turned(leaf: Any) -> Any:
        words = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "USO"
        return current_backend().to_device(leaf) if words else leaf

    return keras.tree.map_structure(turned, x) if is_arrays(x) else x


def _check_data(data: Any) -> None:
    """See before the solver starts that the data can be evaluated."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if not is_arrays(x):
        if not hasattr(x, "__iter__") and not isinstance(x, keras.utils.PyDataset):
            message = (
                f"validation_data is not usable: {type(x).__name__}. Allowed are (x, y), "
                "(x, y, sample_weight) and sources of batches. Pass one of them."
            )
            raise DataError(message)
        return
    try:
        count_samples(x, y, weight)
    except DataError as error:
        message = f"validation_data is not usable, as training data would not be: {error}"
        raise DataError(message) from error
