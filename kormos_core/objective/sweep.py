"""How a traced function goes through the data once.

What is summed over batches is summed where it is computed: slices of arrays are cut in
the compiled loop, streams are read in it, and memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias, final

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.objective.noise import seeds_of_batch

__all__ = ["Data", "Inputs", "Slices", "Step", "Stream", "Sweep", "Whole"]


class Inputs(NamedTuple):
    """What a traced function takes for one batch, besides the parameters.

    Attributes
    ----------
    arrays : tuple of (x, y, sample_weight)
        Structures of tensors.
    seeds : tuple of tensor
        States of the seed generators.
    totals : tensor or None
        Denominators of the whole data.
    others : tuple of tensor
        Values of variables that nothing trains, where they must be passed.
    """

    arrays: tuple[Any, Any, Any]
    seeds: tuple[Any, ...]
    totals: Any
    others: tuple[Any, ...] = ()


class Data(NamedTuple):
    """What a traced function takes for the whole data.

    Attributes
    ----------
    source : structure of tensor, or stream
        All arrays at full length, or what the backend reads batches from.
    seeds : tuple of tensor
        States of the seed generators for the first batch.
    totals : tensor or None
        Denominators of the whole data.
    others : tuple of tensor
        Values of variables that nothing trains, where they must be passed.
    """

    source: Any
    seeds: tuple[Any, ...]
    totals: Any
    others: tuple[Any, ...] = ()


Step: TypeAlias = Callable[[list[Any], Inputs, Any], list[Any]]
"""From a state, a batch and what it counts with to the next state; traceable."""


class Sweep(Protocol):
    """A way through the data; equal ones may share what was compiled."""

    def fold(
        self, data: Data, step: Step, state: list[Any], *, mean: bool
    ) -> tuple[list[Any], Any]:
        """Go through the data batch by batch.

        Parameters
        ----------
        data : Data
            All of the data.
        step : callable
            ``state = step(state, inputs, weight)``.
        state : list of tensor
            What it starts from.
        mean : bool
            Whether a batch counts in proportion to its samples, or with 1.

        Returns
        -------
        tuple of (list of tensor, tensor or float)
            What it ends with, and what weights are to be divided by.
        """
        ...

    def total(
        self, data: Data, evaluate: Callable[[Inputs], list[Any]], zeros: list[Any], *, mean: bool
    ) -> list[Any]:
        """Add up what is computed of each batch.

        Parameters
        ----------
        data : Data
            All of the data.
        evaluate : callable
            Makes a list of tensors of one batch.
        zeros : list of tensor
            Zeros of their shapes.
        mean : bool
            Whether a batch counts with its share of the samples, or fully.

        Returns
        -------
        list of tensor
            The sums.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class Whole:
    """All samples in one batch (`Sweep`)."""

    def fold(
        self, data: Data, step: Step, state: list[Any], *, mean: bool
    ) -> tuple[list[Any], Any]:
        """Take `step` from `state` with the one batch of `data`; `mean` makes no difference."""
        del mean
        return step(state, Inputs(*data), 1.0), 1.0

    def total(
        self, data: Data, evaluate: Callable[[Inputs], list[Any]], zeros: list[Any], *, mean: bool
    ) -> list[Any]:
        """Evaluate the one batch of `data`; `zeros` and `mean` make no difference."""
        del zeros, mean
        return evaluate(Inputs(*data))


