"""How a batch's loss adds up to the loss of the whole data.

Keras reduces every output's loss over a batch. The loss of the whole data, as one full
batch would give it, is a sum over batches of those reduced losses times a share: the
batch's part of the samples for means, of the valid entries under a mask, of the weights
for weighted means, and 1 for sums. Terms without data (regularization) count once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import keras

from kormos_core.errors import UnsupportedError
from kormos_core.objective.forward import compute_loss, own_weights, predict
from kormos_core.objective.layers import sublayers
from kormos_core.objective.losses import check_reductions, output_losses, reduction_of
from kormos_core.objective.probes import (
    Scaling,
    few_samples,
    is_noisy,
    probing,
    rounding,
    scaling,
)

if TYPE_CHECKING:
    from kormos_core.data import Batch

__all__ = [
    "Plan",
    "count_denominators",
    "loss_of_outputs",
    "make_plan",
    "share_of_samples",
    "weighted_loss",
]

_MEANS = {"sum_over_batch_size", "mean"}


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """Which share each term of a batch's loss takes.

    Attributes
    ----------
    kind : {"whole", "mean", "sum", "split"}
        ``whole``: there is one batch, whose loss is the loss. ``mean``: every term
        takes the batch's share of the samples. ``sum``: losses are added. ``split``:
        each output and each added term takes a share of its own.
    reductions : tuple of str
        Reduction of each output's loss, for ``split``.
    summed : tuple of bool
        For each added loss whether it is a sum over samples, for ``split``.
    ignored : tuple of (int or None)
        Class that each output's loss passes over, for ``split``.
    """

    kind: Literal["whole", "mean", "sum", "split"]
    reductions: tuple[str, ...] = ()
    summed: tuple[bool, ...] = ()
    ignored: tuple[int | None, ...] = ()


def make_plan(model: keras.Model, first: Batch, *, single: bool, training: bool) -> Plan:
    """Find out how the losses of batches add up.

    Parameters
    ----------
    model : keras.Model
        A built and compiled model.
    first : Batch
        A batch of the data, for probing.
    single : bool
        Whether the data is one batch.
    training : bool
        Mode of the forward pass.

    Returns
    -------
    Plan
        The shares to take.

    Raises
    ------
    UnsupportedError
        If a loss is not reduced, or is no sum over samples whatever the shares.
    """
    arrays = few_samples(model, first)
    y_pred = predict(model, first.x if arrays is None else arrays[0], training=False)
    losses = output_losses(model, y_pred)
    overridden = type(model).compute_loss is not keras.Model.compute_loss
    if not overridden:  # else it makes of them what it likes
        check_reductions(model, y_pred)
    if single:
        return Plan("whole")
    reductions = tuple(reduction_of(loss) for loss in losses)
    found = Scaling("mean", (False,) * len(model.losses), by_mode=False)
    if arrays is not None:
        found = scaling(model, arrays, training=training)
    ignored = tuple(getattr(loss, "ignore_class", None) for loss in losses)
    plain = set(reductions) <= _MEANS and not any(found.summed) and set(ignored) == {None}
    if overridden:
        plan = Plan(found.total)
    elif plain and not _may_mask(model):
        plan = Plan("mean")
    else:
        plan = Plan("split", reductions, found.summed, ignored)
    if arrays is not None and not found.by_mode and not is_noisy(model, arrays, training=False):
        _check_sum(plan, model, arrays)
    return plan


def _may_mask(model: keras.Model) -> bool:
    """Tell whether any layer could attach a mask to the outputs."""
    return any(
        type(layer).compute_mask is not keras.layers.Layer.compute_mask
        for layer in sublayers(model)
    )


def _check_sum(plan: Plan, model: keras.Model, arrays: tuple[Any, Any, Any]) -> None:
    """See that a few samples in two batches give the loss that they give in one."""
    samples = _num_samples(arrays[0])
    if samples < 2:
        return
    at = max(1, samples // 3)
    parts = [
        keras.tree.map_structure(lambda leaf, p=part: None if leaf is None else leaf[p], arrays)
        for part in (slice(0, at), slice(at, samples))
    ]
    with probing(model):
        whole = float(weighted_loss(Plan("whole"), model, arrays, None, training=False))
        totals = sum(_denominators(plan, model, part) for part in parts)
        terms = [float(weighted_loss(plan, model, part, totals, training=False)) for part in parts]
    if plan.kind == "mean":
        terms = [terms[0] * at / samples, terms[1] * (samples - at) / samples]
    scale = abs(whole) + sum(abs(term) for term in terms)
    if not abs(whole - sum(terms)) > rounding(model) * scale:
        return
    message = (
        f"the loss of {samples} samples is {whole:.6g} in one batch and {sum(terms):.6g} in two, "
        "so batches cannot be added up. Allowed are losses that give each sample a value of its "
        "own, and leave summing to their reduction. "
        "Pass the data as arrays with batch_size equal to the number of samples."
    )
    raise UnsupportedError(message)


def _denominators(plan: Plan, model: keras.Model, arrays: tuple[Any, Any, Any]) -> Any:
    if plan.kind != "split":
        return 0.0
    return count_denominators(plan, arrays, predict(model, arrays[0], training=False))


@final
class _Count(keras.losses.Loss):
    """Sum of weights and mask over the entries of a prediction."""

    def __init__(self, ignored: int | None) -> None:
        super().__init__(name="count", reduction="sum", dtype="float64")
        self._ignored = ignored

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return ones in the shape that a loss over the last axis has."""
        ones = keras.ops.ones_like(_by_entry(y_pred))
        if self._ignored is None:
            return ones
        labels = keras.ops.reshape(y_true, keras.ops.shape(ones))
        return keras.ops.where(keras.ops.equal(labels, self._ignored), 0.0, ones)


