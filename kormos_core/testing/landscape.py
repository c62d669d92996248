"""A problem as a function that is traced once for all problems.

Its coefficients are variables, which a compiled function reads whenever it runs.

Symbols: ``x`` parameters (2,), ``f`` loss, ``r`` residuals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.testing.problem import Problem

__all__ = ["Landscape"]


@final
class Landscape:
    """The function of a `Problem`, in `keras.ops`.

    Parameters
    ----------
    precision : {"float64", "float32"}
        What it is computed in; parameters and values are float64.

    Attributes
    ----------
    num_calls : int
        How often Python has run it: once for each trace.
    """

    def __init__(self, precision: str) -> None:
        self._precision = precision
        self._slopes = _variable(np.zeros((2, 2)), precision)
        self._center = _variable(np.zeros(2), precision)
        self._bend = _variable(0.0, precision)
        self._shift = _variable(0.0, precision)
        self._hole = _variable(np.full(2, np.nan), "float64")
        self._fault = _variable(np.nan, precision)
        self.num_calls = 0

    def show(
        self, problem: Problem, hole: NDArray[np.float64] | None = None, fault: float = np.nan
    ) -> None:
        """Become the function of a problem.

        Parameters
        ----------
        problem : Problem
            The problem.
        hole : ndarray, shape (2,), float64, or None
            A point at which the function is not finite.
        fault : float
            What is added to every value there.
        """
        self._slopes.assign(np.array(problem.slopes))
        self._center.assign(np.array(problem.center))
        self._bend.assign(problem.bend)
        self._shift.assign(problem.shift)
        self._hole.assign(np.full(2, np.nan) if hole is None else hole)  # NaN equals nothing
        self._fault.assign(fault)

    def loss(self, x: Any) -> Any:
        """Return the loss.

        Parameters
        ----------
        x : tensor, shape (2,), float64
            The point.

        Returns
        -------
        tensor, scalar
            In the precision of the landscape.
        """
        squares = 0.5 * keras.ops.sum(keras.ops.square(self._squared(x)))
        return squares + self._shift + self._spoiled(x)

    def residuals(self, x: Any) -> Any:
        """Return residuals, half the sum of whose squares is the loss.

        Parameters
        ----------
        x : tensor, shape (2,), float64
            The point.

        Returns
        -------
        tensor, shape (5,)
            In the precision of the landscape.
        """
        ops = keras.ops
        rest = ops.reshape(ops.sqrt(2.0 * self._shift), (1,))
        return ops.concatenate([self._squared(x), rest]) + self._spoiled(x)

    def _squared(self, x: Any) -> Any:
        self.num_calls += 1
        ops = keras.ops
        x = ops.cast(x, self._precision)
        linear = ops.matmul(self._slopes, x - self._center)
        bent = self._bend * ops.stack([10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]])
        return ops.concatenate([linear, bent])

    def _spoiled(self, x: Any) -> Any:
        ops = keras.ops
        return ops.where(ops.all(ops.equal(x, self._hole)), self._fault, 0.0)


def _variable(value: Any, dtype: str) -> keras.Variable:
    return keras.Variable(value, trainable=False, dtype=dtype)
