"""How one flat vector and a model's trainable variables map onto each other."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Layout"]


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """Order, shapes and offsets of trainable variables in the flat vector.

    Attributes
    ----------
    variables : tuple of keras.Variable
        The trainable variables, in the model's own order; each is raveled in C order.
    offsets : tuple of int
        Start of each variable in the vector, and the vector's length as last entry.
    """

    variables: tuple[keras.Variable, ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, variables: Sequence[keras.Variable]) -> Layout:
        """Lay out `variables` one after the other.

        Parameters
        ----------
        variables : sequence of keras.Variable
            Variables of floating dtype and known shape.

        Returns
        -------
        Layout
            The layout.
        """
        offsets = [0]
        for variable in variables:
            offsets.append(offsets[-1] + math.prod(variable.shape))
        return cls(tuple(variables), tuple(offsets))

    @property
    def size(self) -> int:
        """Number of parameters n."""
        return self.offsets[-1]

    @property
    def dtype(self) -> str:
        """Widest dtype among the variables, such as ``"float32"``."""
        wide = any(str(variable.dtype) == "float64" for variable in self.variables)
        return "float64" if wide else str(self.variables[0].dtype)

    def slices(self) -> list[slice]:
        """Return the place of each variable in the vector."""
        return [slice(a, b) for a, b in itertools.pairwise(self.offsets)]

    def split(self, x: Any) -> list[Any]:
        """Cut a flat tensor into tensors of the variables' shapes and dtypes.

        Parameters
        ----------
        x : tensor, shape (n,)
            Flat parameters; traced operations only, so it differentiates.

        Returns
        -------
        list of tensor
            One for each variable.
        """
        parts = [x] if len(self.variables) == 1 else keras.ops.split(x, list(self.offsets[1:-1]))
        return [
            keras.ops.cast(keras.ops.reshape(part, variable.shape), variable.dtype)
            for part, variable in zip(parts, self.variables, strict=True)
        ]

    def read(self) -> NDArray[np.float64]:
        """Read the variables' present values into a flat vector, shape (n,)."""
        parts = [
            np.ravel(keras.ops.convert_to_numpy(variable)).astype(np.float64)
            for variable in self.variables
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def write(self, x: NDArray[np.float64]) -> None:
        """Assign the flat vector `x`, shape (n,), to the variables."""
        for variable, place in zip(self.variables, self.slices(), strict=True):
            variable.assign(np.reshape(x[place], variable.shape))
