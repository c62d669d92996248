"""Class weights as sample weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["class_to_sample_weight"]


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
