"""Fit a compiled Keras model with a batch solver."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras

from kormos_core.backends import current_backend
from kormos_core.check import check_request
from kormos_core.data import adapt, is_arrays, normalize, split_off_validation
from kormos_core.errors import DataError, NotCompiledError, UnsupportedError
from kormos_core.objective import Settings, build_objective, float_dtype, forget_programs
from kormos_core.optimizer import BatchOptimizer, get
from kormos_core.request import as_constraints, overridden
from kormos_core.result import Status
from kormos_core.training.interrupt import Interrupt
from kormos_core.training.observer import CallbackObserver, TrainingStatistics
from kormos_core.training.progress import IterationProgress, verbosity, with_whole_counts
from kormos_core.training.run import Run
from kormos_core.training.validation import Validation, repeatable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kormos_core.objective import ModelObjective, Statistics
    from kormos_core.request import SolverRequest
    from kormos_core.result import Result

__all__ = ["DEFAULT_MAXITER", "fit"]

DEFAULT_MAXITER = 15_000
"""Iterations after which a solve without a limit ends; SciPy's own for L-BFGS-B."""


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    verbose: str | int = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,  # noqa: FBT001, FBT002 - Keras's signature
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int | Sequence[int] = 1,
    *,
    solver: str | BatchOptimizer | None = None,
    options: Mapping[str, Any] | None = None,
    bounds: Any = None,
    constraints: Any = None,
    tol: float | None = None,
    pretrain_fn: Callable[[Any], Any] | None = None,
) -> keras.callbacks.History:
    """Fit a compiled model with a batch solver.

    Parameters
    ----------
    model : keras.Model
        Any compiled Keras model; it ends at the best point found.
    x, y, sample_weight, class_weight : object
        Training data as in `keras.Model.fit`: arrays, tensors, pandas objects or
        structures of them; or a tf.data.Dataset, PyDataset or generator as `x` alone.
    batch_size : int or None
        Samples swept at a time, for memory only: the result does not depend on it
        (batch normalization aside). None takes all, in slices of at most 32,768.
    epochs : int or None
        Iteration limit, counted from `initial_epoch`'s zero; None runs until the solver
        converges, at most 15,000 iterations.
    verbose : {"auto", 0, 1, 2}
        0 silent, 1 one line kept up to date, 2 a line for each iteration.
    callbacks : list of keras.callbacks.Callback
        To them an iteration is an epoch of one batch.
    validation_split, validation_data, validation_steps, validation_batch_size, \
validation_freq : object
        As in `keras.Model.fit`.
    shuffle : bool
        Taken for Keras's sake; a sum over all samples has no order.
    initial_epoch : int
        Number of the first iteration.
    steps_per_epoch : int or None
        Batches that make one sweep over the data.
    solver : str, BatchOptimizer or None
        Solver to use; None takes the one that the model was compiled with.
    options, bounds, constraints, tol, pretrain_fn : object
        As of `kormos.BatchOptimizer`; they take precedence over its own.

    Returns
    -------
    keras.callbacks.History
        `history` has one row for each iteration: ``loss``, ``grad``, ``fg_evals``,
        ``hessp_evals``, the metrics, and ``val_*``; `result` is the `Result`.

    Raises
    ------
    KormosError
        If model, data, solver and options do not fit together; nothing has been changed.
    KeyboardInterrupt
        On a second Ctrl-C; the model is at the best point.
    """
    del shuffle
    level = verbosity(verbose)
    carrier = _carrier(model, solver)
    request = overridden(
        carrier.request,
        solver=solver if isinstance(solver, str) else None,
        epochs=epochs,
        options=options,
        bounds=bounds,
        constraints=None if constraints is None else as_constraints(constraints),
        tol=tol,
        pretrain_fn=pretrain_fn,
        batch_size=batch_size,
    )
    request.check_steps(getattr(model, "steps_per_execution", 1))
    request.create()  # a wrong option is told before anything is changed
    if request.pretrain_fn is not None:
        request.pretrain_fn(model)
        forget_programs(model)
    arrays = (x, y, sample_weight)
    if validation_split and validation_data is None:
        arrays, validation_data = _split(arrays, validation_split)
    validation = None
    if validation_data is not None:
        validation = Validation(
            data=repeatable(validation_data, validation_steps),
            batch_size=validation_batch_size or request.batch_size,
            steps=validation_steps,
            freq=validation_freq,
        )
    batches = adapt(
        *arrays,
        batch_size=request.batch_size if is_arrays(arrays[0]) else batch_size,
        class_weight=class_weight,
        steps=steps_per_epoch,
        float_dtype=float_dtype(model),
    )
    objective, statistics = build_objective(
        model,
        batches,
        settings=_settings(model, request),
        bounds=request.bounds,
        constraints=request.constraints,
        hvp=request.hvp,
        jit=_loop_jit(model, request),
    )
    maxiter = _iteration_limit(request, initial_epoch)
    _check(request, objective)
    progress = IterationProgress(level, request.maxiter) if level else None
    told = _callback_list(callbacks, model, progress, verbose=level, epochs=request.maxiter)
    observer = CallbackObserver(
        model,
        objective.program.layout,
        told,
        training=TrainingStatistics(objective, statistics, _has_metrics(model)),
        validation=validation,
        initial_epoch=initial_epoch,
        watched=bool(callbacks),
    )
    seen = bool(callbacks) or validation is not None or _has_metrics(model)
    steps = getattr(model, "steps_per_execution", 1) if seen else None
    result = _solve(model, request, objective, statistics, observer, told, maxiter, steps)
    carrier.add_result(result)
    _tell(result, progress)
    history = model.history
    history.history = with_whole_counts(history.history)
    history.result = result
    return history


