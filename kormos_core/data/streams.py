"""Streams: data that comes in batches and is gone through again on every sweep."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
import psutil

from kormos_core.backends import current_backend
from kormos_core.data.batches import Batch, count_samples, is_positive_whole
from kormos_core.data.leaves import as_array
from kormos_core.data.reasons import reason_of
from kormos_core.data.weights import class_to_sample_weight
from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["StreamBatches"]

MAX_CACHED_BATCHES = 1_000_000
"""Batches after which a generator without `steps_per_epoch` counts as endless."""

_END = object()

_COMPARED = 8  # samples: enough to notice a shuffle, too few to cost anything


@final
@dataclass(frozen=True, slots=True)
class StreamBatches:
    """Batches read anew from their source on every sweep (`Batches`).

    Attributes
    ----------
    source : iterable
        Gives ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, the same on each pass.
    num_batches : int or None
        Batches in one sweep, where it is known.
    class_weight : mapping or None
        Weight of each class index.
    float_dtype : str
        Dtype of the class weights.
    seen : list
        Fingerprint of the first batch, once there has been a sweep.
    """

    source: Iterable[Any]
    num_batches: int | None
    class_weight: Mapping[int, float] | None
    float_dtype: str
    seen: list[bytes] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        source: Any,
        *,
        steps: int | None,
        class_weight: Mapping[int, float] | None,
        float_dtype: str,
    ) -> StreamBatches:
        """Adapt a source of batches.

        Parameters
        ----------
        source : tf.data.Dataset, keras.utils.PyDataset, iterable or iterator
            An iterator is read once and kept; all else is gone through again on each
            sweep, so that memory grows with the batch and not with the data.
        steps : int or None
            Batches that make one sweep (`steps_per_epoch`); None for all.
        class_weight : mapping or None
            Weight of each class index.
        float_dtype : str
            Dtype of the class weights.

        Returns
        -------
        StreamBatches
            The adapted source.

        Raises
        ------
        DataError
            If the source is endless and `steps` is None, or `steps` is not positive.
        """
        if steps is not None and not is_positive_whole(steps):
            message = (
                f"steps_per_epoch is not usable: {steps!r}. "
                "Allowed is a positive integer, or None for all batches. Pass one of them."
            )
            raise DataError(message)
        source, num_batches = _repeatable(source, steps)
        return cls(source, num_batches, class_weight, float_dtype)

    @property
    def is_counted(self) -> bool:
        """Whether the source itself tells how many batches it has, or need not."""
        cardinality = getattr(self.source, "cardinality", None)
        return self.num_batches is None or cardinality is None or int(cardinality()) >= 0

    @property
    def graph_source(self) -> Any:
        """The source itself where its items need no work in Python, else None."""
        return self.source if self.class_weight is None else None

    def __iter__(self) -> Iterator[Batch]:
        """Go through the source once, with one batch alive at a time."""
        items = iter(self.source)
        count = 0
        while (item := self._next(items)) is not _END:
            batch = self._batch(item)
            del item
            if count == 0:
                self._compare(batch)
            count += 1
            yield batch
            del batch  # or it would stay while the next one is read
        if count == 0:
            message = (
                "the training data gave no batch. At least one is needed on every sweep. "
                "Pass data that can be gone through more than once."
            )
            raise DataError(message)
        if self.num_batches is not None and count < self.num_batches:
            raise DataError(_too_few(count, self.num_batches))

    def _next(self, items: Iterator[Any]) -> Any:
        """Read one batch, or the end."""
        try:
            return next(items, _END)
        except Exception as error:
            if not hasattr(self.source, "element_spec"):
                raise  # the user's own error, from the user's own code
            message = (
                f"the training data cannot be read: {type(error).__name__}: {reason_of(error)}. "
                "Every batch is needed on every sweep. Go through the dataset once by itself, as "
                "`for batch in dataset: pass`."
            )
            raise DataError(message) from error

    def _compare(self, batch: Batch) -> None:
        """See that this sweep begins as the first one did."""
        mark = pickle.dumps(
            [
                keras.ops.convert_to_numpy(leaf[:_COMPARED])
                for leaf in keras.tree.flatten(batch.arrays)
                if leaf is not None
            ]
        )
        if not self.seen:
            self.seen.append(mark)
        elif self.seen[0] != mark:
            message = (
                "the training data changes from sweep to sweep: another first batch. A solver "
                "needs the same batches in the same order each time. Take out what shuffles or "
                "augments, or fix it, such as shuffle(..., reshuffle_each_iteration=False)."
            )
            raise DataError(message)

    def _batch(self, item: Any) -> Batch:
        x, y, weight = _unpack(item)
        if self.class_weight is not None:
            if weight is not None:
                message = (
                    "class_weight and sample weights in the data exclude each other. "
                    "Allowed is one of them. Drop one."
                )
                raise DataError(message)
            weight = class_to_sample_weight(y, self.class_weight, self.float_dtype)
        x, y, weight = keras.tree.map_structure(_to_device, (x, y, weight))
        try:
            return Batch(x, y, weight, count_samples(x, y, weight))
        except DataError as error:
            message = (
                f"a batch of the training data is not usable: {error} If the source gives single "
                "samples, make batches of them, such as by dataset.batch(256)."
            )
            raise DataError(message) from error


def _unpack(item: Any) -> tuple[Any, Any, Any]:
    try:
        return keras.utils.unpack_x_y_sample_weight(item)  # type: ignore[no-any-return]
    except ValueError as error:
        message = (
            f"a batch of the training data is a {type(item).__name__} of {len(item)}. Allowed "
            "are x, (x,), (x, y) and (x, y, sample_weight). Put several inputs or targets into "
            "a list or a dict."
        )
        raise DataError(message) from error


def _to_device(leaf: Any) -> Any:
    return None if leaf is None else current_backend().to_device(as_array(leaf, None))


def _repeatable(source: Any, steps: int | None) -> tuple[Iterable[Any], int | None]:
    if hasattr(source, "cardinality") and hasattr(source, "element_spec"):
        return _dataset(source, steps)
    if isinstance(source, keras.utils.PyDataset):
        return _py_dataset(source, steps)
    if isinstance(source, Iterator):
        kept = tuple(itertools.islice(source, steps)) if steps else tuple(_read_all(source))
        if steps and len(kept) < steps:
            raise DataError(_too_few(len(kept), steps))
        return kept, len(kept)
    return (_Head(source, steps), steps) if steps else (source, None)


def _dataset(source: Any, steps: int | None) -> tuple[Iterable[Any], int | None]:
    cardinality = int(source.cardinality())
    infinite, unknown = -1, -2
    if steps is not None:
        if 0 <= cardinality < steps:
            raise DataError(_too_few(cardinality, steps))
        return source.take(steps), steps
    if cardinality == infinite:
        raise DataError(_endless("a tf.data.Dataset that repeats for ever"))
    return source, None if cardinality == unknown else cardinality


def _py_dataset(source: Any, steps: int | None) -> tuple[Iterable[Any], int | None]:
    available = source.num_batches
    if available is None and steps is None:
        raise DataError(_endless("a PyDataset without a length"))
    if available is not None and steps is not None and steps > available:
        raise DataError(_too_few(available, steps))
    num_batches = available if steps is None else steps
    return _Indexed(source, num_batches), num_batches


def _too_few(count: int, steps: int) -> str:
    return (
        f"the training data ended early: {count} batches of {steps}. Every sweep must give as "
        "many as steps_per_epoch or the data's own length says. Lower steps_per_epoch."
    )


def _endless(what: str) -> str:
    return (
        f"the training data is endless: {what}. A solver sweeps the whole data again and "
        "again, so it must end. Pass steps_per_epoch."
    )


def _read_all(source: Iterator[Any]) -> Iterator[Any]:
    limit = psutil.virtual_memory().available // 2
    held = 0
    for number, item in enumerate(source):
        held += sum(_num_bytes(leaf) for leaf in keras.tree.flatten(item))
        if number >= MAX_CACHED_BATCHES or held > limit:
            what = f"a generator that had not ended after {number} batches, {held / 2**30:.2f} GiB"
            raise DataError(_endless(what))
        yield item


def _num_bytes(leaf: Any) -> int:
    return int(getattr(leaf, "nbytes", 0) or np.asarray(leaf).nbytes)


@final
@dataclass(frozen=True, slots=True)
class _Indexed:
    source: Any
    num_batches: int

    def __iter__(self) -> Iterator[Any]:
        return (self.source[index] for index in range(self.num_batches))


@final
@dataclass(frozen=True, slots=True)
class _Head:
    source: Iterable[Any]
    steps: int

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.source), self.steps)
