"""One solver at work on a model: prepared, then run."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, final

from kormos_core.backends import current_backend
from kormos_core.check import check_request
from kormos_core.errors import UnsupportedError
from kormos_core.objective import (
    Settings,
    build_objective,
    float_dtype,
    forget_programs,
    warn_of_tolerances,
)
from kormos_core.result import Result, Status
from kormos_core.state import SolverState
from kormos_core.training.callbacks import DEFAULT_MAXITER
from kormos_core.training.interrupt import Interrupt
from kormos_core.training.observer import CallbackObserver, TrainingStatistics
from kormos_core.training.resume import Start, start
from kormos_core.training.run import Run

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.optimizer import BatchOptimizer
    from kormos_core.request import SolverRequest
    from kormos_core.training.feed import Feed

__all__ = ["Solve", "iteration_limit", "refuse_replicas"]


@final
class Solve:
    """One solver at work on a model.

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

    Raises
    ------
    KormosError
        If they do not fit together; only `pretrain_fn` has changed anything.
    """

    def __init__(
        self, model: keras.Model, carrier: BatchOptimizer, request: SolverRequest, feed: Feed
    ) -> None:
        refuse_replicas(model)
        request.check_steps(getattr(model, "steps_per_execution", 1))
        self._method = request.create()  # a wrong option is told before anything is changed
        if request.pretrain_fn is not None:
            request.pretrain_fn(model)
            forget_programs(model)
        self._model, self._carrier, self._request = model, carrier, request
        self._validation = feed.validation(request.batch_size)
        self._objective, self._statistics = build_objective(
            model,
            feed.batches(request.batch_size, float_dtype(model)),
            settings=_settings(model, request),
            bounds=request.bounds,
            constraints=request.constraints,
            hvp=request.hvp,
            jit=_loop_jit(model, request),
        )
        check_request(
            request.registered,
            backend=current_backend().name,
            size=self._objective.size,
            dtype=self._objective.dtype,
            has_bounds=self._objective.bounds is not None,
            has_constraints=bool(self._objective.constraints),
        )
        if "residuals" in request.registered.spec.needs:
            self._objective.prepare_residuals(self._objective.program.layout.read())
        if self._validation is not None:
            self._validation.try_on(model)
        asked = {**request.options, **({} if request.tol is None else {"tol": request.tol})}
        warn_of_tolerances(self._objective.numerics.precision, asked)

    def start(self, *, goes_on: bool, required: bool) -> Start:
        """Tell where the solve begins.

        Parameters
        ----------
        goes_on : bool
            Whether it is to go on where the carrier's latest fit stood.
        required : bool
            Whether a fresh start will not do then.

        Returns
        -------
        Start
            Where.
        """
        if not goes_on:
            return Start(self._objective.program.layout.read())
        registered = self._request.registered
        return start(
            self._carrier.state, self._objective, registered, self._method, required=required
        )

    def run(
        self,
        told: keras.callbacks.CallbackList,
        begin: Start,
        *,
        first: int,
        limit: int | None,
        watched: bool,
    ) -> tuple[Result, dict[str, float] | None]:
        """Run the solver to its end, and leave the model at the best point.

        Parameters
        ----------
        told : keras.callbacks.CallbackList
            Who is told of every iteration.
        begin : Start
            Where it begins.
        first : int
            Number of the first iteration.
        limit : int or None
            Number of the first iteration that is too much; None for a generous cap.
        watched : bool
            Whether callbacks other than kormos's own may look at the weights.

        Returns
        -------
        result : Result
            Why it stopped, and where.
        logs : dict of str to float, or None
            Logs of the last iteration, if there was one.
        """
        model, objective = self._model, self._objective
        layout, has_metrics = objective.program.layout, _has_metrics(model)
        observer = CallbackObserver(
            model,
            layout,
            told,
            training=TrainingStatistics(objective, self._statistics, has_metrics),
            validation=self._validation,
            initial_epoch=first,
            watched=watched,
        )
        seen = watched or self._validation is not None or has_metrics
        steps = getattr(model, "steps_per_execution", 1) if seen else None
        maxiter = DEFAULT_MAXITER if limit is None else limit - first
        with Interrupt() as interrupt:
            registered = self._request.registered
            run = Run(objective, registered, observer, interrupt, steps, begin.memory)
            earlier = self._carrier.state if begin.memory is not None else None
            self._carrier.hold_state(partial(self._state, run, observer, earlier))
            try:
                result = run.solve(self._method, begin.x, maxiter=maxiter)
            except BaseException:
                self._leave(run, observer, earlier)
                raise
            # what goes on has better weights than its point, until something has run
            if not observer.weights_restored and (earlier is None or run.snapshot() is not None):
                layout.write(result.x)
                observer.written = layout.read()
        # Past this point Ctrl-C means what it means anywhere: there is no solve left to end.
        self._statistics.update_moving(objective, layout.read())
        state = self._state(run, observer, earlier)
        self._carrier.hold_state(lambda: state)
        self._carrier.add_result(result)
        if result.status is Status.NONFINITE:
            warnings.warn(result.message, RuntimeWarning, stacklevel=4)
        return result, observer.logs or None

    def nothing_left(self, x: NDArray[np.float64]) -> Result:
        """Return the result of a solve that has no iteration left, at ``x``, shape (n,)."""
        f, _ = self._objective.value_and_grad(x)
        result = Result(
            x=x,
            loss=f,
            status=Status.MAX_ITER,
            message=Status.MAX_ITER.value,
            num_iterations=0,
            fg_evals=1,
            solver=self._request.registered.name,
        )
        self._carrier.add_result(result)
        return result

    def _leave(self, run: Run, observer: CallbackObserver, earlier: SolverState | None) -> None:
        """Keep the best point of a run that an error ends, and where it stands, not the run."""
        if run.best is not None and (run.num_iterations or run.snapshot() is not None):
            layout = self._objective.program.layout
            layout.write(run.best)
            observer.written = layout.read()
        state = self._state(run, observer, earlier)
        self._carrier.hold_state(lambda: state)

    def _state(
        self, run: Run, observer: CallbackObserver, earlier: SolverState | None
    ) -> SolverState | None:
        """Tell where a run stands: where an earlier one did, before its weights are known."""
        if observer.written is None:
            return earlier
        return SolverState(
            solver=self._request.registered.name,
            method=repr(self._method),
            num_iterations=observer.num_epochs,
            weights=observer.written,
            memory=run.snapshot(),
            noise=self._objective.noise.states,
        )


def iteration_limit(request: SolverRequest, first: int) -> int | None:
    """Return the number of the first iteration that is too much, or None.

    Parameters
    ----------
    request : SolverRequest
        What is asked of the solver.
    first : int
        Number of the first iteration.

    Returns
    -------
    int or None
        The limit.

    Raises
    ------
    UnsupportedError
        If no iteration is left.
    """
    if request.maxiter is not None and request.maxiter <= first:
        message = (
            f"no iteration is left: epochs={request.maxiter} is the number of the last one, and "
            f"initial_epoch={first} that of the first. epochs must be larger. Raise it."
        )
        raise UnsupportedError(message)
    return request.maxiter


def refuse_replicas(model: keras.Model) -> None:
    """Refuse a model that is copied to several devices: its losses would be shared out.

    Parameters
    ----------
    model : keras.Model
        The model.

    Raises
    ------
    UnsupportedError
        If it is.
    """
    num_replicas = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)
    if num_replicas > 1:
        message = (
            f"the model {model.name!r} was made for {num_replicas} replicas, over which batch "
            "solvers do not work yet. Allowed is one. Make the model outside of the strategy's "
            "scope."
        )
        raise UnsupportedError(message)


def _settings(model: keras.Model, request: SolverRequest) -> Settings:
    eager, asked = bool(model.run_eagerly), request.jit_compile
    jit = asked if isinstance(asked, bool) else bool(model.jit_compile)
    eager = eager or (current_backend().needs_jit and not jit)
    return Settings(training=request.training, jit=jit and not eager, eager=eager)


def _loop_jit(model: keras.Model, request: SolverRequest) -> bool | None:
    """Read whether XLA is a must (True), is to be tried (None), or is not wanted (False)."""
    if model.run_eagerly:
        return False
    asked = request.jit_compile
    if asked is None:
        # Keras keeps only what "auto" came to; models of kormos remember the word.
        word = getattr(model, "requested_jit_compile", None)
        if word is None:
            return None if model.jit_compile else False
        asked = word
    if asked == "auto":
        return None if current_backend().has_accelerator else False
    return bool(asked)


def _has_metrics(model: keras.Model) -> bool:
    return len(model.metrics) > 1  # the first is the loss's own
