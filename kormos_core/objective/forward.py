"""One forward pass and its loss, by the public face of a Keras model."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from kormos_core.errors import NotCompiledError

__all__ = ["compute_loss", "own_weights", "predict"]


def predict(model: keras.Model, x: Any, *, training: bool) -> Any:
    """Call the model on a batch of inputs.

    Parameters
    ----------
    model : keras.Model
        The model.
    x : structure of tensor
        Inputs of one batch.
    training : bool
        Mode, where the model's `call` knows one.

    Returns
    -------
    structure of tensor
        The outputs, masks attached.
    """
    if "training" in inspect.signature(model.call).parameters:
        return model(x, training=training)
    return model(x)


def own_weights(weight: Any) -> Any:
    """Return copies of sample weights, as Keras's losses multiply masks into what they get.

    Parameters
    ----------
    weight : structure of tensor, or None
        Sample weights; None leaves allowed.

    Returns
    -------
    structure of tensor, or None
        The copies.
    """
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else keras.ops.copy(leaf), weight
    )


def compute_loss(
    model: keras.Model, arrays: tuple[Any, Any, Any], y_pred: Any, *, training: bool
) -> Any:
    """Return the total loss of a batch as the model computes it.

    Parameters
    ----------
    model : keras.Model
        A compiled model, whose `compute_loss` may be overridden.
    arrays : tuple of (x, y, sample_weight)
        One batch.
    y_pred : structure of tensor
        The model's outputs for it.
    training : bool
        Mode.

    Returns
    -------
    tensor, scalar
        The loss, regularization and added losses included.

    Raises
    ------
    NotCompiledError
        If there is no loss.
    """
    x, y, weight = arrays
    arguments: dict[str, Any] = {"x": x, "y": y, "y_pred": y_pred}
    arguments["sample_weight"] = own_weights(weight)
    if "training" in inspect.signature(model.compute_loss).parameters:
        arguments["training"] = training
    overridden = type(model).compute_loss is not keras.Model.compute_loss
    if model.loss is None and not overridden and not model.losses:
        message = (
            "the model has no loss: loss=None, and no layer adds one. A solver needs one "
            "to minimize. Pass loss= to compile()."
        )
        raise NotCompiledError(message)
    return model.compute_loss(**arguments)
