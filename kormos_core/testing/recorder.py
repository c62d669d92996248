"""What a solver evaluates inside the graph, written down while it runs.

A compiled function cannot call Python; it can write to variables.

Symbols: ``x`` parameters (n,), ``f`` loss, ``v`` direction (n,); float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["FIRST", "Recorder", "WatchedGraph"]

FIRST: Final = 8
"""Evaluated points that are kept, from the first on."""

_EVALUATIONS: Final = frozenset(
    {"value", "value_and_grad", "normal_equations", "triangle", "residuals_and_jacobian"}
)
_PRODUCTS: Final = frozenset({"hvp_at", "gauss_newton_at"})


@final
class Recorder:
    """Counts and points of the evaluations in a graph.

    Parameters
    ----------
    size : int
        Number of parameters n.

    Attributes
    ----------
    asked : set of str
        What has been asked of a graph since the recorder was made, which is while tracing.
    """

    def __init__(self, size: int) -> None:
        self.asked: set[str] = set()
        self._size = size
        self._fg = keras.Variable(0, trainable=False, dtype="int32")
        self._hvp = keras.Variable(0, trainable=False, dtype="int32")
        self._lowest, self._highest, self._points = (
            keras.Variable(np.zeros(shape), trainable=False, dtype="float64")
            for shape in ((size,), (size,), (FIRST, size))
        )
        self.clear()

    def clear(self) -> None:
        """Forget what was evaluated."""
        self._fg.assign(0)
        self._hvp.assign(0)
        self._lowest.assign(np.full(self._size, np.inf))
        self._highest.assign(np.full(self._size, -np.inf))
        self._points.assign(np.full((FIRST, self._size), np.nan))

    @property
    def num_fg(self) -> int:
        """Evaluations of the loss, with or without derivatives."""
        return int(self._fg)

    @property
    def num_hvp(self) -> int:
        """Products with the Hessian or with ``J' J``."""
        return int(self._hvp)

    @property
    def points(self) -> list[NDArray[np.float64]]:
        """The first evaluated points and the ends of the box around all of them."""
        if not self.num_fg + self.num_hvp:
            return []
        first = np.array(keras.ops.convert_to_numpy(self._points))[: self.num_fg]
        ends = (np.array(keras.ops.convert_to_numpy(end)) for end in (self._lowest, self._highest))
        return [*first, *ends]

    def evaluation(self, x: Any) -> None:
        """Take note of an evaluation at `x`, shape (n,); traceable."""
        rows = keras.ops.expand_dims(keras.ops.equal(keras.ops.arange(FIRST), self._fg), 1)
        self._points.assign(keras.ops.where(rows, x, self._points))
        self._fg.assign_add(1)
        self._widen(x)

    def product(self, x: Any) -> None:
        """Take note of a product at `x`, shape (n,); traceable."""
        self._hvp.assign_add(1)
        self._widen(x)

    def _widen(self, x: Any) -> None:
        self._lowest.assign(keras.ops.minimum(self._lowest, x))
        self._highest.assign(keras.ops.maximum(self._highest, x))


@final
class WatchedGraph:
    """A `kormos_core.loop.GraphObjective` whose evaluations are written down.

    Parameters
    ----------
    graph : GraphObjective
        The objective.
    recorder : Recorder
        Who writes.
    """

    def __init__(self, graph: Any, recorder: Recorder) -> None:
        self._graph = graph
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        """Return what the objective has of that name, watched where it evaluates."""
        found = getattr(self._graph, name)
        if name not in _EVALUATIONS | _PRODUCTS:
            return found
        self._recorder.asked.add(name)

        def evaluate(x: Any, *others: Any, **how: Any) -> Any:
            if name in _EVALUATIONS:
                self._recorder.evaluation(x)
                return found(x, *others, **how)
            return self._product(found(x, *others, **how), x)

        return evaluate

    def _product(self, product: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
        def watched(v: Any) -> Any:
            self._recorder.product(x)
            return product(v)

        return watched
