"""Which losses are sums of squares, and what their residuals are made of.

A loss is taken as ``f(x) = 0.5 * ||r(x)||**2``. Where it is a weighted mean of squares of
a model's outputs less their targets, its second derivative with respect to an output is a
number ``s**2`` that depends on weights, masks and means alone, its first derivative is
``s**2`` times the difference, and so a residual is the first over the root of the second:
``r = s * (output - target)``. Nothing of Keras's own weighting is done again. Models that
compute residuals themselves have these in place of outputs, with targets of zero.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,), ``s`` their scale (m,).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kormos_core.objective.layout import Layout

__all__ = [
    "check_squares",
    "computes_residuals",
    "mean_of_squares",
    "penalty_scale",
    "residuals_of",
]

_CURES = (
    "Allowed are losses that are the mean squared error of every output, models that compute "
    "residuals (kormos.LeastSquaresMixin), and kormos.least_squares for a function. Use one, or "
    "a solver of another kind, such as native:lbfgs."
)


def computes_residuals(model: keras.Model) -> bool:
    """Tell whether a model computes residuals itself.

    Parameters
    ----------
    model : keras.Model
        The model.

    Returns
    -------
    bool
        Whether it is of `kormos.LeastSquaresMixin`: others may have a method of that name too.
    """
    kind = type(model)
    return hasattr(kind, "residual_weights") and callable(getattr(kind, "compute_residuals", None))


def check_squares(model: keras.Model) -> None:
    """Refuse a model whose loss is not known to be a sum of squares.

    Parameters
    ----------
    model : keras.Model
        A compiled model.

    Raises
    ------
    UnsupportedError
        If it is not.
    """
    if computes_residuals(model):
        return
    if type(model).compute_loss is not keras.Model.compute_loss:
        message = (
            f"the loss is not known to be a sum of squares: {type(model).__name__} overrides "
            f"compute_loss. {_CURES}"
        )
        raise UnsupportedError(message)
    losses = keras.tree.flatten(model.loss)
    if all(loss is None for loss in losses):
        message = f"there are no residuals: the model {model.name!r} has no loss. {_CURES}"
        raise UnsupportedError(message)
    for loss in losses:
        own = keras.losses.get(loss) if isinstance(loss, str) else loss
        if own is None or _is_squared_error(own):
            continue
        name = getattr(own, "__name__", type(own).__name__)
        message = f"the loss is not known to be a sum of squares: it is {name}. {_CURES}"
        raise UnsupportedError(message)


def _is_squared_error(loss: Any) -> bool:
    exact = type(loss) is keras.losses.MeanSquaredError
    return exact or loss is keras.losses.mean_squared_error


def penalty_scale(layout: Layout) -> NDArray[np.float64]:
    """Return what makes residuals of the parameters, for their regularization.

    Parameters
    ----------
    layout : Layout
        The trainable variables.

    Returns
    -------
    ndarray, shape (n,), float64
        ``sqrt(2 * l2)`` for each parameter, 0 where it is not regularized.

    Raises
    ------
    UnsupportedError
        If a regularizer is another one than L2.
    """
    scale = np.zeros(layout.size)
    for variable, place in zip(layout.variables, layout.slices(), strict=True):
        regularizer = variable.regularizer
        if regularizer is None:
            continue
        if not _is_l2(regularizer):
            message = (
                f"the regularizer {type(regularizer).__name__} of {variable.path!r} is not a sum "
                "of squares. Allowed beside residuals is keras.regularizers.L2. Use it, or a "
                "solver of another kind, such as native:lbfgs."
            )
            raise UnsupportedError(message)
        # as Keras computes it: it rounds the factor to the variable's dtype
        factor = float(regularizer(keras.ops.ones((1,), dtype=variable.dtype)))
        scale[place] = np.sqrt(2.0 * factor)
    return scale


def _is_l2(regularizer: Any) -> bool:
    if type(regularizer) is keras.regularizers.L1L2:
        return not float(regularizer.get_config()["l1"])
    return type(regularizer) is keras.regularizers.L2


def residuals_of(model: keras.Model, arrays: tuple[Any, Any, Any], y_pred: Any) -> Any:
    """Return the residuals that a model computes of a batch.

    Parameters
    ----------
    model : keras.Model
        A model with a method `compute_residuals`.
    arrays : tuple of (x, y, sample_weight)
        One batch.
    y_pred : structure of tensor
        The model's outputs for it.

    Returns
    -------
    structure of tensor
        The residuals.

    Raises
    ------
    UnsupportedError
        If there are none.
    """
    x, y, _ = arrays
    residuals = model.compute_residuals(x=x, y=y, y_pred=y_pred)
    terms = keras.tree.flatten(residuals)
    if not terms or not all(keras.ops.is_tensor(term) for term in terms):
        message = (
            f"compute_residuals of {model.name!r} gives no residuals: {type(residuals).__name__}. "
            "Allowed is a tensor, or a list or dict of tensors. Return such."
        )
        raise UnsupportedError(message)
    return residuals


def mean_of_squares(residuals: Any, weights: Any, sample_weight: Any) -> Any:
    """Return the loss of residuals: for each term its weight times the mean square.

    Parameters
    ----------
    residuals : structure of tensor
        Terms of any shapes.
    weights : float, structure of float, or None
        Weight of each term: one for all, or the structure of `residuals`; None is 1.
    sample_weight : tensor, shape (samples,) or (samples, 1), or None
        Weight of each row of the terms that have a row for each sample. Other terms take the
        mean of the weights, so that batches of any size add up to the same.

    Returns
    -------
    tensor, scalar
        The loss.

    Raises
    ------
    UnsupportedError
        If there are other weights than terms, or other ones than one for each sample.
    """
    terms = keras.tree.flatten(residuals)
    factors = list(_factors(residuals, weights))
    weight = None if sample_weight is None else _flat_weight(sample_weight)
    parts = [
        factor * _mean(keras.ops.square(term), weight)
        for term, factor in zip(terms, factors, strict=True)
    ]
    return sum(parts[1:], start=parts[0])


def _flat_weight(sample_weight: Any) -> Any:
    """Return the weight of each sample, shape (samples,)."""
    shape = getattr(sample_weight, "shape", None)
    if shape is not None and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        return keras.ops.reshape(sample_weight, (-1,))
    told = type(sample_weight).__name__ if shape is None else f"of shape {tuple(shape)}"
    message = (
        f"sample_weight does not fit residuals: it is {told}. Allowed is one weight for each "
        "sample, of shape (samples,). Pass such, or multiply the residuals by its root."
    )
    raise UnsupportedError(message)


def _mean(squares: Any, weight: Any) -> Any:
    """Return the mean of a term's squares, its rows weighted where there is one a sample."""
    ops = keras.ops
    if weight is None:
        return ops.mean(squares)
    weight = ops.cast(weight, squares.dtype)
    if len(squares.shape) == 0:
        return squares * ops.mean(weight)
    rows = ops.mean(ops.reshape(squares, (ops.shape(squares)[0], -1)), axis=1)
    number, samples = ops.shape(rows)[0], ops.shape(weight)[0]
    # how many there are may be known at run time only: no branch, and nothing out of range
    own = ops.take(weight, ops.minimum(ops.arange(number), samples - 1))
    return ops.mean(rows * ops.where(ops.equal(number, samples), own, ops.mean(weight)))


