"""Data as kormos sweeps it: batches that can be gone through again and again."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, final

import keras

from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Batch", "Batches", "count_samples", "is_positive_whole"]


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """One batch on the device.

    Attributes
    ----------
    x, y, sample_weight : structure of tensor, or None
        Inputs, targets and weights; the first axis of each leaf is the samples.
    num_samples : int
        Length of that axis.
    """

    x: Any
    y: Any
    sample_weight: Any
    num_samples: int

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """Inputs, targets and weights together."""
        return self.x, self.y, self.sample_weight


class Batches(Protocol):
    """A finite sequence of batches that gives the same ones on every sweep."""

    @property
    def num_batches(self) -> int | None:
        """Batches in one sweep; None where only a sweep can tell."""
        ...

    @property
    def graph_source(self) -> Any:
        """What a backend may read in a compiled function, without this class's help."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Go through the data once."""
        ...


def is_positive_whole(number: Any) -> bool:
    """Tell whether an argument counts something.

    Parameters
    ----------
    number : object
        What a user passed.

    Returns
    -------
    bool
        Whether it is a positive integer, of any numeric type but bool.
    """
    real = isinstance(number, Real) and not isinstance(number, bool)
    return real and number >= 1 and number % 1 == 0


def count_samples(*arrays: Any) -> int:
    """Count the samples and see that all arrays have as many.

    Parameters
    ----------
    *arrays : structure of array
        Structures whose leaves share their first axis; None is passed over.

    Returns
    -------
    int
        Length of the first axis.

    Raises
    ------
    DataError
        If leaves differ in length, have no axis, or there are none.
    """
    sizes = []
    for leaf in keras.tree.flatten(arrays):
        if leaf is None:
            continue
        shape = getattr(leaf, "shape", None)
        if shape is None or len(shape) == 0:
            message = (
                f"an array of the training data has no sample axis: {leaf!r:.80}. "
                "Each input, target and weight needs its samples along the first axis. "
                "Pass arrays of shape (samples, ...)."
            )
            raise DataError(message)
        sizes.append(int(shape[0]))
    if not sizes or 0 in sizes:
        message = (
            f"the training data is empty: sample counts {sizes}. "
            "At least one sample is needed. Pass x (and y) with data."
        )
        raise DataError(message)
    if len(set(sizes)) > 1:
        message = (
            f"the arrays of the training data differ in length: {sizes} samples. "
            "Inputs, targets and sample weights need one entry for each sample. "
            "Pass arrays of equal length."
        )
        raise DataError(message)
    return sizes[0]
