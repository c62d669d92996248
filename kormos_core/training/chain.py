"""A fit by several optimizers, one after the other."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.chain import Chain, Place
from kormos_core.errors import DataError, RestartWarning, UnsupportedError
from kormos_core.objective import float_dtype, floatx_scope, forget_programs
from kormos_core.result import Status
from kormos_core.training.at_work import at_work
from kormos_core.training.callbacks import callback_list, refuse_rate_callbacks
from kormos_core.training.progress import IterationProgress, in_order
from kormos_core.training.replaced import fit_of_keras
from kormos_core.training.solve import Solve
from kormos_core.training.stage_arguments import (
    CURE,
    check_for_solvers,
    check_stage,
    given_to,
    num_epochs,
    request_of,
)
from kormos_core.training.stage_callbacks import Rows, StageCallbacks

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

    from kormos_core.chain import Stage
    from kormos_core.result import Result
    from kormos_core.training.feed import Feed

__all__ = ["ChainFit"]

_ENDS: Final = (Status.NONFINITE, Status.INTERRUPTED)  # no later stage is begun after these


@final
class ChainFit:
    """A fit by the stages of a chain.

    Making it checks what can be known before the first stage.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    chain : Chain
        The stages; it keeps what they end with.
    feed : Feed
        The data.
    given : mapping of str to object
        Arguments of the fit, which take precedence over those of stages: ``epochs``,
        ``options`` and ``pretrain_fn`` for all stages or a sequence with one for each;
        ``bounds``, ``constraints`` and ``tol`` for all solvers.
    shuffle : bool
        Whether Keras's optimizers see the samples in another order each epoch.

    Raises
    ------
    KormosError
        If stages, data and arguments do not fit together.
    """

    def __init__(
        self,
        model: keras.Model,
        chain: Chain,
        feed: Feed,
        given: Mapping[str, Any],
        *,
        shuffle: bool,
    ) -> None:
        self._model, self._chain, self._feed, self._shuffle = model, chain, feed, shuffle
        self._outer: keras.optimizers.Optimizer = chain
        self._insists = False
        check_for_solvers(chain, given)
        self._given = [given_to(number, chain, given) for number in range(len(chain.stages))]
        for stage, own in zip(chain.stages, self._given, strict=True):
            check_stage(model, stage, own, feed.x)
        if len(chain.stages) > 1 and isinstance(feed.x, Iterator):
            message = (
                f"a chain sweeps the data once a stage, and x can be read once: it is a "
                f"{type(feed.x).__name__}. Allowed are arrays, datasets and PyDatasets. Pass one."
            )
            raise DataError(message)

    def run(
        self, callbacks: Any, level: int, *, initial_epoch: int, resume: str | bool
    ) -> keras.callbacks.History:
        """Run the stages.

        Parameters
        ----------
        callbacks : object
            The user's; to them it is one training.
        level : {0, 1, 2}
            How much to show.
        initial_epoch : int
            Number of the first epoch.
        resume : {"auto", True, False}
            Whether to go on where the latest fit stood.

        Returns
        -------
        keras.callbacks.History
            All rows, with ``solver``; `result` of the last solver, `results` of all stages.
        """
        refuse_rate_callbacks(callbacks, CURE)
        progress = IterationProgress(level, self._limit(initial_epoch)) if level else None
        told = callback_list(
            callbacks, self._model, progress, verbose=level, epochs=self._limit(initial_epoch)
        )
        self._insists = resume is True
        rows = Rows(self._chain)
        told.callbacks.insert(0, rows)  # before those that save where the chain is
        try:
            with at_work(self._model, self._chain) as self._outer:
                place = self._started(told, initial_epoch, resume=resume)
                result = self._stages(told, rows, place, progress, watched=bool(callbacks))
                told.on_train_end(rows.latest or None)
        finally:
            told.callbacks.remove(rows)  # the list may be the user's
            self._model.train_function = None
        return self._history(rows, result)

    def _started(
        self, told: keras.callbacks.CallbackList, initial_epoch: int, *, resume: str | bool
    ) -> Place:
        """Tell callbacks that the training begins, and return where."""
        self._model.stop_training = False
        self._chain.take_loaded()
        told.on_train_begin()
        if self._chain.take_loaded():  # such as by BackupAndRestore
            return self._begin(None, goes_on=resume is not False)
        goes_on = self._insists or (resume == "auto" and initial_epoch > 0)
        return self._begin(initial_epoch, goes_on=goes_on)

    def _begin(self, epoch: int | None, *, goes_on: bool) -> Place:
        """Return where the chain begins, with an `epoch` that the user has numbered, or not."""
        place = self._chain.place
        done = place is not None and place.stage >= len(self._chain.stages)
        if goes_on and place is not None and not done:
            shift = epoch - place.following if epoch else 0
            return Place(place.stage, place.first + shift, place.following + shift)
        why = "it has come to its end" if done else "it has not begun"
        if self._insists:
            message = (
                f"the chain cannot go on where an earlier fit stood: {why}. Allowed is to begin "
                "with its first stage. Pass resume=False."
            )
            raise UnsupportedError(message)
        if goes_on and done:
            message = f"the chain begins again with its first stage: {why}."
            warnings.warn(message, RestartWarning, stacklevel=5)
        return Place(0, epoch or 0, epoch or 0)

    def _stages(
        self,
        told: keras.callbacks.CallbackList,
        rows: Rows,
        place: Place,
        progress: IterationProgress | None,
        *,
        watched: bool,
    ) -> Result | None:
        result = None
        for number in range(place.stage, len(self._chain.stages)):
            self._chain.move_to(place)
            stage, own = self._chain.stages[number], self._given[number]
            inner = StageCallbacks(told, stage.arguments.get("callbacks"), self._model)
            rows.solver = stage.name
            if stage.is_batch:
                began = place.following > place.first
                result = self._solve(
                    stage, own, inner, place, goes_on=began, watched=watched or inner.has_own
                )
                self._chain.add_result(result)
                if progress is not None:
                    progress.close(str(result))
            else:
                self._step(stage, own, inner, place)
                self._chain.add_result(None)
                if progress is not None:
                    told_of = num_epochs(stage, own)
                    progress.close(f"{stage.name}: {told_of} epochs of minibatches.")
            if inner.stopped or (result is not None and result.status in _ENDS):
                break
            if not stage.is_batch and not _is_finite(rows.latest, stage):
                break
            self._model.stop_training = False
            following = self._chain.place.following if self._chain.place else place.following
            place = Place(number + 1, following, following)
            self._chain.move_to(place)
        return result

    def _solve(
        self,
        stage: Stage,
        own: Mapping[str, Any],
        told: StageCallbacks,
        place: Place,
        *,
        goes_on: bool,
        watched: bool,
    ) -> Result:
        assert not isinstance(stage.optimizer, Chain)  # noqa: S101 - refused by the chain
        request = request_of(stage, own)
        solve = Solve(self._model, stage.optimizer, request, self._feed_of(stage))
        self._model.optimizer = self._outer  # a pretrain_fn may have compiled the model anew
        told.begin_stage()
        keeps = "resume" in request.registered.spec.supports
        begin = solve.start(goes_on=goes_on, required=self._insists and keeps)
        limit = None if request.maxiter is None else place.first + request.maxiter
        if limit is not None and place.following >= limit:
            result, logs = solve.nothing_left(begin.x), None
        else:
            result, logs = solve.run(
                told, begin, first=place.following, limit=limit, watched=watched
            )
        told.end_stage(logs)
        return result

    def _step(
        self, stage: Stage, own: Mapping[str, Any], told: StageCallbacks, place: Place
    ) -> None:
        """Let Keras's own fit take the steps of a stage."""
        model, feed = self._model, self._feed_of(stage)
        before = own["pretrain_fn"] or stage.arguments.get("pretrain_fn")
        if before is not None:
            before(model)
            forget_programs(model)
            model.optimizer = self._outer
        model.train_function = None  # traced for the steps of another optimizer
        told.begin_stage()
        limit = place.first + num_epochs(stage, own)
        pads = any(one.is_batch for one in self._chain.stages)
        told.count(place.following, limit, pads=pads)
        if place.following < limit:
            with (
                floatx_scope(float_dtype(model)),  # as for the solvers of other stages
                self._chain.stepping(model.trainable_variables),
            ):
                self._fit_by_keras(feed, told, place.following, stage)
        told.end_stage(None)

    def _fit_by_keras(
        self, feed: Feed, told: StageCallbacks, initial_epoch: int, stage: Stage
    ) -> None:
        fit_of_keras(self._model)(  # a tracker that replaces keras.Model.fit sees the whole chain
            feed.x,
            feed.y,
            batch_size=feed.batch_size,
            epochs=sys.maxsize,  # `told` counts: Keras's numbers are those of a backup
            verbose=0,
            callbacks=told,
            validation_data=feed.validation_data,
            shuffle=stage.arguments.get("shuffle", self._shuffle),
            class_weight=feed.class_weight,
            sample_weight=feed.sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=feed.steps_per_epoch,
            validation_steps=feed.validation_steps,
            validation_batch_size=feed.validation_batch_size,
            validation_freq=feed.validation_freq,
        )

    def _feed_of(self, stage: Stage) -> Feed:
        """Return the data, in slices of the stage's own size where it has one."""
        own = stage.arguments.get("batch_size")
        return self._feed if own is None else replace(self._feed, batch_size=own)

    def _limit(self, first: int) -> int | None:
        total = first
        for stage, own in zip(self._chain.stages, self._given, strict=True):
            epochs = request_of(stage, own).maxiter if stage.is_batch else num_epochs(stage, own)
            if epochs is None:
                return None
            total += epochs
        return total

    def _history(self, rows: Rows, result: Result | None) -> keras.callbacks.History:
        history = self._model.history
        history.history = in_order(rows.columns())
        history.result = result
        history.results = self._chain.results
        return history


def _is_finite(logs: Mapping[str, Any], stage: Stage) -> bool:
    """Tell whether the loss of a stage that Keras did is finite, and warn where it is not."""
    loss = float(logs.get("loss", 0.0))
    if math.isfinite(loss):
        return True
    message = f"The chain ends: after the stage {stage.name!r} the loss is {loss}."
    warnings.warn(message, RuntimeWarning, stacklevel=6)
    return False
