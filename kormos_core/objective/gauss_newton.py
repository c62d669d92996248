"""Which models have a generalized Gauss-Newton matrix, and its parts.

For a loss that is a convex function of a model's outputs, ``f(x) = l(y(x)) + r(x)``, the
matrix ``J' (d2l/dy2) J + d2r/dx2`` with the Jacobian ``J`` of the outputs leaves the
curvature of the outputs themselves out of the Hessian and is positive semidefinite
wherever the regularization ``r`` is convex.

Symbols: ``x`` parameters (n,), ``y`` outputs, ``v`` direction (n,).

References
----------
Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent",
Neural Computation 14 (2002), doi:10.1162/08997660260028683, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from kormos_core.errors import UnsupportedError
from kormos_core.objective.squares import computes_residuals

if TYPE_CHECKING:
    from kormos_core.objective.layout import Layout

__all__ = ["check_convex", "check_losses", "num_added", "regularization"]

_FROM_LOGITS = {"BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"}
_CONVEX = {
    "Huber": "huber",
    "KLDivergence": "kl_divergence",
    "LogCosh": "log_cosh",
    "MeanSquaredError": "mean_squared_error",
    "Poisson": "poisson",
    "SquaredHinge": "squared_hinge",
}


def check_convex(model: keras.Model) -> None:
    """Refuse a model whose loss is not known to be convex and curved in its outputs.

    Parameters
    ----------
    model : keras.Model
        A compiled model.

    Raises
    ------
    UnsupportedError
        If it computes its loss itself, or by a loss other than those that are allowed.
    """
    allowed = (
        f"Allowed are {', '.join(sorted(_CONVEX))}, and cross-entropies with from_logits=True. "
        "Use hvp='auto' for the Hessian itself, or one of these losses."
    )
    if computes_residuals(model):
        return
    if type(model).compute_loss is not keras.Model.compute_loss:
        message = (
            f"hvp='gauss-newton' needs a loss of the outputs alone: {type(model).__name__} "
            f"overrides compute_loss. {allowed}"
        )
        raise UnsupportedError(message)
    for loss in keras.tree.flatten(model.loss):
        own = keras.losses.get(loss) if isinstance(loss, str) else loss
        if own is None or _is_convex(own):
            continue
        message = (
            f"hvp='gauss-newton' needs a loss that is convex, with curvature, in the outputs: "
            f"{_describe(own)} is not, as far as is known. {allowed}"
        )
        raise UnsupportedError(message)


def _is_convex(loss: Any) -> bool:
    owner = loss if hasattr(loss, "__name__") else type(loss)
    if not str(owner.__module__).startswith("keras."):
        return False  # a user's own, whatever it is called
    name = type(loss).__name__
    if name in _FROM_LOGITS:
        # Of probabilities Keras takes the logits behind the model's back, and without
        # them it divides by their sum, after which the loss is no more convex.
        return bool(loss.get_config().get("from_logits"))
    return name in _CONVEX or getattr(loss, "__name__", "") in _CONVEX.values()


def _describe(loss: Any) -> str:
    if hasattr(loss, "get_config") and type(loss).__name__ in _FROM_LOGITS:
        return f"{type(loss).__name__}(from_logits=False)"
    return str(getattr(loss, "__name__", type(loss).__name__))


def num_added(model: keras.Model, layout: Layout) -> int:
    """Count the losses that are not regularizers of weights.

    Parameters
    ----------
    model : keras.Model
        The model, in the scope of a call.
    layout : Layout
        Its trainable variables.

    Returns
    -------
    int
        How many come from `add_loss` or activity regularizers.
    """
    return len(model.losses) - sum(v.regularizer is not None for v in layout.variables)


def check_losses(model: keras.Model, layout: Layout) -> None:
    """Refuse losses that layers add in a call: they are no functions of the outputs.

    Parameters
    ----------
    model : keras.Model
        The model, in the scope of a call.
    layout : Layout
        Its trainable variables.

    Raises
    ------
    UnsupportedError
        If there are more losses than regularizers of weights.
    """
    if num_added(model, layout) > 0:
        message = (
            f"hvp='gauss-newton' needs a loss of the outputs alone: {num_added(model, layout)} "
            "of the model's losses come from add_loss or activity regularizers. Allowed beside "
            "it are regularizers of weights. Use hvp='auto', or leave them out."
        )
        raise UnsupportedError(message)


def regularization(layout: Layout, x: Any) -> Any | None:
    """Return the weights' regularization at `x`, or None where there is none.

    Parameters
    ----------
    layout : Layout
        The trainable variables.
    x : tensor, shape (n,)
        The parameters.

    Returns
    -------
    tensor, scalar, float64, or None
        The sum of all regularizers.
    """
    terms = [
        keras.ops.cast(variable.regularizer(value), "float64")
        for variable, value in zip(layout.variables, layout.split(x), strict=True)
        if variable.regularizer is not None
    ]
    return sum(terms[1:], start=terms[0]) if terms else None
