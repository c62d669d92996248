"""NIST's nonlinear problems as small Keras models, from NIST's two starts each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import keras
from keras import ops

from kormos_core.compare.nist.formulas import FORMULAS
from kormos_core.compare.nist.tables import nonlinear
from kormos_core.compare.problem import Data, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Formula", "make_problem"]


class Formula(keras.layers.Layer):
    """A layer that computes one of the `FORMULAS` from its one weight.

    Parameters
    ----------
    formula : callable
        Takes k predictors, shape (n, 1), and p scalars; gives the response, shape (n, 1).
    num_parameters : int
        The p parameters are the weight ``b``, shape (p,), zeros at first.
    **options : object
        As of `keras.layers.Layer`.
    """

    def __init__(self, formula: Callable[..., Any], num_parameters: int, **options: Any) -> None:
        super().__init__(**options)
        self.formula = formula
        self.b = self.add_weight(shape=(num_parameters,), initializer="zeros", name="b")

    def call(self, inputs: Any) -> Any:
        """Compute the response, shape (n, 1), of the predictors `inputs`, shape (n, k)."""
        columns = ops.split(inputs, inputs.shape[-1], axis=-1)
        return self.formula(*columns, *ops.unstack(self.b))


@final
@dataclass(frozen=True, slots=True)
class _Recipe:
    """One of NIST's problems, by NIST's name."""

    name: str

    def load(self) -> Data:
        """Return NIST's observations."""
        table = nonlinear()[self.name]
        return Data(x=table.x, y=table.y)

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return a new model of one `Formula`; start 0 is the far one, 1 the near one."""
        table = nonlinear()[self.name]
        layer = Formula(FORMULAS[self.name], len(table.parameters), dtype=dtype)
        model = keras.Sequential([keras.Input((table.x.shape[1],), dtype=dtype), layer])
        model.set_weights([table.starts[start].astype(dtype)])
        return model

    def loss(self) -> keras.losses.Loss:
        """Return a new mean squared error."""
        return keras.losses.MeanSquaredError()


def make_problem(name: str) -> Problem:
    """Return the problem of a name; see `kormos_core.capabilities.ProblemSpec.factory`.

    Parameters
    ----------
    name : str
        ``"nist-"`` and NIST's name in lower case.

    Returns
    -------
    Problem
        The problem; `f_min` is the certified sum of squares over the number of observations.
    """
    table = _BY_NAME[name]
    return Problem(
        name=name,
        summary=f"NIST's {table.name}, {table.difficulty} difficulty: {table.formula}",
        recipe=_Recipe(table.name),
        sets=("nist",),
        f_min=table.rss / len(table.y),
        num_starts=len(table.starts),
    )


_BY_NAME: Final = {f"nist-{name.lower()}": table for name, table in nonlinear().items()}
