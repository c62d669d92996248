"""What a model learns besides its weights: moving statistics and metrics.

The objective itself changes no variable. What Keras's own training step would have
updated on the way, the moving statistics of batch normalization and the metrics, is
brought up to date here, for accepted iterates only.

References
----------
Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), arXiv:2105.07576, section 3:
population statistics are recomputed over the data with the weights held still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, final

import keras
import numpy as np

from kormos_core.backends import compile_map
from kormos_core.objective.faults import guarded
from kormos_core.objective.forward import compute_loss, predict
from kormos_core.objective.layers import sublayers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.objective.objective import ModelObjective
    from kormos_core.objective.program import Program
    from kormos_core.objective.sweep import Inputs

__all__ = ["Statistics"]


class _Moving(NamedTuple):
    """Moving statistics of one batch normalization layer."""

    mean: keras.Variable
    variance: keras.Variable
    momentum: float


@final
class Statistics:
    """Bring metrics and moving statistics up to date by sweeps over the data.

    Parameters
    ----------
    program : Program
        The model's traced functions.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._metrics = list(program.model.metrics_variables)
        self._moving = _moving_statistics(program.model) if program.settings.training else []
        how = {**program.how, "jit": False}
        self._observe = guarded(compile_map(self._observe_batch, **how), program)
        self._average = guarded(compile_map(self._average_batch, **how), program)
        self._retention: list[float] | None = None

    @property
    def has_moving(self) -> bool:
        """Whether the model has moving statistics that its training mode updates."""
        return bool(self._moving)

    @property
    def metric_names(self) -> list[str]:
        """Names of the compiled metrics, without ``"loss"``."""
        return [name for name in self._program.model.get_metrics_result() if name != "loss"]

    def metrics(self, objective: ModelObjective, x: NDArray[np.float64]) -> dict[str, Any]:
        """Compute the compiled metrics over the training data, in training mode.

        Parameters
        ----------
        objective : ModelObjective
            The data and its noise.
        x : ndarray, shape (n,), float64
            The parameters.

        Returns
        -------
        dict of str to float
            One entry a metric, without ``"loss"``; an array for a metric with a shape.

        Notes
        -----
        Costs one forward sweep.
        """
        self._program.model.reset_metrics()
        states = [keras.ops.convert_to_tensor(variable) for variable in self._metrics]
        for _, inputs in objective.inputs():
            states = self._observe(x, (inputs, states))
        for variable, state in zip(self._metrics, states, strict=True):
            variable.assign(state)
        results = {
            name: _number(value)  # now, as a metric may return its very state
            for name, value in self._program.model.get_metrics_result().items()
            if name != "loss"
        }
        self._program.model.reset_metrics()
        return results

    def update_moving(self, objective: ModelObjective, x: NDArray[np.float64]) -> None:
        """Set the moving statistics to those of the training data.

        Parameters
        ----------
        objective : ModelObjective
            The data and its noise.
        x : ndarray, shape (n,), float64
            The parameters.

        Notes
        -----
        Each batch's update is ``new = a * old + (1 - a) * statistic`` with ``a`` the
        momentum, to the power of the layer's calls, which are found by probing. Means are
        averaged over the batches by their samples; variances too, and the variance of the
        batches' means is added, so that one batch or many give the same.
        Costs one forward sweep.
        """
        if not self._moving:
            return
        rows, samples = [], []
        for num_samples, inputs in objective.inputs():
            if self._retention is None:
                self._retention = self._probe(x, inputs)
            rows.append(self._updated(x, inputs, 0.0))
            samples.append(num_samples)
        for index, (moving, kept) in enumerate(
            zip(self._moving, self._retention or [], strict=True)
        ):
            if kept == 1.0:
                continue  # the layer was not called, or keeps what it has
            means, variances = ([row[index][k] / (1.0 - kept) for row in rows] for k in (0, 1))
            mean = np.average(means, axis=0, weights=samples)
            moving.mean.assign(mean)
            spread = np.average(np.square(means - mean), axis=0, weights=samples)
            moving.variance.assign(np.average(variances, axis=0, weights=samples) + spread)

    def _probe(self, x: NDArray[np.float64], inputs: Inputs) -> list[float]:
        """Find how much of the old value each layer keeps, from updates of zeros and ones."""
        zeros, ones = self._updated(x, inputs, 0.0), self._updated(x, inputs, 1.0)
        kept = []
        for moving, from_zero, from_one in zip(self._moving, zeros, ones, strict=True):
            share = float(np.median(from_one[1] - from_zero[1]))
            if 0.0 < moving.momentum < 1.0 and share > 0.0:
                # In exact powers, as what is left of the batch is divided by 1 - kept.
                share = moving.momentum ** round(np.log(share) / np.log(moving.momentum))
            kept.append(float(np.clip(share, 0.0, 1.0)))
        return kept

    def _updated(
        self, x: NDArray[np.float64], inputs: Inputs, old: float
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return each layer's mean and variance after one batch, `old` before it."""
        states = [
            keras.ops.full(variable.shape, old, dtype=variable.dtype)
            for moving in self._moving
            for variable in moving[:2]
        ]
        new = [
            np.asarray(keras.ops.convert_to_numpy(value), np.float64)
            for value in self._average(x, (inputs, states))
        ]
        return list(zip(new[::2], new[1::2], strict=True))

    def _average_batch(self, x: Any, batch: tuple[Inputs, list[Any]]) -> list[Any]:
        inputs, states = batch
        variables = [variable for moving in self._moving for variable in moving[:2]]
        pairs = list(zip(variables, states, strict=True))
        with self._program.scope(x, inputs, pairs) as scope:
            predict(self._program.model, inputs.arrays[0], training=True)
            return [scope.get_current_value(variable) for variable in variables]

    def _observe_batch(self, x: Any, batch: tuple[Inputs, list[Any]]) -> list[Any]:
        inputs, states = batch
        training = self._program.settings.training
        pairs = list(zip(self._metrics, states, strict=True))
        with self._program.scope(x, inputs, pairs) as scope:
            y_pred = predict(self._program.model, inputs.arrays[0], training=training)
            compute_loss(self._program.model, inputs.arrays, y_pred, training=training)
            features, y, weight = inputs.arrays
            self._program.model.compute_metrics(features, y, y_pred, weight)
            return [scope.get_current_value(variable) for variable in self._metrics]


def _number(value: Any) -> Any:
    """Return a metric's result as a float, or as an array where it has a shape."""
    array = np.array(keras.ops.convert_to_numpy(value))
    return array if array.ndim else float(array)


def _moving_statistics(model: keras.Model) -> list[_Moving]:
    """List the moving statistics of all unfrozen batch normalization layers."""
    return [
        _Moving(layer.moving_mean, layer.moving_variance, float(layer.momentum))
        for layer in sublayers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.built
    ]
