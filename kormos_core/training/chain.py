"""A fit by several optimizers, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

import keras

from kormos_core.chain import Chain, Place
from kormos_core.errors import DataError, OptionError, UnsupportedError
from kormos_core.objective import float_dtype, floatx_scope, forget_programs
from kormos_core.request import overridden
from kormos_core.result import Status
from kormos_core.training.callbacks import callback_list, refuse_rate_callbacks
from kormos_core.training.progress import IterationProgress, in_order
from kormos_core.training.solve import Solve, iteration_limit
from kormos_core.training.stage_callbacks import Rows, StageCallbacks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kormos_core.chain import Stage
    from kormos_core.request import SolverRequest
    from kormos_core.result import Result
    from kormos_core.training.feed import Feed

__all__ = ["ChainFit"]

_FOR_EACH: Final = ("epochs", "options", "pretrain_fn")
_ENDS: Final = (Status.NONFINITE, Status.INTERRUPTED)  # no later stage is begun after these
_CURE: Final = "Put it among the callbacks of a stage that one of Keras's optimizers does."


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
        self._given = [_of_stage(given, number, chain) for number in range(len(chain.stages))]
        for stage, own in zip(chain.stages, self._given, strict=True):
            if stage.is_batch:
                request = self._request(stage, own)
                request.check_steps(getattr(model, "steps_per_execution", 1))
                request.create()
                iteration_limit(request, 0)
                refuse_rate_callbacks(stage.arguments.get("callbacks"), _CURE)
            else:
                _check_epochs(stage, own)
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
        refuse_rate_callbacks(callbacks, _CURE)
        chain, model = self._chain, self._model
        goes_on = resume is True or (resume == "auto" and initial_epoch > 0)
        progress = IterationProgress(level, self._limit(initial_epoch)) if level else None
        told = callback_list(
            callbacks, model, progress, verbose=level, epochs=self._limit(initial_epoch)
        )
        rows = Rows(chain)
        told.callbacks.insert(0, rows)  # before those that save where the chain is
        with _at_work(model, chain):
            model.stop_training = False
            chain.take_loaded()
            told.on_train_begin()
            loaded = chain.take_loaded()
            goes_on = (goes_on or loaded) and resume is not False
            place = self._begin(initial_epoch, goes_on=goes_on, required=resume is True)
            result = self._stages(told, rows, place, progress, watched=bool(callbacks))
            told.on_train_end(rows.latest or None)
        return self._history(rows, result)

    def _begin(self, initial_epoch: int, *, goes_on: bool, required: bool) -> Place:
        place = self._chain.place
        done = place is not None and place.stage >= len(self._chain.stages)
        if goes_on and place is not None and not done:
            return place
        if required:
            why = "it has come to its end" if done else "it has not begun"
            message = (
                f"the chain cannot go on where an earlier fit stood: {why}. Allowed is to begin "
                "with its first stage. Pass resume=False."
            )
            raise UnsupportedError(message)
        return Place(0, initial_epoch, initial_epoch)

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
                    progress.close(f"{stage.name}: {_epochs(stage, own)} epochs of minibatches.")
            if inner.stopped or (result is not None and result.status in _ENDS):
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
        request = self._request(stage, own)
        solve = Solve(self._model, stage.optimizer, request, self._feed)
        self._model.optimizer = self._chain  # a pretrain_fn may have compiled the model anew
        told.begin_stage()
        begin = solve.start(goes_on=goes_on, required=False)
        limit = None if request.maxiter is None else place.first + request.maxiter
        if limit is not None and place.following >= limit:
            return solve.nothing_left(begin.x)
        result, logs = solve.run(told, begin, first=place.following, limit=limit, watched=watched)
        told.end_stage(logs)
        return result

    def _step(
        self, stage: Stage, own: Mapping[str, Any], told: StageCallbacks, place: Place
    ) -> None:
        """Let Keras's own fit take the steps of a stage."""
        model, feed = self._model, self._feed
        before = own["pretrain_fn"] or stage.arguments.get("pretrain_fn")
        if before is not None:
            before(model)
            forget_programs(model)
            model.optimizer = self._chain
        model.train_function = None  # traced for the steps of another optimizer
        told.begin_stage()
        with floatx_scope(float_dtype(model)):  # as for the solvers of other stages
            keras.Model.fit(
                model,
                feed.x,
                feed.y,
                batch_size=stage.arguments.get("batch_size", feed.batch_size),
                epochs=place.first + _epochs(stage, own),
                verbose=0,
                callbacks=told,
                validation_data=feed.validation_data,
                shuffle=stage.arguments.get("shuffle", self._shuffle),
                class_weight=feed.class_weight,
                sample_weight=feed.sample_weight,
                initial_epoch=place.following,
                steps_per_epoch=feed.steps_per_epoch,
                validation_steps=feed.validation_steps,
                validation_batch_size=feed.validation_batch_size,
                validation_freq=feed.validation_freq,
            )
        told.end_stage(None)

    def _request(self, stage: Stage, own: Mapping[str, Any]) -> SolverRequest:
        return overridden(stage.request, **own)

    def _limit(self, first: int) -> int | None:
        total = first
        for stage, own in zip(self._chain.stages, self._given, strict=True):
            epochs = self._request(stage, own).maxiter if stage.is_batch else _epochs(stage, own)
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


@contextmanager
def _at_work(model: keras.Model, chain: Chain) -> Iterator[None]:
    """Let the chain be the model's optimizer for a while."""
    before = model.optimizer
    inner = getattr(before, "inner_optimizer", before)
    if inner is not chain:
        model.optimizer = chain
    if not chain.built:
        chain.build(model.trainable_variables)
    try:
        yield
    finally:
        if inner is not chain:
            model.optimizer = before
        model.train_function = None


def _of_stage(given: Mapping[str, Any], number: int, chain: Chain) -> dict[str, Any]:
    """Return what one stage is given."""
    own = dict(given)
    stage, num_stages = chain.stages[number], len(chain.stages)
    for name in _FOR_EACH:
        value = given[name]
        if isinstance(value, (list, tuple)):
            if len(value) != num_stages:
                message = (
                    f"{name} has {len(value)} values for {num_stages} stages: {value!r:.80}. "
                    "Allowed is one for each stage, or one for all. Pass as many."
                )
                raise OptionError(message)
            own[name] = value[number]
    if not stage.is_batch and isinstance(given["options"], (list, tuple)) and own["options"]:
        message = (
            f"options for the stage {stage.name!r} cannot be honored: {own['options']!r:.80}. "
            "Allowed are None or {} for an optimizer of Keras's. Set them where it is made."
        )
        raise OptionError(message)
    return own


def _epochs(stage: Stage, own: Mapping[str, Any]) -> int:
    epochs = own["epochs"] if own["epochs"] is not None else stage.arguments["epochs"]
    return int(epochs)


def _check_epochs(stage: Stage, own: Mapping[str, Any]) -> None:
    epochs = own["epochs"] if own["epochs"] is not None else stage.arguments.get("epochs")
    if isinstance(epochs, int) and not isinstance(epochs, bool) and epochs >= 1:
        return
    message = (
        f"the stage {stage.name!r} of a chain has no usable number of epochs: {epochs!r}. Allowed "
        "is a positive integer: minibatch steps do not tell when they have converged. Pass "
        f"epochs to fit(), or make the stage ({stage.name!r}, {{'epochs': 100}})."
    )
    raise OptionError(message)
