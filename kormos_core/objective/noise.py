"""Frozen noise: the same random draw for a batch on every sweep of a fit.

A model with dropout has a random loss, which no line search can work on. Its noise is
drawn once a fit and differs from batch to batch: the sample average approximation of
Kleywegt, Shapiro and Homem-de-Mello (2002), doi:10.1137/S1052623499363220.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.backends import current_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FrozenNoise", "other_variables", "seed_variables", "seeds_of_batch"]

_STRIDE = 1 << 20  # more draws than any layer makes in one batch
_ADVANCE = 1009  # distance of two fits' draws; a prime, so that strides never meet


def seed_variables(model: keras.Model) -> list[keras.Variable]:
    """List the states of the seed generators of `model`."""
    return [
        variable
        for variable in model.non_trainable_variables
        if variable.name == "seed_generator_state"
    ]


def other_variables(model: keras.Model) -> list[keras.Variable]:
    """List the variables of `model` that are neither trained nor seeds, as frozen weights."""
    seeds = {id(variable) for variable in seed_variables(model)}
    return [variable for variable in model.non_trainable_variables if id(variable) not in seeds]


def seeds_of_batch(first: tuple[Any, ...], index: Any) -> tuple[Any, ...]:
    """Return the seeds of one batch, inside a trace.

    Parameters
    ----------
    first : tuple of tensor, shape (2,)
        The seeds of batch 0.
    index : tensor or int
        Number of the batch.

    Returns
    -------
    tuple of tensor, shape (2,)
        The same as `FrozenNoise.for_batch` gives.
    """
    counter = keras.ops.cast(index, "int64") * _STRIDE
    return tuple(
        state
        + keras.ops.stack([keras.ops.zeros((), state.dtype), keras.ops.cast(counter, state.dtype)])
        for state in first
    )


@final
@dataclass(frozen=True, slots=True)
class FrozenNoise:
    """Seeds of one fit.

    Attributes
    ----------
    states : tuple of ndarray, shape (2,)
        For each seed generator its seed and its counter at the start of the fit.
    """

    states: tuple[NDArray[Any], ...]

    @classmethod
    def draw(cls, model: keras.Model) -> FrozenNoise:
        """Take the generators' states and move the generators on for the next fit.

        Parameters
        ----------
        model : keras.Model
            The model, whose generators advance.

        Returns
        -------
        FrozenNoise
            The states before.
        """
        states = []
        for variable in seed_variables(model):
            state = np.array(keras.ops.convert_to_numpy(variable))
            states.append(state)
            variable.assign(state + np.array([0, _ADVANCE], state.dtype))
        return cls(tuple(states))

    def for_batch(self, index: int) -> tuple[Any, ...]:
        """Return the seeds of batch `index`, a tensor of shape (2,) for each generator."""
        backend = current_backend()
        return tuple(
            backend.to_device(state + np.array([0, _STRIDE * index], state.dtype))
            for state in self.states
        )