@final
@dataclass(frozen=True, slots=True)
class Slices:
    """Arrays in equal slices, and a shorter one at the end where there is one (`Sweep`).

    Attributes
    ----------
    num_samples : int
        Length of the arrays.
    batch_size : int
        Length of a slice.
    """

    num_samples: int
    batch_size: int

    def total(
        self, data: Data, evaluate: Callable[[Inputs], list[Any]], zeros: list[Any], *, mean: bool
    ) -> list[Any]:
        """Loop over the slices of `data`: `evaluate`, weigh if `mean`, add to `zeros`."""
        return self.fold(data, _adding(evaluate), zeros, mean=mean)[0]

    def fold(
        self, data: Data, step: Step, state: list[Any], *, mean: bool
    ) -> tuple[list[Any], Any]:
        """Loop over the slices of `data` from `state`, each with its share if `mean`."""
        full, rest = divmod(self.num_samples, self.batch_size)

        def take(state: list[Any], index: Any, length: int) -> list[Any]:
            inputs = self.cut(data, index, index * self.batch_size, length)
            return step(state, inputs, length / self.num_samples if mean else 1.0)

        state = current_backend().reduce_range(
            full, state, lambda state, index: take(state, index, self.batch_size)
        )
        # XLA wants static shapes, so the short slice is a trace of its own.
        return take(state, full, rest) if rest else list(state), 1.0

    @staticmethod
    def cut(data: Data, index: Any, start: Any, length: int) -> Inputs:
        """Cut a slice out of the arrays.

        Parameters
        ----------
        data : Data
            All of the data.
        index : tensor or int
            Number of the slice, which seeds its noise.
        start : tensor or int
            Its first sample.
        length : int
            How many there are.

        Returns
        -------
        Inputs
            The slice.
        """
        first = keras.ops.convert_to_tensor(start, "int32")  # JAX wants indices of one dtype

        def part(leaf: Any) -> Any:
            if leaf is None:
                return None
            begin = (first, *(np.int32(0) for _ in leaf.shape[1:]))
            return keras.ops.slice(leaf, begin, (length, *leaf.shape[1:]))

        arrays = keras.tree.map_structure(part, data.source)
        return Inputs(arrays, seeds_of_batch(data.seeds, index), *data[2:])


@final
@dataclass(frozen=True, slots=True)
class Stream:
    """Batches that the backend reads from their source on every sweep (`Sweep`).

    Attributes
    ----------
    present : tuple of bool
        For each leaf of a batch whether it is there, or None.
    structure : str
        Structure of a batch, for comparison.
    pack : callable
        From the list of all leaves to (x, y, sample_weight).
    """

    present: tuple[bool, ...]
    structure: str
    pack: Callable[[list[Any]], tuple[Any, Any, Any]] = field(compare=False)

    def total(
        self, data: Data, evaluate: Callable[[Inputs], list[Any]], zeros: list[Any], *, mean: bool
    ) -> list[Any]:
        """Read `data` in the graph: `evaluate`, weigh if `mean`, add to `zeros`."""
        totals, samples = self.fold(data, _adding(evaluate), zeros, mean=mean)
        return [value / samples for value in totals] if mean else list(totals)

    def fold(
        self, data: Data, step: Step, state: list[Any], *, mean: bool
    ) -> tuple[list[Any], Any]:
        """Read `data` in the graph from `state` on, each batch with its samples if `mean`."""

        def take(state: tuple[Any, ...], batch: tuple[Any, ...]) -> tuple[Any, ...]:
            index, samples, *inner = state
            leaves = iter(batch)
            arrays = self.pack([next(leaves) if here else None for here in self.present])
            length = keras.ops.cast(keras.ops.shape(batch[0])[0], "float64")
            inputs = Inputs(arrays, seeds_of_batch(data.seeds, index), *data[2:])
            return (index + 1, samples + length, *step(inner, inputs, length if mean else 1.0))

        start = (
            keras.ops.convert_to_tensor(0, "int32"),
            keras.ops.convert_to_tensor(0.0, "float64"),
            *state,
        )
        _, samples, *ended = current_backend().reduce_stream(data.source, start, take)
        return list(ended), samples if mean else 1.0


def _adding(evaluate: Callable[[Inputs], list[Any]]) -> Step:
    """Return the step that adds what is computed of a batch."""

    def add(totals: list[Any], inputs: Inputs, weight: Any) -> list[Any]:
        return [a + weight * b for a, b in zip(totals, evaluate(inputs), strict=True)]

    return add
