"""All residuals and their whole Jacobian, in the graph.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``J`` their Jacobian (m, n).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.errors import MemoryLimitError, UnsupportedError
from kormos_core.objective.rows import JACOBIAN_LIMIT, Rows, fold_rows
from kormos_core.objective.sweep import Stream

if TYPE_CHECKING:
    from kormos_core.objective.graph import Graph
    from kormos_core.objective.sweep import Inputs

__all__ = ["whole_jacobian"]


def whole_jacobian(graph: Graph, x: Any, num_residuals: int) -> Rows:
    """Return all residuals and their whole Jacobian, in one sweep.

    Parameters
    ----------
    graph : Graph
        The objective.
    x : tensor, shape (n,)
        The point.
    num_residuals : int
        Number of residuals m, as the objective tells it from Python.

    Returns
    -------
    Rows
        In one order at every point: as the batches have them, then what regularizes
        parameters.

    Raises
    ------
    MemoryLimitError
        If the Jacobian has more numbers than a dense one may have.
    UnsupportedError
        If the data are a stream: it gives rows of which the graph does not know the number.

    Notes
    -----
    Memory: ``m (n + 1)`` numbers, and the rows of one batch.
    """
    _check(graph, num_residuals)
    ops = keras.ops
    d = np.zeros(graph.size) if graph.penalty is None else np.asarray(graph.penalty)
    penalized = np.flatnonzero(d)
    num_rows = num_residuals - penalized.size

    def batch(state: list[Any], inputs: Inputs, weight: Any) -> list[Any]:
        root = ops.sqrt(ops.convert_to_tensor(weight, dtype="float64"))

        def place(inner: list[Any], rows: Rows) -> list[Any]:
            begin, r, jac = inner
            return [
                begin + ops.shape(rows.r)[0],
                ops.slice_update(r, (begin,), root * rows.r),
                ops.slice_update(jac, (begin, np.int32(0)), root * rows.jac),
            ]

        return fold_rows(graph.batch.forward, x, inputs, graph.rows, place, state)

    start = [ops.zeros((), "int32"), ops.zeros((num_rows,), "float64")]
    start.append(ops.zeros((num_rows, graph.size), "float64"))
    (_, r, jac), _ = graph.sweep.fold(graph.data, batch, start, mean=graph.mean)
    if not penalized.size:
        return Rows(r, jac)
    own = ops.convert_to_tensor(d[penalized])
    below = ops.convert_to_tensor(np.diag(d)[penalized])
    parameters = ops.take(x, ops.convert_to_tensor(penalized.astype(np.int32)))
    return Rows(ops.concatenate([r, own * parameters]), ops.concatenate([jac, below]))


def _check(graph: Graph, num_residuals: int) -> None:
    if isinstance(graph.sweep, Stream):
        message = (
            f"the solver keeps all {num_residuals:,} residuals and their Jacobian at once, and "
            "the training data are a stream. Allowed are arrays. Pass the data as arrays, or use "
            "native:levenberg-marquardt, which goes through them batch by batch."
        )
        raise UnsupportedError(message)
    number = num_residuals * graph.size
    if number > JACOBIAN_LIMIT:
        message = (
            f"the solver keeps the whole Jacobian of {num_residuals:,} residuals and "
            f"{graph.size:,} parameters: {number:,} numbers. Allowed are {JACOBIAN_LIMIT:,}. Use "
            "native:levenberg-marquardt, which goes through it batch by batch."
        )
        raise MemoryLimitError(message)
