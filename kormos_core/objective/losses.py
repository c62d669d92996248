"""The losses that a model was compiled with, output by output."""

from __future__ import annotations

from typing import Any

import keras

from kormos_core.errors import UnsupportedError

__all__ = ["check_reductions", "output_losses", "reduction_of"]


def output_losses(model: keras.Model, y_pred: Any) -> list[Any]:
    """Pair each flat output with its loss.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    y_pred : structure of tensor
        Its outputs.

    Returns
    -------
    list
        A loss for each output, None where it has none.

    Raises
    ------
    UnsupportedError
        If losses are given by the names of outputs that have none.
    """
    loss = model.loss
    outputs = keras.tree.flatten(y_pred)
    if not isinstance(loss, (dict, list, tuple)):
        return [loss] * len(outputs)
    if isinstance(loss, dict):
        if isinstance(y_pred, dict):
            names = keras.tree.flatten({name: name for name in y_pred})
        else:
            names = getattr(model, "output_names", None)
        if names is None:
            message = (
                f"losses are given by name, {sorted(loss)}, and outputs of the model "
                f"{model.name!r} have no names. Allowed is that for functional models and for "
                "models that give a dict. Pass one loss, or a list."
            )
            raise UnsupportedError(message)
        return [loss.get(name) for name in names]
    flat = [loss_fn for loss_fn in loss if not isinstance(loss_fn, (dict, list, tuple))]
    return flat if len(flat) == len(outputs) else keras.tree.flatten(loss)


def check_reductions(model: keras.Model, y_pred: Any) -> None:
    """Refuse losses that give a number for each sample.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    y_pred : structure of tensor
        Its outputs.

    Raises
    ------
    UnsupportedError
        If a loss is not reduced.
    """
    for loss in output_losses(model, y_pred):
        if isinstance(loss, keras.losses.Loss) and loss.reduction in {None, "none"}:
            message = (
                f"the loss {loss.name!r} has reduction={loss.reduction!r}: it gives one number "
                "for each sample, and a solver minimizes a single one. Allowed are "
                "sum_over_batch_size, mean, mean_with_sample_weight and sum. Give the loss one "
                "of these reductions."
            )
            raise UnsupportedError(message)


def reduction_of(loss: Any) -> str:
    """Return how Keras makes one number of a loss.

    Parameters
    ----------
    loss : object
        Loss of an output, as it was compiled.

    Returns
    -------
    str
        Such as ``"sum_over_batch_size"``, as which Keras reduces strings and functions.
    """
    return str(loss.reduction) if isinstance(loss, keras.losses.Loss) else "sum_over_batch_size"
