"""The data that a fit is given, training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from kormos_core.data import adapt, is_arrays, normalize, split_off_validation
from kormos_core.errors import DataError
from kormos_core.training.validation import Validation, repeatable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kormos_core.data import Batches

__all__ = ["Feed"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Training and validation data, as `keras.Model.fit` takes them.

    Attributes
    ----------
    x, y, sample_weight : object
        Training data, what is split off for validation taken away.
    batch_size : int or None
        Samples at a time.
    class_weight : mapping of int to float, or None
        Weight of each class.
    steps_per_epoch : int or None
        Batches that make one sweep over the data.
    validation_data : object or None
        What is evaluated beside.
    validation_steps, validation_batch_size, validation_freq : object
        How it is evaluated.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    batch_size: int | None = None
    class_weight: Mapping[int, float] | None = None
    steps_per_epoch: int | None = None
    validation_data: Any = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: int | Sequence[int] = 1

    @classmethod
    def of(cls, *, validation_split: float, validation_data: Any, **given: Any) -> Self:
        """Take the arguments of a fit.

        Parameters
        ----------
        validation_split : float
            Share of the samples, the last ones, to validate on.
        validation_data : object or None
            Takes precedence over `validation_split`.
        **given : object
            The other fields.

        Returns
        -------
        Feed
            The data.

        Raises
        ------
        DataError
            If the data cannot be split.
        """
        if validation_split and validation_data is None:
            names = ("x", "y", "sample_weight")
            parts, validation_data = _split(tuple(given[name] for name in names), validation_split)
            given |= dict(zip(names, parts, strict=True))
        if validation_data is not None:
            validation_data = repeatable(validation_data, given["validation_steps"])
        return cls(validation_data=validation_data, **given)

    def batches(self, batch_size: int | None, float_dtype: str) -> Batches:
        """Return the training data to sweep.

        Parameters
        ----------
        batch_size : int or None
            Samples at a time, where the data is arrays and a fit is given none.
        float_dtype : str
            Dtype of the model.

        Returns
        -------
        Batches
            The batches.
        """
        own = self.batch_size
        if own is None and is_arrays(self.x):
            own = batch_size
        return adapt(
            self.x,
            self.y,
            self.sample_weight,
            batch_size=own,
            class_weight=self.class_weight,
            steps=self.steps_per_epoch,
            float_dtype=float_dtype,
        )

    def validation(self, batch_size: int | None) -> Validation | None:
        """Return when and on what to validate.

        Parameters
        ----------
        batch_size : int or None
            Samples at a time where nothing else is said.

        Returns
        -------
        Validation or None
            None where there is no validation data.
        """
        if self.validation_data is None:
            return None
        sizes = (self.validation_batch_size, self.batch_size, batch_size)
        return Validation(
            data=self.validation_data,
            batch_size=next((size for size in sizes if size is not None), None),
            steps=self.validation_steps,
            freq=self.validation_freq,
        )


def _split(arrays: tuple[Any, ...], fraction: float) -> tuple[Any, Any]:
    if not is_arrays(arrays[0]):
        message = (
            f"validation_split={fraction!r} cannot cut a {type(arrays[0]).__name__}. It is "
            "allowed for arrays, tensors and pandas objects. Pass validation_data instead."
        )
        raise DataError(message)
    plain = tuple(normalize(part, None) for part in arrays)
    return split_off_validation(plain, fraction)
