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
        Whether it has a method `compute_residuals`.
    """
    return callable(getattr(type(model), "compute_residuals", None))


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
    for loss in keras.tree.flatten(model.loss):
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
    sample_weight : tensor or None
        Weight of each sample, for terms whose first axis is that of the samples.

    Returns
    -------
    tensor, scalar
        The loss.

    Raises
    ------
    UnsupportedError
        If there are other weights than terms.
    """
    terms = keras.tree.flatten(residuals)
    factors = list(_factors(residuals, weights))
    parts = []
    for term, factor in zip(terms, factors, strict=True):
        squares = keras.ops.square(term)
        if sample_weight is not None:
            shape = (-1, *(1 for _ in term.shape[1:]))
            squares = squares * keras.ops.cast(
                keras.ops.reshape(sample_weight, shape), squares.dtype
            )
        parts.append(factor * keras.ops.mean(squares))
    return sum(parts[1:], start=parts[0])


def _factors(residuals: Any, weights: Any) -> Iterator[float]:
    """Go through the weights of all terms, in the order in which Keras flattens these."""
    if isinstance(weights, Real) or weights is None:
        number = 1.0 if weights is None else float(weights)
        yield from (number for _ in keras.tree.flatten(residuals))
        return
    named = isinstance(residuals, Mapping) and isinstance(weights, Mapping)
    listed = isinstance(residuals, (list, tuple)) and isinstance(weights, (list, tuple))
    if named and set(residuals) == set(weights):
        for name in sorted(residuals):
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
