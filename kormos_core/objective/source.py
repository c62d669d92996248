"""Training data as the compiled loop takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from kormos_core.backends import current_backend
from kormos_core.data import ArrayBatches
from kormos_core.errors import DataError
from kormos_core.objective.sweep import Slices, Stream, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kormos_core.data import Batches
    from kormos_core.objective.sweep import Sweep

__all__ = ["graph_source"]


def graph_source(batches: Batches, faults: list[Exception]) -> tuple[Sweep, Any]:
    """Return the way through the data inside the graph, and what it goes through.

    Parameters
    ----------
    batches : Batches
        The training data.
    faults : list of Exception
        Takes what the data raises while it is read in the graph, where no exception
        passes as it is.

    Returns
    -------
    tuple of (Sweep, structure)
        For arrays the tensors themselves; for a stream what the backend reads from.

    Raises
    ------
    DataError
        If a stream has fewer batches than it should.
    """
    if isinstance(batches, ArrayBatches):
        if batches.num_batches == 1:
            return Whole(), batches.graph_source
        return Slices(batches.num_samples, batches.batch_size), batches.graph_source
    first = next(iter(batches)).arrays  # once more: a stream that changes is noticed here
    if not getattr(batches, "is_counted", True):
        for _ in batches:  # in the graph nobody counts
            pass
    present = keras.tree.map_structure(lambda leaf: leaf is not None, first)
    shape = _shapes(first)
    del first
    sweep = Stream(
        present=tuple(keras.tree.flatten(present)),
        structure=str(present),
        pack=lambda flat: keras.tree.pack_sequence_as(present, flat),
    )

    def take(item: Any) -> tuple[Any, ...]:
        return _leaves(keras.utils.unpack_x_y_sample_weight(item))

    def read() -> Iterator[tuple[Any, ...]]:
        try:
            for number, batch in enumerate(batches):
                _compare(number, _shapes(batch.arrays), shape)
                yield _leaves(batch.arrays)
        except Exception as error:
            faults.append(error)
            raise

    return sweep, current_backend().stream(batches.graph_source, read, take)


def _leaves(arrays: Any) -> tuple[Any, ...]:
    return tuple(leaf for leaf in keras.tree.flatten(arrays) if leaf is not None)


def _shapes(arrays: Any) -> str:
    """Write down the shapes of a batch, but for the samples."""
    return str(
        keras.tree.map_structure(
            lambda leaf: None if leaf is None else ["samples", *leaf.shape[1:]], arrays
        )
    )


def _compare(number: int, shape: str, first: str) -> None:
    """Refuse a batch that what was traced for the first one cannot take."""
    if shape == first:
        return
    message = (
        f"batch {number} of the training data is (x, y, sample_weight) of shapes {shape}, and the "
        f"first one is {first}. In the graph batches that Python makes may differ in the number "
        "of samples alone. Pad them, pass a tf.data.Dataset, or use a solver that runs outside "
        "of the graph, such as scipy:l-bfgs-b."
    )
    raise DataError(message.replace("'", ""))
