"""Whether inputs, targets, outputs and losses fit together, where Keras would not say."""

from __future__ import annotations

from typing import Any

import keras

from kormos_core.errors import DataError, UnsupportedError
from kormos_core.objective.losses import check_reductions, output_losses

__all__ = ["check_inputs", "check_scalar", "check_targets"]

# These compare targets and outputs entry by entry, and so would broadcast them.
_BY_ENTRY = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.categorical_hinge,
    keras.losses.cosine_similarity,
    keras.losses.hinge,
    keras.losses.huber,
    keras.losses.kl_divergence,
    keras.losses.log_cosh,
    keras.losses.mean_absolute_error,
    keras.losses.mean_absolute_percentage_error,
    keras.losses.mean_squared_error,
    keras.losses.mean_squared_logarithmic_error,
    keras.losses.poisson,
    keras.losses.squared_hinge,
)


def check_inputs(model: keras.Model, x: Any) -> None:
    """Refuse complex inputs whose imaginary parts would be dropped.

    Parameters
    ----------
    model : keras.Model
        A built model.
    x : structure of tensor
        A batch of its inputs.

    Raises
    ------
    DataError
        If the model takes real inputs only.
    """
    given = {keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(x)}
    taken = {str(leaf.dtype) for leaf in keras.tree.flatten(getattr(model, "inputs", None) or [])}
    if any("complex" in dtype for dtype in given) and not any("complex" in d for d in taken):
        message = (
            f"the inputs are complex ({', '.join(sorted(given))}), and the model {model.name!r} "
            "takes real ones: their imaginary parts would be lost. Allowed are real numbers. "
            "Pass real and imaginary parts side by side."
        )
        raise DataError(message)


def check_targets(model: keras.Model, y: Any, y_pred: Any) -> None:
    """Refuse targets that Keras would pair with other outputs than their own.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    y : structure of tensor, or None
        A batch of targets.
    y_pred : structure of tensor
        The outputs for it.

    Raises
    ------
    DataError
        If their shapes differ in a way that would be broadcast.
    """
    targets, outputs = keras.tree.flatten(y), keras.tree.flatten(y_pred)
    if y is None or len(targets) != len(outputs) or _keys(y) != _keys(y_pred):
        return
    losses = output_losses(model, y_pred)
    if len(losses) != len(outputs):
        return
    for loss, target, output in zip(losses, targets, outputs, strict=True):
        if target is None or output is None or _fit(loss, target, output):
            continue
        message = (
            f"targets of shape {tuple(target.shape)} do not fit outputs of shape "
            f"{tuple(output.shape)}: Keras would pair every target with every sample or output. "
            "Allowed is a target of the output's shape. Reshape or repeat it, such as y[:, None]."
        )
        raise DataError(message)


def check_scalar(model: keras.Model, y_pred: Any, loss: Any) -> None:
    """Refuse a loss that is no single number.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    y_pred : structure of tensor
        Outputs for a batch.
    loss : object
        What `compute_loss` gave for it.

    Raises
    ------
    UnsupportedError
        If it is no tensor, or has a shape.
    """
    if keras.ops.is_tensor(loss) and len(loss.shape) == 0:
        return
    if type(model).compute_loss is keras.Model.compute_loss:
        check_reductions(model, y_pred)  # which one is to blame
    what = f"shape {tuple(loss.shape)}" if hasattr(loss, "shape") else f"a {type(loss).__name__}"
    message = (
        f"the loss that compute_loss of {model.name!r} gives is not usable: {what}. Allowed is "
        "one number, a tensor of shape (). Reduce it, such as by keras.ops.mean."
    )
    raise UnsupportedError(message)


def _keys(structure: Any) -> Any:
    """Tell how a structure is taken apart, to see that two are so alike."""
    if isinstance(structure, dict):
        return sorted(structure)
    return len(structure) if isinstance(structure, (list, tuple)) else None


def _fit(loss: Any, target: Any, output: Any) -> bool:
    """Tell whether a loss compares every target with the output that it is for."""
    function = _function(loss)
    if function is None:
        return True  # a user's own loss, who knows what it compares
    ranks = len(target.shape), len(output.shape)
    if ranks[0] == 1 and ranks[1] > 2:
        return False
    if not any(function is one for one in _BY_ENTRY):
        return True
    if ranks[0] == ranks[1]:
        return bool(tuple(target.shape[1:]) == tuple(output.shape[1:]))
    longer, shorter = (target, output) if ranks[0] > ranks[1] else (output, target)
    squeezed = tuple(longer.shape[1:-1]) == tuple(shorter.shape[1:])
    return abs(ranks[0] - ranks[1]) == 1 and longer.shape[-1] == 1 and squeezed


def _function(loss: Any) -> Any:
    """Return the function of a loss of Keras's own; None for any other."""
    known = keras.losses.get(loss) if isinstance(loss, str) else loss
    own = type(known) if isinstance(known, keras.losses.Loss) else known
    if not getattr(own, "__module__", "").startswith("keras."):
        return None
    return getattr(known, "fn", known)
