"""Arrays: moved to the device once, swept in equal slices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.data.batches import Batch, count_samples, is_positive_whole
from kormos_core.data.leaves import as_array
from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_BATCH_SIZE", "ArrayBatches", "is_arrays", "normalize", "split_off_validation"]

DEFAULT_BATCH_SIZE = 32_768
"""Most samples in a slice where the user names no batch size.

Large enough that small and medium data is one slice, which compiles to the fastest
program; small enough that a deep model's activations stay within some gigabytes.
"""


def is_arrays(x: Any) -> bool:
    """Tell whether every leaf of the structure `x` is an array, tensor or pandas object."""
    if x is None or _is_scalars(x):
        return True
    return all(
        leaf is None or (hasattr(leaf, "shape") and not hasattr(leaf, "element_spec"))
        for leaf in keras.tree.flatten(x)
    )


def _is_scalars(x: Any) -> bool:
    return (
        isinstance(x, (list, tuple))
        and bool(x)
        and all(isinstance(item, (int, float, str, bool)) for item in x)
    )


def normalize(structure: Any, float_dtype: str | None) -> Any:
    """Turn pandas objects and array-likes into arrays, floats into `float_dtype`.

    Parameters
    ----------
    structure : structure of array-like, or None
        NumPy arrays, backend tensors, pandas frames and series, lists of numbers. A
        series becomes a column, as in `keras.Model.fit`.
    float_dtype : str or None
        Dtype that floating leaves take, or None to leave them; integers, booleans and
        strings stay.

    Returns
    -------
    structure of ndarray or tensor, or None
        The same structure.

    Raises
    ------
    DataError
        If a leaf is no dense array of numbers, booleans or strings.
    """
    if structure is None:
        return None
    if _is_scalars(structure):
        structure = np.asarray(structure)
    return keras.tree.map_structure(lambda leaf: as_array(leaf, float_dtype), structure)


def split_off_validation(arrays: tuple[Any, Any, Any], fraction: float) -> tuple[Any, Any]:
    """Set the last part of the samples apart, as `keras.Model.fit` does.

    Parameters
    ----------
    arrays : tuple of (x, y, sample_weight)
        Structures of arrays.
    fraction : float
        Share of the samples to set apart, strictly between 0 and 1.

    Returns
    -------
    tuple of (training arrays, validation arrays)
        Each a tuple of (x, y, sample_weight).

    Raises
    ------
    DataError
        If either part would be empty.
    """
    if not (isinstance(fraction, Real) and 0.0 < fraction < 1.0):
        message = (
            f"validation_split is out of range: {fraction!r}. "
            "Allowed is a number strictly between 0 and 1. Leave it out to validate on nothing."
        )
        raise DataError(message)
    total = count_samples(*arrays)
    at = math.floor(total * (1.0 - fraction))
    if at in {0, total}:
        message = (
            f"validation_split={fraction!r} of {total} samples leaves one part empty. "
            "Training and validation need at least one sample each. Choose another fraction."
        )
        raise DataError(message)
    return _cut(arrays, slice(0, at)), _cut(arrays, slice(at, total))


def _cut(structure: Any, part: slice) -> Any:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[part], structure)


@final
@dataclass(frozen=True, slots=True)
class ArrayBatches:
    """Arrays that stay on the device, swept in slices (`Batches`).

    Attributes
    ----------
    arrays : tuple of (x, y, sample_weight)
        Structures of tensors.
    num_samples : int
        Length of their first axis.
    batch_size : int
        Samples in a slice; only the last slice may be shorter.
    """

    arrays: tuple[Any, Any, Any]
    num_samples: int
    batch_size: int

    @classmethod
    def of(cls, arrays: tuple[Any, Any, Any], batch_size: int | None) -> ArrayBatches:
        """Move arrays to the device.

        Parameters
        ----------
        arrays : tuple of (x, y, sample_weight)
            Structures of arrays or tensors with one first axis.
        batch_size : int or None
            Samples in a slice. None takes all of them, or equal slices of at most
            `DEFAULT_BATCH_SIZE` samples where there are more.

        Returns
        -------
        ArrayBatches
            The slices.

        Raises
        ------
        DataError
            If the batch size is not a positive integer or arrays differ in length.
        """
        total = count_samples(*arrays)
        if batch_size is None:
            batch_size = math.ceil(total / math.ceil(total / DEFAULT_BATCH_SIZE))
        if not is_positive_whole(batch_size):
            message = (
                f"batch_size is not usable: {batch_size!r}. "
                "Allowed is a positive integer, or None for the default. Pass one of them."
            )
            raise DataError(message)
        backend = current_backend()
        x, y, weight = keras.tree.map_structure(
            lambda leaf: None if leaf is None else backend.to_device(leaf), arrays
        )
        return cls((x, y, weight), total, min(int(batch_size), total))

    @property
    def num_batches(self) -> int:
        """Slices in one sweep."""
        return math.ceil(self.num_samples / self.batch_size)

    @property
    def graph_source(self) -> tuple[Any, Any, Any]:
        """The arrays themselves."""
        return self.arrays

    def head(self, steps: int) -> ArrayBatches:
        """Return the first slices.

        Parameters
        ----------
        steps : int
            How many.

        Returns
        -------
        ArrayBatches
            The slices.
        """
        length = min(steps * self.batch_size, self.num_samples)
        return ArrayBatches(_cut(self.arrays, slice(0, length)), length, self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Go through the slices once."""
        for start in range(0, self.num_samples, self.batch_size):
            stop = min(start + self.batch_size, self.num_samples)
            whole = start == 0 and stop == self.num_samples
            x, y, weight = self.arrays if whole else _cut(self.arrays, slice(start, stop))
            yield Batch(x, y, weight, stop - start)
