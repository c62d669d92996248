"""Residuals and rows of their Jacobian, in the graph.

A Jacobian of m residuals and n parameters is made in one of three ways:

- by samples: each sample's own rows from a sweep back through the model of that sample
  alone, all samples at once, which costs little more than a gradient. It needs samples
  that do not depend on each other (no batch statistics, no noise) and outputs of known
  shape;
- ``reverse``: a sweep back through the whole batch for each residual;
- ``forward``: a sweep through it for each parameter.

The sweeps of the last two are made many at a time, but of models with loops, such as
recurrent layers, one after the other.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``J`` their Jacobian (m, n).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import keras

from kormos_core.backends import current_backend
from kormos_core.objective.sweep import Data, Inputs, Slices

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.backends import Forward, Product

__all__ = [
    "BY_SAMPLES",
    "DENSE",
    "JACOBIAN_LIMIT",
    "Rows",
    "Squares",
    "flat_outputs",
    "fold_rows",
    "jacobian",
    "scaled_residuals",
]

BY_SAMPLES: Final = "by samples"
"""How a Jacobian is made where samples do not depend on each other."""

DENSE: Final = "forward or reverse"
"""How it is made elsewhere, by its shape."""

JACOBIAN_LIMIT: Final = 2**28
"""Most numbers in a dense Jacobian: 2 GiB."""

_NUMBERS: Final = 2**20  # in a block of rows: 8 MiB, some hundred with what they are made from


class Rows(NamedTuple):
    """Some residuals and their rows of the Jacobian.

    Attributes
    ----------
    r : tensor, shape (k,), float64
        The residuals.
    jac : tensor, shape (k, n), float64
        Their rows.
    """

    r: Any
    jac: Any


class Squares(NamedTuple):
    """A sum of squares at a point.

    Attributes
    ----------
    loss : tensor, scalar, float64
        Half the sum.
    gradient : tensor, shape (n,), float64
        ``J' r``.
    matrix : tensor, shape (n, n), float64
        ``J' J``, or its triangular factor ``R`` with ``R' R == J' J``.
    rotated : tensor, shape (n,), float64, or None
        With a factor, ``z`` with ``R' z == J' r``.
    """

    loss: Any
    gradient: Any
    matrix: Any
    rotated: Any = None


def scaled_residuals(outputs: list[Any], head: Callable[[], Any]) -> tuple[Any, Any]:
    """Return residuals of a batch and what the outputs are multiplied by.

    Parameters
    ----------
    outputs : list of tensor
        What the loss is a sum of squares of, less targets.
    head : callable
        Makes the scalar loss of them.

    Returns
    -------
    tuple of (tensor, tensor), shapes (m,), float64
        The residuals and their scale, in the order of the outputs.
    """
    ops = keras.ops
    slopes, curvature = current_backend().loss_slopes(outputs, head)
    curved = curvature([ops.ones_like(output) for output in outputs])
    slope, square = _flat(slopes), _flat(curved)
    scale = ops.sqrt(ops.maximum(square, 0.0))
    weighs = scale > 0.0
    return ops.where(weighs, slope / ops.where(weighs, scale, 1.0), 0.0), scale


def _flat(tensors: list[Any]) -> Any:
    ops = keras.ops
    parts = [ops.cast(ops.reshape(tensor, (-1,)), "float64") for tensor in tensors]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts)


def flat_outputs(forward: Forward) -> Callable[[Any], Any]:
    """Return the function from parameters to all outputs, shape (m,), float64.

    Parameters
    ----------
    forward : callable
        From parameters to outputs and what makes their loss.

    Returns
    -------
    callable
        The function; traceable.
    """
    return lambda x: _flat(forward(x)[0])


def jacobian(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Return a flat function and its whole Jacobian, forward or reverse by its shape.

    Parameters
    ----------
    function : callable
        From a tensor of shape (n,) to one of shape (m,); traceable.
    x : tensor, shape (n,)
        The point.

    Returns
    -------
    tuple of (tensor, tensor), shapes (m,) and (m, n), float64
        Values and Jacobian.
    """
    backend, ops = current_backend(), keras.ops
    if backend.has_loops(function, x):
        return _one_by_one(function, x)
    y, pull = backend.vjp(function, x)
    m, n = y.shape[0], x.shape[0]
    if _goes_back(y, x):
        return y, _products(pull, m, m)
    y, push = backend.jvp(function, x)
    return y, ops.transpose(_products(push, n, m))


def _goes_back(y: Any, x: Any) -> bool:
    """Tell whether there are no more values, as far as is known, than parameters."""
    return y.shape[0] is not None and y.shape[0] <= x.shape[0]


