"""The functions of Moré, Garbow and Hillstrom as Keras models, from their standard starts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np
from keras import ops

from kormos_core.compare.classic import CLASSIC
from kormos_core.compare.problem import Data, Problem

if TYPE_CHECKING:
    from kormos_core.compare.classic import ClassicFunction

__all__ = ["Residuals", "make_problem", "name_of"]


@final
class Residuals(keras.layers.Layer):
    """A layer that gives the residuals of a function at its one weight.

    Parameters
    ----------
    function : ClassicFunction
        The function; its residuals are computed in float64, and given in the layer's dtype.
    **options : object
        As of `keras.layers.Layer`.

    Notes
    -----
    The outputs are the m residuals times the root of m, so that the mean of their squares,
    Keras's loss, is the sum of squares of the paper.
    """

    def __init__(self, function: ClassicFunction, **options: Any) -> None:
        super().__init__(**options)
        self.function = function
        self.point = self.add_weight(
            shape=(function.size,), initializer=_constant(function.x0), name="x"
        )

    def call(self, inputs: Any) -> Any:
        """Return the residuals, shape (1, m), whatever the `inputs`, shape (1, 1), are."""
        r = self.function.residuals(ops.cast(ops.convert_to_tensor(self.point), "float64"))
        r = ops.cast(math.sqrt(r.shape[0]) * r, self.compute_dtype)
        return ops.expand_dims(r, 0) + 0.0 * inputs


@final
@dataclass(frozen=True, slots=True)
class _Recipe:
    """One function of the paper."""

    function: ClassicFunction

    def load(self) -> Data:
        """Return one sample of zeros: the functions have their data in them."""
        x0 = ops.convert_to_tensor(self.function.x0, dtype="float64")
        num_residuals = len(self.function.residuals(x0))
        return Data(x=np.zeros((1, 1)), y=np.zeros((1, num_residuals)))

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new model of one layer of `Residuals`."""
        del start  # there is one
        layer = Residuals(self.function, dtype=dtype)
        return keras.Sequential([keras.Input((1,), dtype=dtype), layer])

    def loss(self) -> keras.losses.Loss:
        """Return a new mean squared error."""
        return keras.losses.MeanSquaredError()


def name_of(title: str) -> str:
    """Turn a title of the paper into the name of a problem.

    Parameters
    ----------
    title : str
        Such as ``"Watson, n=6"``.

    Returns
    -------
    str
        Such as ``"mgh-watson-n-6"``.
    """
    return "mgh-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def make_problem(name: str) -> Problem:
    """Return the problem of a name; see `kormos_core.capabilities.ProblemSpec.factory`.

    Parameters
    ----------
    name : str
        What `name_of` makes of a title.

    Returns
    -------
    Problem
        The problem; `f_min` is the least of the published minima.
    """
    function = _BY_NAME[name]
    return Problem(
        name=name,
        summary=f"({function.number}) {function.name}, n={function.size}",
        recipe=_Recipe(function),
        sets=("mgh",),
        f_min=function.minima[0],
        num_starts=1,
    )


def _constant(values: tuple[float, ...]) -> Any:
    return lambda shape, dtype=None: ops.reshape(ops.convert_to_tensor(values, dtype), shape)


_BY_NAME: Final = {name_of(function.name): function for function in CLASSIC}
