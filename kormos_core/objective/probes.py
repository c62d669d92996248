"""Trial evaluations of a model's losses, to learn how they add up over batches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_core.objective.forward import compute_loss, predict
from kormos_core.objective.layers import compute_dtypes
from kormos_core.objective.noise import seed_variables
from kormos_core.objective.precision import float_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kormos_core.data import Batch

__all__ = [
    "Scaling",
    "few_samples",
    "is_noisy",
    "probing",
    "rounding",
    "samples_stand_alone",
    "scaling",
]

_FEW = 32  # samples: enough to tell a sum from a mean, few enough for any model
_PERTURBATION = 0.05  # moves weights off zero, where a sum and a mean look the same
_NOISE = 0.25  # relative; between a mean's 0 and a sum's 1 on a batch twice over

Arrays = tuple[Any, Any, Any]


def few_samples(model: keras.Model, batch: Batch) -> Arrays | None:
    """Return the first samples of a batch, for trials.

    Parameters
    ----------
    model : keras.Model
        The model.
    batch : Batch
        A batch of its data.

    Returns
    -------
    tuple of (x, y, sample_weight), or None
        None where the model takes batches of one size only.
    """
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if any(leaf.shape[0] is not None for leaf in inputs):
        return None
    return keras.tree.map_structure(  # type: ignore[no-any-return]
        lambda leaf: None if leaf is None else leaf[:_FEW], batch.arrays
    )


def rounding(model: keras.Model) -> float:
    """Return the relative error that rounding may leave in a loss of the model.

    Parameters
    ----------
    model : keras.Model
        The model.

    Returns
    -------
    float
        The relative error, from the narrowest dtype that a layer computes in.
    """
    dtypes = compute_dtypes(model)
    if any("16" in dtype for dtype in dtypes):
        return 0.02
    narrow = "float32" in dtypes or float_dtype(model) != "float64"
    return 1e-4 if narrow else 1e-6


@contextmanager
def probing(model: keras.Model, shift: int = 0) -> Iterator[None]:
    """Enter the model with weights a little beside its own; nothing of it is changed.

    Parameters
    ----------
    model : keras.Model
        The model.
    shift : int
        Displacement of its noise.

    Yields
    ------
    None
        Nothing.
    """
    mapping: list[tuple[keras.Variable, Any]] = []
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        moved = value + _PERTURBATION * np.cos(np.arange(value.size)).reshape(value.shape)
        mapping.append((variable, moved.astype(value.dtype)))
    for variable in seed_variables(model):
        state = keras.ops.convert_to_numpy(variable)
        mapping.append((variable, state + np.array([0, shift], state.dtype)))
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
        yield


def samples_stand_alone(
    outputs: Callable[[Arrays], list[Any]], arrays: Arrays, tolerance: float
) -> bool:
    """Tell whether outputs of a batch are those of its samples, one by one.

    Parameters
    ----------
    outputs : callable
        Gives a list of tensors for (x, y, sample_weight).
    arrays : tuple of (x, y, sample_weight)
        A few samples.
    tolerance : float
        Relative error of rounding.

    Returns
    -------
    bool
        Not so under batch statistics, or where outputs have no row for each sample.
    """
    leaves = [leaf for leaf in keras.tree.flatten(arrays) if leaf is not None]
    number = min(int(leaves[0].shape[0]), 3)
    together = outputs(_part(arrays, slice(0, number)))
    for k in range(number):
        for whole, own in zip(together, outputs(_part(arrays, slice(k, k + 1))), strict=True):
            if len(whole.shape) == 0 or whole.shape[0] != number or own.shape[0] != 1:
                return False
            a, b = (keras.ops.convert_to_numpy(part) for part in (whole[k], own[0]))
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance * (np.abs(a).max() + 1e-300)):
                return False
    return True


def _part(arrays: Arrays, part: slice) -> Arrays:
    return keras.tree.map_structure(  # type: ignore[no-any-return]
        lambda leaf: None if leaf is None else leaf[part], arrays
    )


def is_noisy(model: keras.Model, arrays: Arrays, *, training: bool) -> bool:
    """Tell whether the loss depends on the state of a seed generator.

    Parameters
    ----------
    model : keras.Model
        The model.
    arrays : tuple of (x, y, sample_weight)
        A few samples.
    training : bool
        Mode of the forward pass.

    Returns
    -------
    bool
        Whether another draw gives another loss.
    """
    if not seed_variables(model):
        return False
    one, other = (_losses(model, arrays, training=training, shift=shift)[0] for shift in (0, 1))
    return one != other


class Scaling(NamedTuple):
    """How losses grow with the number of samples.

    Attributes
    ----------
    total : {"mean", "sum"}
        What the total of an overridden `compute_loss` is.
    summed : tuple of bool
        For each added loss whether it is a sum over samples. Terms without data count
        as means.
    by_mode : bool
        Whether training mode adds other losses than inference mode.
    """

    total: Literal["mean", "sum"]
    summed: tuple[bool, ...]
    by_mode: bool


def scaling(model: keras.Model, arrays: Arrays, *, training: bool) -> Scaling:
    """Find out whether losses are means or sums, from a batch and the batch twice over.

    Parameters
    ----------
    model : keras.Model
        A built and compiled model.
    arrays : tuple of (x, y, sample_weight)
        A few samples.
    training : bool
        Mode of the forward pass in the end, which may add losses of its own.

    Returns
    -------
    Scaling
        What was found.

    Raises
    ------
    UnsupportedError
        If one is neither a mean nor a sum.
    """
    # Inference mode has less noise, and serves where it adds the same losses.
    added = [len(_losses(model, arrays, training=mode)[1]) for mode in (False, training)]
    mode = added[0] != added[1]
    tolerance = _NOISE if is_noisy(model, arrays, training=mode) else rounding(model)
    doubled = keras.tree.map_structure(
        lambda leaf: None if leaf is None else keras.ops.concatenate([leaf, leaf]), arrays
    )
    once, added_once = _losses(model, arrays, training=mode)
    twice, added_twice = _losses(model, doubled, training=mode)
    summed = tuple(
        _is_sum(a, b, tolerance, "an added loss")
        for a, b in zip(added_once, added_twice, strict=True)
    )
    if type(model).compute_loss is keras.Model.compute_loss:
        return Scaling("mean", summed, by_mode=mode)
    total = _is_sum(once, twice, tolerance, "the loss of compute_loss")
    return Scaling("sum" if total else "mean", summed, by_mode=mode)


def _losses(
    model: keras.Model, arrays: Arrays, *, training: bool, shift: int = 0
) -> tuple[float, list[float]]:
    with probing(model, shift):
        y_pred = predict(model, arrays[0], training=training)
        total = compute_loss(model, arrays, y_pred, training=training)
        return float(total), [float(keras.ops.sum(loss)) for loss in model.losses]


def _is_sum(once: float, twice: float, tolerance: float, what: str) -> bool:
    if not np.isfinite([once, twice]).all() or abs(twice - once) <= tolerance * abs(once):
        return False
    if abs(twice - 2.0 * once) <= tolerance * abs(2.0 * once):
        return True
    message = (
        f"{what} is neither a mean nor a sum over samples: {once:.6g} on a batch, {twice:.6g} on "
        "the batch twice over, so batches cannot be added up. Allowed are means and sums. "
        "Pass the data as arrays with batch_size equal to the number of samples."
    )
    raise UnsupportedError(message)
