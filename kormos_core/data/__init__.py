"""Training data of every form that `keras.Model.fit` takes, as batches to sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from kormos_core.data.arrays import (
    DEFAULT_BATCH_SIZE,
    ArrayBatches,
    is_arrays,
    normalize,
    split_off_validation,
)
from kormos_core.data.batches import Batch, Batches, count_samples, is_positive_whole
from kormos_core.data.reasons import reason_of
from kormos_core.data.streams import StreamBatches
from kormos_core.data.weights import check_class_weight, class_to_sample_weight
from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "ArrayBatches",
    "Batch",
    "Batches",
    "StreamBatches",
    "adapt",
    "count_samples",
    "is_arrays",
    "is_positive_whole",
    "normalize",
    "reason_of",
    "split_off_validation",
]


def adapt(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    class_weight: Mapping[int, float] | None = None,
    steps: int | None = None,
    float_dtype: str = "float32",
) -> Batches:
    """Adapt whatever `keras.Model.fit` takes to batches that can be swept repeatedly.

    Parameters
    ----------
    x : structure of array, tf.data.Dataset, keras.utils.PyDataset, iterable or generator
        Inputs, or a source of batches.
    y, sample_weight : structure of array, or None
        Targets and weights; only with arrays.
    batch_size : int or None
        Samples in a slice; only with arrays.
    class_weight : mapping of int to float, or None
        Weight of each class index; excludes `sample_weight`.
    steps : int or None
        Batches that make one sweep.
    float_dtype : str
        Dtype that floating arrays take.

    Returns
    -------
    Batches
        The data, as often as wanted.

    Raises
    ------
    DataError
        If the data is empty, endless, unequal in length, or arguments exclude each other.
    """
    _check_source(x)
    if class_weight is not None:
        check_class_weight(class_weight)
    if is_arrays(x):
        arrays = _arrays((x, y, sample_weight), class_weight, float_dtype)
        return _first_slices(ArrayBatches.of(arrays, batch_size), steps)
    extra = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}
    given = [name for name, value in extra.items() if value is not None]
    if given:
        message = (
            f"{', '.join(given)} cannot be given beside a {type(x).__name__}, "
            "which gives its own batches of (x, y, sample_weight). Leave it out."
        )
        raise DataError(message)
    return StreamBatches.of(x, steps=steps, class_weight=class_weight, float_dtype=float_dtype)


def _check_source(x: Any) -> None:
    """Refuse what is neither arrays nor gives batches."""
    if x is None:
        message = "there is no training data: x is None. Pass arrays or a source of batches."
        raise DataError(message)
    gives_batches = hasattr(x, "__iter__") or isinstance(x, keras.utils.PyDataset)
    if isinstance(x, (str, bytes)) or not (is_arrays(x) or gives_batches):
        message = (
            f"the training data is not usable: {type(x).__name__}. Allowed are arrays, tensors, "
            "pandas objects, tf.data.Dataset, PyDataset, iterables of batches and generators. "
            "Convert it to one of them."
        )
        raise DataError(message)
    _refuse_lists("x", x)


def _arrays(
    parts: tuple[Any, Any, Any], class_weight: Mapping[int, float] | None, float_dtype: str
) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights as arrays of one float dtype."""
    for name, part in zip(("x", "y", "sample_weight"), parts, strict=True):
        _refuse_lists(name, part)
    x, y, weight = (normalize(part, float_dtype) for part in parts)
    if class_weight is None:
        return x, y, weight
    if weight is not None:
        message = (
            "class_weight and sample_weight exclude each other. "
            "Allowed is one of them. Multiply them into sample_weight."
        )
        raise DataError(message)
    return x, y, class_to_sample_weight(y, class_weight, float_dtype)


def _first_slices(batches: ArrayBatches, steps: int | None) -> ArrayBatches:
    if steps is None or steps == batches.num_batches:
        return batches
    if not is_positive_whole(steps) or steps > batches.num_batches:
        message = (
            f"steps_per_epoch={steps!r} does not fit the data: it has {batches.num_batches} "
            "batches. Allowed is 1 to that number. Change steps_per_epoch or batch_size."
        )
        raise DataError(message)
    return batches.head(int(steps))


def _refuse_lists(name: str, part: Any) -> None:
    """Refuse lists of lists of numbers, which Keras reads as a structure of arrays."""
    if isinstance(part, (list, tuple)) and not is_arrays(part):
        message = (
            f"{name} is a nested {type(part).__name__} of numbers. Allowed are arrays, or "
            f"a list with one array for each input or output. Pass np.asarray({name})."
        )
        raise DataError(message)