def _one_by_one(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Do the same by one sweep after the other: derivatives of loops go through no batch."""
    backend, ops = current_backend(), keras.ops
    y = function(x)
    back = _goes_back(y, x)
    linearize = backend.vjp if back else backend.jvp
    units = ops.eye((y if back else x).shape[0], dtype="float64")

    def row(unit: Any) -> Any:  # recorded in the loop's body: another's record serves no loop
        return linearize(function, x)[1](unit)

    rows = backend.map_rows(row, units, one_by_one=True)
    return y, rows if back else ops.transpose(rows)


def _products(product: Product, size: int, other: int | None) -> Any:
    """Return the products with all unit vectors of a size, as rows, in blocks."""
    ops = keras.ops
    width = max(1, min(size, _NUMBERS // 4 // max(other or size, 1)))
    blocks = math.ceil(size / width)
    units = ops.eye(size, dtype="float64")
    map_rows = current_backend().map_rows
    if blocks == 1:
        return map_rows(product, units)
    padded = ops.pad(units, ((0, blocks * width - size), (0, 0)))
    several = ops.reshape(padded, (blocks, width, size))
    rows = map_rows(lambda block: map_rows(product, block), several, one_by_one=True)
    return ops.reshape(rows, (blocks * width, -1))[:size]


def fold_rows(
    forward_of: Callable[[Inputs], Forward],
    x: Any,
    inputs: Inputs,
    how: str,
    step: Callable[[list[Any], Rows], list[Any]],
    state: list[Any],
) -> list[Any]:
    """Go through the rows of a batch, block by block.

    Parameters
    ----------
    forward_of : callable
        Gives the forward pass of some samples.
    x : tensor, shape (n,)
        The parameters.
    inputs : Inputs
        The batch.
    how : {BY_SAMPLES, DENSE}
        How rows are made.
    step : callable
        ``state = step(state, rows)``.
    state : list of tensor
        What it starts from.

    Returns
    -------
    list of tensor
        What it ends with.
    """
    forward = forward_of(inputs)
    outputs, head = forward(x)
    r, scale = scaled_residuals(outputs, head)
    ops, flat = keras.ops, flat_outputs(forward)
    known = all(None not in output.shape[1:] for output in outputs)
    if how != BY_SAMPLES or not known or current_backend().has_loops(flat, x):
        _, slopes = jacobian(flat, x)
        return step(state, Rows(r, ops.expand_dims(scale, 1) * slopes))

    splits = [math.prod(output.shape[1:]) for output in outputs]
    by_sample = _by_sample(r, splits), _by_sample(scale, splits)
    data = Data((inputs.arrays, *by_sample), *inputs[1:])
    samples = outputs[0].shape[0]

    def add(totals: list[Any], block: Inputs) -> list[Any]:
        arrays, r, scale = block.arrays
        slopes = _rows_of_samples(forward_of, x, inputs._replace(arrays=arrays))
        rows = ops.reshape(ops.expand_dims(scale, 2) * slopes, (-1, x.shape[0]))
        return step(totals, Rows(ops.reshape(r, (-1,)), rows))

    width = max(1, _NUMBERS // max(1, sum(splits) * x.shape[0]))
    if samples is None or samples <= width:
        return add(state, Inputs(*data))
    blocks = Slices(samples, width)
    return blocks.fold(data, lambda totals, block, _: add(totals, block), state, mean=False)[0]


def _by_sample(flat: Any, splits: list[int]) -> Any:
    """Bring what is in the order of outputs into rows of one sample each."""
    ops = keras.ops
    samples = ops.shape(flat)[0] // sum(splits)
    parts, begin = [], 0
    for split in splits:
        parts.append(ops.reshape(flat[begin * samples : (begin + split) * samples], (-1, split)))
        begin += split
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)


def _rows_of_samples(forward_of: Callable[[Inputs], Forward], x: Any, inputs: Inputs) -> Any:
    """Return the derivatives of each sample's outputs, shape (samples, outputs, n)."""
    ops = keras.ops
    leaves = keras.tree.flatten(inputs.arrays)
    present = [leaf for leaf in leaves if leaf is not None]

    def rows(sample: tuple[Any, ...]) -> Any:
        given = iter(sample)
        flat = [None if leaf is None else ops.expand_dims(next(given), 0) for leaf in leaves]
        arrays = keras.tree.pack_sequence_as(inputs.arrays, flat)
        alone = flat_outputs(forward_of(inputs._replace(arrays=arrays)))
        y, pull = current_backend().vjp(alone, x)
        units = ops.eye(y.shape[0], dtype="float64")
        if y.shape[0] == 1:
            return ops.expand_dims(pull(units[0]), 0)
        return current_backend().map_rows(pull, units)

    return current_backend().map_rows(rows, tuple(present))
