"""One array of whatever kind as NumPy or the backend takes it, or a word why not."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kormos_core.errors import DataError

__all__ = ["as_array"]

_DENSE = "Allowed are dense arrays with one entry for each sample."
_WORDS = (str, bytes)


def as_array(leaf: Any, float_dtype: str | None) -> Any:
    """Turn one array-like into an array or a tensor of numbers, booleans or strings.

    Parameters
    ----------
    leaf : array-like, tensor, pandas frame or series, or None
        What a user passed; a series becomes a column.
    float_dtype : str or None
        Dtype that floats take, or None to leave them.

    Returns
    -------
    ndarray or tensor, or None
        The same values.

    Raises
    ------
    DataError
        If it is sparse, ragged or masked, or holds dates or other objects.
    """
    if leaf is None:
        return None
    _refuse_sparse(leaf)
    if hasattr(leaf, "to_numpy"):
        leaf = leaf.to_numpy()
        leaf = leaf[:, None] if leaf.ndim == 1 else leaf
    if keras.ops.is_tensor(leaf):
        floating = "float" in keras.backend.standardize_dtype(leaf.dtype)
        return keras.ops.cast(leaf, float_dtype) if floating and float_dtype else leaf
    leaf = _of_numbers(np.asarray(leaf))
    return leaf.astype(float_dtype, copy=False) if float_dtype and leaf.dtype.kind == "f" else leaf


def _refuse_sparse(leaf: Any) -> None:
    """Refuse arrays whose entries are not all there."""
    kinds = {
        "toarray": ("sparse", "Pass x.toarray(), or batches of it from a generator"),
        "dense_shape": ("sparse", "Make it dense, such as by tf.sparse.to_dense(x)"),
        "ragged_rank": ("ragged", "Pad it, such as by x.to_tensor(), and mask the padding"),
    }
    for attribute, (kind, cure) in kinds.items():
        if hasattr(leaf, attribute):
            message = f"an array of the data is {kind}: {type(leaf).__name__}. {_DENSE} {cure}."
            raise DataError(message)
    hidden = int(np.sum(np.ma.getmaskarray(leaf))) if isinstance(leaf, np.ma.MaskedArray) else 0
    if hidden:
        message = (
            f"an array of the data is masked: {hidden} of {leaf.size} entries are hidden, which "
            f"nothing here would heed. {_DENSE} Fill it, such as by x.filled(0.0), and give the "
            "samples weights."
        )
        raise DataError(message)


def _of_numbers(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of numbers, booleans or strings."""
    if array.dtype == object:
        return _of_objects(array)
    if array.dtype.kind in "mMV":
        message = (
            f"an array of the data has dtype {array.dtype}. Allowed are numbers, booleans and "
            "strings. Turn it into numbers, such as days since the first one."
        )
        raise DataError(message)
    return array


def _of_objects(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Read an array of Python objects, such as a frame with columns of several dtypes."""
    kinds = sorted({type(entry).__name__ for entry in array.flat})
    words = [isinstance(entry, _WORDS) for entry in array.flat]
    if all(words):
        return array
    try:
        if any(words):
            raise TypeError  # noqa: TRY301 - the same message as of what is no number
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        message = (
            f"an array of the data holds objects: {', '.join(kinds)}. Allowed are all numbers or "
            "all strings. Pass columns of different kinds as a dict with one array for each, "
            "turn dates into numbers, and fill what is missing."
        )
        raise DataError(message) from error
