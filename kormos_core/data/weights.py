"""Class weights as sample weights."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_class_weight", "class_to_sample_weight"]


def check_class_weight(class_weight: Any) -> None:
    """Refuse class weights that would weigh nothing.

    Parameters
    ----------
    class_weight : object
        What a user passed.

    Raises
    ------
    DataError
        If it is no mapping from class indices to numbers.
    """
    usable = isinstance(class_weight, Mapping) and all(
        _is_number(label) and label % 1 == 0 and _is_number(weight)
        for label, weight in class_weight.items()
    )
    if not usable:
        message = (
            f"class_weight is not usable: {class_weight!r:.120}. Allowed is a mapping from class "
            "indices to numbers, such as {0: 1.0, 1: 2.5}; classes left out weigh 1. Pass one."
        )
        raise DataError(message)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def class_to_sample_weight(
    y: Any, class_weight: Mapping[int, float], dtype: str
) -> NDArray[np.floating[Any]]:
    """Give each sample the weight of its class, as `keras.Model.fit` defines it.

    Parameters
    ----------
    y : array, shape (samples,), (samples, 1) or (samples, classes)
        Class indices, or one-hot rows.
    class_weight : mapping of int to float
        Weight of each class index; classes that are left out weigh 1.
    dtype : str
        Floating dtype of the result.

    Returns
    -------
    ndarray, shape (samples,)
        One weight for each sample.

    Raises
    ------
    DataError
        If there is more than one target.
    """
    if y is None or keras.tree.is_nested(y):
        message = (
            f"class_weight needs exactly one target: y is {type(y).__name__}. "
            "It is allowed for models with a single output. Use sample_weight instead."
        )
        raise DataError(message)
    labels = np.asarray(keras.ops.convert_to_numpy(y))
    if labels.ndim > 1:
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(axis=-1)
    classes, index = np.unique(np.round(labels).astype(np.int64), return_inverse=True)
    weights = np.array([class_weight.get(int(c), 1.0) for c in classes], dtype=dtype)
    return weights[index].reshape(labels.shape)