def _by_entry(y_pred: Any) -> Any:
    """Return a tensor in the shape that a loss over the last axis has."""
    return y_pred if len(y_pred.shape) == 1 else y_pred[..., 0]


def count_denominators(plan: Plan, arrays: tuple[Any, Any, Any], y_pred: Any) -> Any:
    """Return what each output's loss on this batch was divided by.

    Parameters
    ----------
    plan : Plan
        A plan of kind ``split``.
    arrays : tuple of (x, y, sample_weight)
        One batch.
    y_pred : structure of tensor
        The model's outputs for it, masks attached.

    Returns
    -------
    tensor, shape (outputs + 1,), float64
        For each output the samples, valid entries or weights; 1 for sums; then the
        number of samples.
    """
    x, y, weight = arrays
    counts = []
    for index, output in enumerate(keras.tree.flatten(y_pred)):
        reduction, ignored = plan.reductions[index], plan.ignored[index]
        if reduction == "sum":
            counts.append(keras.ops.ones((), "float64"))
            continue
        target = output if ignored is None else _of_output(y, index)
        used = _of_output(weight, index) if reduction == "mean_with_sample_weight" else None
        counts.append(_Count(ignored)(target, output, own_weights(used)))
    samples = keras.ops.cast(_num_samples(x), "float64")
    return keras.ops.stack([*counts, samples])


def _num_samples(x: Any) -> Any:
    leaf = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    return keras.ops.shape(leaf)[0]


def _of_output(structure: Any, index: int) -> Any:
    return keras.tree.flatten(structure)[index] if keras.tree.is_nested(structure) else structure


def weighted_loss(
    plan: Plan, model: keras.Model, arrays: tuple[Any, Any, Any], totals: Any, *, training: bool
) -> Any:
    """Return a batch's part of the loss of the whole data.

    Parameters
    ----------
    plan : Plan
        The shares to take.
    model : keras.Model
        The model, in a scope that maps its variables.
    arrays : tuple of (x, y, sample_weight)
        One batch.
    totals : tensor, shape (outputs + 1,), float64, or None
        Sums of `count_denominators` over all batches, for ``split``.
    training : bool
        Mode of the forward pass.

    Returns
    -------
    tensor, scalar, float64
        The part; for ``mean`` still to be multiplied with the share of the samples.
    """
    y_pred = predict(model, arrays[0], training=training)
    return loss_of_outputs(plan, model, arrays, y_pred, totals, training=training)


def loss_of_outputs(
    plan: Plan,
    model: keras.Model,
    arrays: tuple[Any, Any, Any],
    y_pred: Any,
    totals: Any,
    *,
    training: bool,
) -> Any:
    """Return what `weighted_loss` does, of outputs that are there already.

    Parameters
    ----------
    plan, model, arrays, totals, training : object
        As of `weighted_loss`.
    y_pred : structure of tensor
        The model's outputs, masks attached.

    Returns
    -------
    tensor, scalar, float64
        The part.
    """
    if plan.kind != "split":
        return keras.ops.cast(compute_loss(model, arrays, y_pred, training=training), "float64")
    shares = _shares(plan, arrays, y_pred, totals)
    added = [keras.ops.cast(keras.ops.sum(loss), "float64") for loss in model.losses]
    part = _main_losses(plan, model, arrays, y_pred, shares, sum(added), training=training)
    for loss, summed in zip(added, plan.summed, strict=True):
        part = part + (loss if summed else loss * shares[-1])
    return part


def share_of_samples(plan: Plan, arrays: tuple[Any, Any, Any], y_pred: Any, totals: Any) -> Any:
    """Return the share that a term without data takes on a batch.

    Parameters
    ----------
    plan, arrays, y_pred, totals : object
        As of `loss_of_outputs`.

    Returns
    -------
    tensor, scalar, or float
        The batch's part of all samples for ``split``, else 1.
    """
    return _shares(plan, arrays, y_pred, totals)[-1] if plan.kind == "split" else 1.0


def _shares(plan: Plan, arrays: tuple[Any, Any, Any], y_pred: Any, totals: Any) -> Any:
    shares = keras.ops.divide_no_nan(count_denominators(plan, arrays, y_pred), totals)
    return _sums_whole(plan, shares)


def _sums_whole(plan: Plan, shares: Any) -> Any:
    flags = [reduction == "sum" for reduction in plan.reductions] + [False]
    return keras.ops.where(keras.ops.convert_to_tensor(flags), keras.ops.ones_like(shares), shares)


def _main_losses(
    plan: Plan,
    model: keras.Model,
    arrays: tuple[Any, Any, Any],
    y_pred: Any,
    shares: Any,
    added: Any,
    *,
    training: bool,
) -> Any:
    x, y, weight = arrays
    if len(plan.reductions) == 1:
        total = compute_loss(model, arrays, y_pred, training=training)
        return (keras.ops.cast(total, "float64") - added) * shares[0]
    part = 0.0
    for index in range(len(plan.reductions)):
        only = (x, y, _only_output(model, weight, y_pred, index))
        total = compute_loss(model, only, y_pred, training=training)
        part = part + (keras.ops.cast(total, "float64") - added) * shares[index]
    return part


def _only_output(model: keras.Model, weight: Any, y_pred: Any, index: int) -> Any:
    """Give every output but one the weight zero, in a shape that takes a mask in place."""
    masked = _may_mask(model)
    weights = [
        _of_output(weight, number)
        if number == index
        else (keras.ops.zeros_like(_by_entry(output)) if masked else keras.ops.zeros(()))
        for number, output in enumerate(keras.tree.flatten(y_pred))
    ]
    return keras.tree.pack_sequence_as(y_pred, weights)
