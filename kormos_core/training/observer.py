"""Accepted iterates as Keras callbacks see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_core.protocols import StopSolve
from kormos_core.result import Status
from kormos_core.training.progress import IterationProgress
from kormos_core.training.stage_callbacks import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.objective import Layout, ModelObjective, Statistics
    from kormos_core.run import Iterate
    from kormos_core.training.validation import Validation

__all__ = ["CallbackObserver", "TrainingStatistics"]


@final
@dataclass(frozen=True, slots=True)
class TrainingStatistics:
    """Metrics and moving statistics over the training data.

    Attributes
    ----------
    objective : ModelObjective
        The data.
    statistics : Statistics
        What brings them up to date.
    has_metrics : bool
        Whether the model was compiled with metrics.
    """

    objective: ModelObjective
    statistics: Statistics
    has_metrics: bool


@final
class CallbackObserver:
    """Serve Keras callbacks and validation at every accepted iterate (`Observer`).

    An iteration is to callbacks an epoch of one batch. Its epoch begins with the first
    evaluation after the iterate before, and ends when the iterate is accepted.

    Parameters
    ----------
    model : keras.Model
        The model that callbacks see; its weights are set to each accepted iterate.
    layout : Layout
        Its trainable variables.
    callbacks : keras.callbacks.CallbackList
        Who is told.
    training : TrainingStatistics or None
        What gives the training metrics.
    validation : Validation or None
        What gives the validation metrics.
    initial_epoch : int
        Number of the first epoch.
    watched : bool
        Whether callbacks other than kormos's own may look at the weights. Where neither
        they nor validation do, the weights are written at the end only.

    Attributes
    ----------
    logs : dict of str to float
        Logs of the latest iteration.
    weights_restored : bool
        Whether a callback that stopped the fit has set the weights to others.
    written : ndarray, shape (n,), float64, or None
        What the trainable weights were last set to, where that is known.
    """

    def __init__(
        self,
        model: keras.Model,
        layout: Layout,
        callbacks: keras.callbacks.CallbackList,
        *,
        training: TrainingStatistics | None = None,
        validation: Validation | None = None,
        initial_epoch: int = 0,
        watched: bool = True,
    ) -> None:
        self._model = model
        self._layout = layout
        self._callbacks = callbacks
        self._training = training
        self._validation = validation
        self._initial_epoch = initial_epoch
        self._watched = watched
        # kormos's own and Keras's history need no more than a row, wherever the weights are
        self._bookkeepers = [
            one
            for one in callbacks.callbacks
            if isinstance(one, (keras.callbacks.History, IterationProgress, Rows))
        ]
        self._served = self._told = initial_epoch
        self.logs: dict[str, float] = {}
        self.weights_restored = False
        self.written: NDArray[Any] | None = None

    @property
    def num_epochs(self) -> int:
        """Number of the latest iteration that was told, those before this fit included."""
        return self._told

    def begin(self, number: int) -> None:
        """Take note that work on iteration `number` begins."""
        if self._watched:  # kormos's own callbacks need no more than the ends of epochs
            self._callbacks.on_epoch_begin(self._initial_epoch + number - 1)
            self._callbacks.on_train_batch_begin(0)

    def passed(self, iterate: Iterate) -> None:
        """Take note of an iterate that went by inside the graph.

        Parameters
        ----------
        iterate : Iterate
            The iterate; the model's weights are others.
        """
        logs = self._solver_logs(iterate)
        if self._training is not None and self._training.has_metrics:
            names = self._training.statistics.metric_names
            logs |= dict.fromkeys(names, float("nan"))  # so that rows stay in line
        self._told = self._initial_epoch + iterate.number
        for one in self._bookkeepers:
            one.on_epoch_end(self._initial_epoch + iterate.number - 1, dict(logs))

    def iterate(self, iterate: Iterate) -> None:
        """Take an accepted iterate.

        Parameters
        ----------
        iterate : Iterate
            The iterate.

        Raises
        ------
        StopSolve
            If a callback asked to stop.
        UnsupportedError
            If a callback changed the weights and did not stop.
        """
        epoch = self._initial_epoch + iterate.number - 1
        if self._watched or self._validation is not None:
            self._layout.write(iterate.x)
        written = self._layout.read() if self._watched else None
        self.written, self._told = written, epoch + 1
        if self._watched:
            self._count(epoch + 1)
        logs = self._solver_logs(iterate)
        # where iterations went by in the graph, it is due if it was at any of them
        validate = self._validation is not None and any(
            self._validation.is_due(number) for number in range(self._served, epoch + 1)
        )
        self._served = epoch + 1
        # A callback may save or evaluate the model at any iterate.
        logs |= self._training_logs(iterate.x, moving=validate or self._watched)
        if self._watched:
            self._callbacks.on_train_batch_end(0, dict(logs))
        if validate and self._validation is not None:
            logs |= self._validation.run(self._model, self._callbacks)
        self._callbacks.on_epoch_end(epoch, logs)
        self.logs = logs
        if written is not None:
            self._see_to_weights(written, iterate.number)
        if self._model.stop_training:
            raise StopSolve(Status.STOPPED_BY_CALLBACK)

    def _count(self, num_epochs: int) -> None:
        """Let the optimizer tell how many iterations there were, as trackers ask it."""
        optimizer = getattr(self._model, "optimizer", None)
        if optimizer is not None:
            optimizer.iterations.assign(num_epochs)

    @staticmethod
    def _solver_logs(iterate: Iterate) -> dict[str, float]:
        return {
            "loss": iterate.loss,
            "grad": iterate.grad_norm,
            "fg_evals": iterate.fg_evals,
            "hessp_evals": iterate.hessp_evals,
        }

    def _training_logs(self, x: NDArray[np.float64], *, moving: bool) -> dict[str, float]:
        if self._training is None:
            return {}
        training = self._training
        if moving:
            training.statistics.update_moving(training.objective, x)
        if not training.has_metrics:
            return {}
        return training.statistics.metrics(training.objective, x)

    def _see_to_weights(self, written: NDArray[Any], number: int) -> None:
        """See whether a callback has changed the weights."""
        if np.array_equal(self._layout.read(), written):
            return
        if self._model.stop_training:
            self.weights_restored = True  # such as EarlyStopping(restore_best_weights=True)
            return
        message = (
            f"a callback changed the weights after iteration {number}. A solver goes on from its "
            "own point and would undo that. Allowed is to change them when stopping. Stop the "
            "fit, change the weights, and fit again."
        )
        raise UnsupportedError(message)