def _factors(residuals: Any, weights: Any) -> Iterator[float]:
    """Go through the weights of all terms, in the order in which Keras flattens these."""
    if isinstance(weights, Real) or weights is None:
        number = 1.0 if weights is None else float(weights)
        yield from (number for _ in keras.tree.flatten(residuals))
        return
    named = isinstance(residuals, Mapping) and isinstance(weights, Mapping)
    listed = isinstance(residuals, (list, tuple)) and isinstance(weights, (list, tuple))
    if named and set(residuals) == set(weights):
        ordered = isinstance(residuals, OrderedDict)  # which Keras does not sort
        for name in residuals if ordered else sorted(residuals):
            yield from _factors(residuals[name], weights[name])
    elif listed and len(residuals) == len(weights):
        for term, weight in zip(residuals, weights, strict=True):
            yield from _factors(term, weight)
    else:
        message = (
            f"loss_weights do not fit the residuals: {weights!r:.80} for {_described(residuals)}. "
            "Allowed is one weight, or one for each term in the same structure. Pass such."
        )
        raise UnsupportedError(message)


def _described(residuals: Any) -> str:
    if isinstance(residuals, Mapping):
        return f"terms named {', '.join(map(repr, sorted(residuals)))}"
    return f"{len(residuals)} terms" if isinstance(residuals, (list, tuple)) else "one term"
