"""A fit by one solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from kormos_core.training.at_work import at_work
from kormos_core.training.callbacks import callback_list, refuse_rate_callbacks
from kormos_core.training.progress import IterationProgress, with_whole_counts
from kormos_core.training.solve import Solve, iteration_limit

if TYPE_CHECKING:
    import keras

    from kormos_core.optimizer import BatchOptimizer
    from kormos_core.request import SolverRequest
    from kormos_core.result import Result
    from kormos_core.training.feed import Feed

__all__ = ["SingleFit"]


@final
class SingleFit:
    """A fit by one solver.

    Making it checks that model, data, solver and options fit together.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    carrier : BatchOptimizer
        Who keeps the result, and where the solve stands.
    request : SolverRequest
        What is asked of the solver.
    feed : Feed
        The data.
    """

    def __init__(
        self, model: keras.Model, carrier: BatchOptimizer, request: SolverRequest, feed: Feed
    ) -> None:
        self._model, self._carrier, self._request = model, carrier, request
        self._solve = Solve(model, carrier, request, feed)

    def run(
        self, callbacks: Any, level: int, *, initial_epoch: int, resume: str | bool
    ) -> keras.callbacks.History:
        """Run the solver.

        Parameters
        ----------
        callbacks : object
            The user's.
        level : {0, 1, 2}
            How much to show.
        initial_epoch : int
            Number of the first iteration.
        resume : {"auto", True, False}
            Whether to go on where the latest fit stood.

        Returns
        -------
        keras.callbacks.History
            One row for each iteration, and `result`.
        """
        refuse_rate_callbacks(callbacks, "Leave the callback out.")
        model, carrier, limit = self._model, self._carrier, self._request.maxiter
        goes_on = resume is True or (resume == "auto" and initial_epoch > 0)
        first = initial_epoch
        if resume is True and carrier.state is not None:
            first = initial_epoch or carrier.state.num_iterations
        iteration_limit(self._request, first)
        progress = IterationProgress(level, limit) if level else None
        told = callback_list(callbacks, model, progress, verbose=level, epochs=limit)
        model.stop_training = False
        with at_work(model, carrier):
            carrier.take_loaded()
            told.on_train_begin()
            if carrier.take_loaded() and carrier.state is not None:  # such as by BackupAndRestore
                first, goes_on = carrier.state.num_iterations, resume is not False
            begin = self._solve.start(goes_on=goes_on, required=resume is True)
            if limit is not None and first >= limit:
                result, logs = self._solve.nothing_left(begin.x), None
            else:
                result, logs = self._solve.run(
                    told, begin, first=first, limit=limit, watched=bool(callbacks)
                )
            told.on_train_end(logs)
        return self._history(result, progress)

    def _history(
        self, result: Result, progress: IterationProgress | None
    ) -> keras.callbacks.History:
        if progress is not None:
            progress.close(str(result))
        history = self._model.history
        history.history = with_whole_counts(history.history)
        history.result = result
        return history
