"""Train one problem with each solver, and measure all of them by one objective.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,).
"""

from __future__ import annotations

import math
import re
import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.compare.outcome import Comparison, Outcome
from kormos_core.errors import KormosError
from kormos_core.objective import floatx_scope
from kormos_core.optimizer import BatchOptimizer
from kormos_core.result import Status
from kormos_core.training import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kormos_core.compare.contestants import Contestant
    from kormos_core.compare.trial import Trial
    from kormos_core.objective import ModelObjective
    from kormos_core.registry import Registered

__all__ = ["KERAS_EPOCHS", "Budget", "compare", "train"]

KERAS_EPOCHS = 100
"""Epochs of Keras's optimizers, which do not stop by themselves, where none are given."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long solvers may work.

    Attributes
    ----------
    epochs : int or None
        Iteration limit of solvers, and epochs of Keras's optimizers. None lets solvers run
        until they converge, and Keras's optimizers for `KERAS_EPOCHS`.
    batch_size : int
        Samples of a minibatch of Keras's optimizers.
    """

    epochs: int | None = None
    batch_size: int = 32


def compare(
    trial: Trial,
    contestants: Sequence[Contestant],
    budget: Budget,
    *,
    announce: Callable[[int, Contestant], None] | None = None,
) -> Comparison:
    """Train a fresh copy of the model with each solver.

    Parameters
    ----------
    trial : Trial
        The problem.
    contestants : sequence of Contestant
        The solvers.
    budget : Budget
        How long they may work.
    announce : callable or None
        Told of each solver, with its number from 1, before it begins.

    Returns
    -------
    Comparison
        One row for each solver; an interrupt of the user ends it early.
    """
    outcomes: list[Outcome] = []
    interrupted = False
    for number, contestant in enumerate(contestants, start=1):
        if announce is not None:
            announce(number, contestant)
        try:
            outcomes.append(train(trial, contestant, budget))
        except KeyboardInterrupt:
            interrupted = True
        interrupted |= bool(outcomes) and outcomes[-1].status == Status.INTERRUPTED.name
        if interrupted:
            break
    return Comparison(
        problem=trial.problem,
        dtype=trial.dtype,
        seed=trial.seed,
        num_parameters=trial.num_parameters,
        num_samples=len(trial.data.x),
        num_validation_samples=trial.data.num_validation_samples,
        batch_size=budget.batch_size,
        start_loss=trial.start_loss,
        outcomes=tuple(outcomes),
        interrupted=interrupted,
    )


def train(trial: Trial, contestant: Contestant, budget: Budget) -> Outcome:
    """Train a fresh copy of the model with one solver.

    Parameters
    ----------
    trial : Trial
        The problem.
    contestant : Contestant
        The solver.
    budget : Budget
        How long it may work.

    Returns
    -------
    Outcome
        The solver's row; whatever it raises becomes the row's reason.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts one of Keras's optimizers, or a solver twice.
    """
    with warnings.catch_warnings(record=True) as caught, floatx_scope(trial.dtype):
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", RuntimeWarning)
        try:
            if contestant.registered is None:
                outcome = _train_by_keras(trial, contestant, budget)
            else:
                outcome = _train_by_solver(trial, contestant, contestant.registered, budget)
        except Exception as error:  # noqa: BLE001 - one failure must not stop the others
            outcome = Outcome(
                solver=contestant.label, reason=_sentence(error), failed=True, message=str(error)
            )
    notes = dict.fromkeys(
        str(warning.message)
        for warning in caught
        if str(warning.message) != outcome.message  # which `fit` warns of too
    )
    return replace(outcome, notes=tuple(notes))


def _train_by_solver(
    trial: Trial, contestant: Contestant, registered: Registered, budget: Budget
) -> Outcome:
    model = trial.make_model(BatchOptimizer(registered.name, options=contestant.options))
    objective = trial.make_objective(model)
    first_call_s = _clock(lambda: _warm_up(trial, model, objective, registered))
    start = time.perf_counter()
    result = fit(model, trial.data.x, trial.data.y, epochs=budget.epochs, verbose=0).result
    wall_time_s = time.perf_counter() - start
    told = result.message if result.status is Status.NONFINITE else result.status.value
    outcome = Outcome(
        solver=contestant.label,
        reason=_first_sentence(told),
        status=result.status.name,
        message=result.message,
        num_iterations=result.num_iterations,
        fg_evals=result.fg_evals,
        hessp_evals=result.hessp_evals,
        first_call_s=first_call_s,
        wall_time_s=wall_time_s,
    )
    return _measured(outcome, trial, model, objective)


def _train_by_keras(trial: Trial, contestant: Contestant, budget: Budget) -> Outcome:
    config = {"class_name": contestant.name, "config": dict(contestant.options)}
    model = trial.make_model(keras.optimizers.get(config))
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    start = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    epochs = KERAS_EPOCHS if budget.epochs is None else budget.epochs

    def run(epochs: int) -> None:
        keras.utils.set_random_seed(trial.seed)
        data, size = trial.data, budget.batch_size
        model.fit(data.x, data.y, batch_size=size, epochs=epochs, verbose=0)

    first_call_s = _clock(lambda: run(1))
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    wall_time_s = _clock(lambda: run(epochs))
    outcome = Outcome(
        solver=contestant.label,
        reason="Epochs used up.",
        message=f"{epochs} epochs used up.",
        num_iterations=epochs,
        num_steps=epochs * math.ceil(len(trial.data.x) / budget.batch_size),
        fg_evals=epochs,
        hessp_evals=0,
        first_call_s=first_call_s,
        wall_time_s=wall_time_s,
    )
    return _measured(outcome, trial, model, trial.make_objective(model))


def _warm_up(
    trial: Trial, model: keras.Model, objective: ModelObjective, registered: Registered
) -> None:
    """Trace and compile all that the solver needs; a loop in the graph takes an iteration."""
    _trace(objective, registered)
    if "in-graph" in registered.spec.supports:
        fit(model, trial.data.x, trial.data.y, epochs=1, verbose=0)
        model.set_weights(trial.weights)


def _trace(objective: ModelObjective, registered: Registered) -> None:
    """Evaluate once what the solver will, so that its functions are traced and compiled."""
    x = objective.program.layout.read()
    _, g = objective.value_and_grad(x)
    if "grad" not in registered.spec.needs:
        objective.value(x)
    if registered.spec.needs & {"hvp", "hessian"}:
        objective.hvp(x, g)


def _measured(
    outcome: Outcome, trial: Trial, model: keras.Model, objective: ModelObjective
) -> Outcome:
    f, g = objective.value_and_grad(objective.program.layout.read())
    norm = float(np.linalg.norm(g))
    return replace(outcome, loss=f, grad_norm=norm, metric=trial.measure_metric(model))


def _clock(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _sentence(error: Exception) -> str:
    """Return the first sentence of an error; foreign ones have their type before it."""
    text = _first_sentence(str(error))
    if isinstance(error, KormosError):
        return text
    return f"{type(error).__name__}: {text}" if text else f"{type(error).__name__}."


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0]
