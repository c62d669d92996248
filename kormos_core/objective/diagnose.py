"""Where a NaN or an infinity comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.objective.forward import predict
from kormos_core.objective.losses import output_losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.objective.program import Program
    from kormos_core.objective.sweep import Inputs

__all__ = ["blame_batch", "blame_gradient"]


def blame_batch(program: Program, x: NDArray[np.float64], inputs: Inputs, number: int) -> str:
    """Name the input, weight or layer of a batch that first is not finite.

    Parameters
    ----------
    program : Program
        The model's traced functions.
    x : ndarray, shape (n,), float64
        The parameters.
    inputs : Inputs
        The batch.
    number : int
        Position of the batch in a sweep.

    Returns
    -------
    str
        A phrase such as ``"the input 'age' has 3 NaN or infinite values (batch 0)"``, or
        an empty string where nothing could be found.
    """
    for role, structure in zip(("input", "target", "sample weight"), inputs.arrays, strict=True):
        for index, (path, leaf) in enumerate(keras.tree.flatten_with_path(structure)):
            if (bad := _count_bad(leaf)) > 0:
                name = "/".join(str(part) for part in path)
                if role == "input":
                    name = _input_name(program.model, index) or name
                label = f" {name!r}" if name else ""
                return f"the {role}{label} has {bad} NaN or infinite values (batch {number})"
    for variable, place in zip(program.layout.variables, program.layout.slices(), strict=True):
        if not np.isfinite(x[place]).all():
            return f"the weight {variable.path!r} is not finite"
    return _blame_labels(program, x, inputs, number) or _blame_layer(program, x, inputs, number)


def blame_gradient(program: Program, g: NDArray[np.float64]) -> str:
    """Name the weights of `program` whose part of the gradient `g`, (n,), is not finite."""
    paths = [
        variable.path
        for variable, place in zip(program.layout.variables, program.layout.slices(), strict=True)
        if not np.isfinite(g[place]).all()
    ]
    return f"the gradient of {', '.join(map(repr, paths))} is not finite" if paths else ""


def _input_name(model: keras.Model, index: int) -> str:
    """Return the name that the user gave an input, or nothing."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    name = str(inputs[index].name) if index < len(inputs) else ""
    return "" if name.startswith("keras_tensor") else name


def _blame_labels(program: Program, x: NDArray[np.float64], inputs: Inputs, number: int) -> str:
    """Name class indices for which there is no output; only CPUs without XLA refuse them."""
    with program.scope(keras.ops.convert_to_tensor(x), inputs):
        y_pred = predict(program.model, inputs.arrays[0], training=program.settings.training)
    outputs, targets = keras.tree.flatten(y_pred), keras.tree.flatten(inputs.arrays[1])
    losses = output_losses(program.model, y_pred)
    if not len(losses) == len(outputs) == len(targets):
        return ""
    for loss, output, target in zip(losses, outputs, targets, strict=True):
        if not _takes_labels(loss):
            continue
        labels = keras.ops.convert_to_numpy(target)
        count = int(output.shape[-1])
        outside = labels[(labels < 0) | (labels >= count)]
        outside = outside[outside != getattr(loss, "ignore_class", None)]
        if outside.size:
            return (
                f"the target has class indices outside of 0 to {count - 1}: {outside.size} of "
                f"{labels.size}, such as {outside[0]} (batch {number})"
            )
    return ""


def _takes_labels(loss: Any) -> bool:
    known = keras.losses.get(loss) if isinstance(loss, str) else loss
    function = keras.losses.sparse_categorical_crossentropy
    return isinstance(known, keras.losses.SparseCategoricalCrossentropy) or known is function


def _blame_layer(program: Program, x: NDArray[np.float64], inputs: Inputs, number: int) -> str:
    model = program.model
    try:
        layers = [layer for layer in model.layers if keras.tree.flatten(layer.output)]
        probe = keras.Model(model.inputs, [layer.output for layer in layers])
    except (AttributeError, ValueError):
        return ""  # a subclassed model or a shared layer has no graph to walk
    with program.scope(keras.ops.convert_to_tensor(x), inputs):
        outputs = probe(inputs.arrays[0], training=program.settings.training)
    outputs = [outputs] if len(layers) == 1 else outputs  # Keras unpacks a single one
    for layer, output in zip(layers, outputs, strict=True):
        if any(_count_bad(leaf) for leaf in keras.tree.flatten(output)):
            return f"the output of layer {layer.name!r} is not finite (batch {number})"
    return "all layers' outputs are finite, so it arises in the loss itself"


def _count_bad(leaf: Any) -> int:
    if leaf is None:
        return 0
    kind = keras.backend.standardize_dtype(leaf.dtype)
    if "float" not in kind:
        return 0
    return int(np.sum(~np.isfinite(keras.ops.convert_to_numpy(leaf))))
