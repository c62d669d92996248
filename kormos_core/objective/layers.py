"""All layers of a model, however deep they are hidden."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import keras

__all__ = ["compute_dtypes", "sublayers"]


def sublayers(model: keras.Model) -> list[keras.layers.Layer]:
    """List a model and all layers in it, each once.

    Parameters
    ----------
    model : keras.Model
        The model.

    Returns
    -------
    list of keras.layers.Layer
        The model first, then its layers, those inside of wrappers, of custom layers and
        of containers included, which `model.layers` does not show.
    """
    found: list[keras.layers.Layer] = []
    pending: deque[Any] = deque([model])
    seen = set()
    while pending:
        item = pending.popleft()
        if id(item) in seen:
            continue
        if isinstance(item, keras.layers.Layer):
            found.append(item)
            pending.extend(vars(item).values())
        elif isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple, set)):
            pending.extend(item)
        else:
            continue
        seen.add(id(item))
    return found


def compute_dtypes(model: keras.Model) -> set[str]:
    """Return the dtypes that a model's layers compute in.

    Parameters
    ----------
    model : keras.Model
        The model.

    Returns
    -------
    set of str
        Such as ``{"float32"}``. Models and input layers are left out: they hand data on,
        in whatever dtype the policy of the process is, and compute nothing of their own.
    """
    idle = (keras.Model, keras.layers.InputLayer)
    layers = [layer for layer in sublayers(model) if not isinstance(layer, idle)]
    return {str(layer.compute_dtype) for layer in layers or [model]}
