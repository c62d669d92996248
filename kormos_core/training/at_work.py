"""The optimizer of a fit in the place where Keras looks for the model's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras

from kormos_core.chain import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kormos_core.optimizer import BatchOptimizer

__all__ = ["at_work"]


@contextmanager
def at_work(
    model: keras.Model, optimizer: BatchOptimizer | Chain
) -> Iterator[keras.optimizers.Optimizer]:
    """Let an optimizer be the model's for a while, so that what is saved has its state.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    optimizer : BatchOptimizer or Chain
        What a fit is done by.

    Yields
    ------
    keras.optimizers.Optimizer
        What stands as the model's: the optimizer, or what scales the loss for it.
    """
    before = model.optimizer
    if getattr(before, "inner_optimizer", before) is optimizer:
        if not optimizer.built:
            before.build(model.trainable_variables)  # or a backup could not be loaded
        yield before
        return
    scales = isinstance(before, keras.optimizers.LossScaleOptimizer)
    outer = optimizer
    if scales and isinstance(optimizer, Chain):
        outer = keras.optimizers.LossScaleOptimizer(optimizer)
    if not outer.built:
        outer.build(model.trainable_variables)
    model.optimizer = outer
    try:
        yield outer
    finally:
        model.optimizer = before