def _carrier(model: keras.Model, solver: str | BatchOptimizer | None) -> BatchOptimizer:
    if not model.compiled:
        message = (
            f"the model {model.name!r} is not compiled. A solver needs its loss. "
            "Call compile() before fit()."
        )
        raise NotCompiledError(message)
    if isinstance(solver, BatchOptimizer):
        return solver
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(optimizer, BatchOptimizer):
        return optimizer
    if solver is not None:
        return get(solver)
    named = type(optimizer).__name__ if optimizer is not None else None
    message = (
        f"the model {model.name!r} has no batch solver: its optimizer is {named}. "
        "Allowed is a solver's name or a kormos.BatchOptimizer. Pass solver= to fit(), or "
        "compile with optimizer=kormos.BatchOptimizer(...)."
    )
    raise NotCompiledError(message)


def _split(arrays: tuple[Any, Any, Any], fraction: float) -> tuple[Any, Any]:
    if not is_arrays(arrays[0]):
        message = (
            f"validation_split={fraction!r} cannot cut a {type(arrays[0]).__name__}. It is "
            "allowed for arrays, tensors and pandas objects. Pass validation_data instead."
        )
        raise DataError(message)
    plain = tuple(normalize(part, None) for part in arrays)
    return split_off_validation(plain, fraction)


def _settings(model: keras.Model, request: SolverRequest) -> Settings:
    eager, asked = bool(model.run_eagerly), request.jit_compile
    jit = asked if isinstance(asked, bool) else bool(model.jit_compile)
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


def _iteration_limit(request: SolverRequest, initial_epoch: int) -> int:
    if request.maxiter is None:
        return DEFAULT_MAXITER
    if request.maxiter <= initial_epoch:
        message = (
            f"no iteration is left: epochs={request.maxiter} is the number of the last one, and "
            f"initial_epoch={initial_epoch} that of the first. epochs must be larger. Raise it."
        )
        raise UnsupportedError(message)
    return request.maxiter - initial_epoch


def _check(request: SolverRequest, objective: ModelObjective) -> None:
    check_request(
        request.registered,
        backend=current_backend().name,
        size=objective.size,
        dtype=objective.dtype,
        has_bounds=objective.bounds is not None,
        has_constraints=bool(objective.constraints),
    )


def _has_metrics(model: keras.Model) -> bool:
    return len(model.metrics) > 1  # the first is the loss's own


def _callback_list(
    callbacks: Any,
    model: keras.Model,
    progress: IterationProgress | None,
    *,
    verbose: int,
    epochs: int | None,
) -> keras.callbacks.CallbackList:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        if not any(isinstance(one, keras.callbacks.History) for one in callbacks.callbacks):
            model.history = keras.callbacks.History()
            model.history.set_model(model)
            callbacks.callbacks.append(model.history)
        return callbacks
    own = [] if progress is None else [progress]
    return keras.callbacks.CallbackList(
        [*keras.tree.flatten(callbacks or []), *own],
        add_history=True,
        add_progbar=False,
        model=model,
        verbose=verbose,
        epochs=epochs or DEFAULT_MAXITER,
        steps=1,
    )


def _solve(
    model: keras.Model,
    request: SolverRequest,
    objective: ModelObjective,
    statistics: Statistics,
    observer: CallbackObserver,
    callbacks: keras.callbacks.CallbackList,
    maxiter: int,
    steps: int | None,
) -> Result:
    layout = objective.program.layout
    model.stop_training = False
    callbacks.on_train_begin()
    with Interrupt() as interrupt:
        run = Run(objective, request.registered, observer, interrupt, steps)
        try:
            result = run.solve(request.create(), layout.read(), maxiter=maxiter)
        except BaseException:
            if run.best is not None:
                layout.write(run.best)
            raise
        if not observer.weights_restored:
            layout.write(result.x)
    # Past this point Ctrl-C means what it means anywhere: there is no solve left to end.
    statistics.update_moving(objective, layout.read())
    callbacks.on_train_end(observer.logs or None)
    return result


def _tell(result: Result, progress: IterationProgress | None) -> None:
    if progress is not None:
        progress.close(str(result))
    if result.status is Status.NONFINITE:
        warnings.warn(result.message, RuntimeWarning, stacklevel=3)
