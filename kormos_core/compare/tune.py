"""Keras's own optimizers as baselines: each learning rate of a grid is tried in full.

Symbols: ``f`` loss over all data, ``g`` its gradient.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

from kormos_core.compare.solve import Measured, make_objective
from kormos_core.compare.watch import Watch
from kormos_core.protocols import StopSolve
from kormos_core.result import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kormos_core.compare.limits import Limits
    from kormos_core.compare.problem import Instance
    from kormos_core.compare.watch import Row, Told

__all__ = ["RATES", "run_optimizer"]

RATES: Final = (1.0, 1e-1, 1e-2, 1e-3)
"""Learning rates that are tried where none is given; Keras's own default of `sgd` is 0.01, that
of `adam` 0.001."""

_GROWTH: Final = 1.02  # of the number of an epoch, from one at which the loss is measured


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One training with one learning rate."""

    rate: float | None
    status: Status
    loss: float
    rows: list[Row]
    seconds: float
    weights: list[NDArray[Any]]


def run_optimizer(
    instance: Instance,
    name: str,
    options: Mapping[str, Any],
    rates: Sequence[float],
    limits: Limits,
    told: Told,
    *,
    seed: int,
) -> Measured:
    """Train by one of Keras's optimizers, once for each learning rate, and keep the best.

    Parameters
    ----------
    instance : Instance
        The problem.
    name : str
        Keras's name of the optimizer.
    options : mapping of str to object
        Its options; with a ``learning_rate`` among them there is nothing to tune.
    rates : sequence of float
        Learning rates to try otherwise, each with all that the limits allow.
    limits : Limits
        What each training is allowed; evaluations and iterations are epochs.
    told : Told
        Who is told of the trace.
    seed : int
        Seed of the order of minibatches, and of what the model draws.

    Returns
    -------
    Measured
        The training of the least loss at its end, one epoch being an iteration and an
        evaluation; the model is at its end.

    Notes
    -----
    Each step is `keras.Model.train_on_batch`: an epoch of `fit` takes tens of milliseconds
    before its first step, which would be most of the time where samples are few. The loss over
    all data is measured outside of the clock: after each of the first 100 epochs, then
    whenever their number has grown by a 50th part.
    """
    optimizer = keras.optimizers.get({"class_name": name, "config": dict(options)})
    instance.problem.compile(instance.model, optimizer)
    begun = time.perf_counter()
    training = _Training(instance, limits, told, seed)
    training.compile()
    first_call_s = time.perf_counter() - begun
    is_tuned = "learning_rate" not in options
    tried = [training.run(rate) for rate in (rates if is_tuned else (None,))]
    best = min(tried, key=lambda one: one.loss if math.isfinite(one.loss) else math.inf)
    instance.model.set_weights(best.weights)
    f, g = training.objective.value_and_grad(training.objective.program.layout.read())
    epochs = best.rows[-1][0]
    return Measured(
        status=best.status.name,
        message=_message(best, tried) if is_tuned else best.status.value,
        num_parameters=training.objective.size,
        num_iterations=epochs,
        fg_evals=epochs,
        hessp_evals=0,
        first_call_s=first_call_s,
        wall_time_s=best.seconds,
        start_loss=training.start_loss,
        loss=f,
        grad_norm=float(np.linalg.norm(g)),
        metric_value=instance.problem.measure_metric(instance.model, instance.data),
        rows=best.rows,
        options={**options, "learning_rate": best.rate} if is_tuned else options,
        tuning_runs=len(tried) if is_tuned else None,
        tuning_s=sum(one.seconds for one in tried) if is_tuned else None,
    )


@final
class _Training:
    """A compiled model that is trained from the same start again and again."""

    def __init__(self, instance: Instance, limits: Limits, told: Told, seed: int) -> None:
        self._instance, self._limits, self._told, self._seed = instance, limits, told, seed
        self._model = instance.model
        self._due = 1
        self._model.optimizer.build(self._model.trainable_variables)
        variables = [*self._model.variables, *self._model.optimizer.variables]
        self._start = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in variables]
        self.objective = make_objective(instance)
        f, g = self.objective.value_and_grad(self.objective.program.layout.read())
        self.start_loss, self._start_norm = f, float(np.linalg.norm(g))

    def compile(self) -> None:
        """Bring about all tracing and compiling; the epoch that it takes is undone."""
        self.objective.value(self.objective.program.layout.read())
        for batch in self._batches(np.random.default_rng(self._seed)):
            self._model.train_on_batch(*batch)

    def run(self, rate: float | None) -> _Try:
        """Train from the start with a learning rate; None is the optimizer's own."""
        for variable, value in self._start:
            variable.assign(value)
        if rate is not None:
            self._model.optimizer.learning_rate = rate
        keras.utils.set_random_seed(self._seed)
        order = np.random.default_rng(self._seed)
        self._told.begin("solve" if rate is None else f"learning rate {rate:g}")
        watch = Watch(self._limits, self._told, self.start_loss, self._start_norm)
        status, self._due = Status.MAX_ITER, 1
        try:
            for epoch in range(1, self._limits.most_epochs + 1):
                self._epoch(epoch, order, watch)
        except StopSolve as stop:
            status = stop.status
        last = watch.rows[-1]
        return _Try(
            rate=rate,
            status=status,
            loss=math.nan if last[4] is None else last[4],
            rows=watch.rows,
            seconds=watch.clock.seconds,
            weights=[np.array(weight) for weight in self._model.get_weights()],
        )

    def _epoch(self, number: int, order: np.random.Generator, watch: Watch) -> None:
        """Make one step for each batch; raise `StopSolve` where a limit is reached."""
        try:
            for batch in self._batches(order):
                self._model.train_on_batch(*batch)
                watch.check_time()
            watch.check(number, 0)
        except StopSolve:  # an epoch that was broken off counts as one
            self._measure(number, watch)
            raise
        if number >= self._due or number == self._limits.most_epochs:
            self._due = max(number + 1, int(_GROWTH * number))
            if not math.isfinite(self._measure(number, watch)):
                raise StopSolve(Status.NONFINITE)

    def _measure(self, number: int, watch: Watch) -> float:
        """Add a row with the loss over all data, while the clock stands still."""
        seconds = watch.clock.seconds
        with watch.clock.paused():
            f = self.objective.value(self.objective.program.layout.read())
        watch.add((number, number, 0, seconds, f, None))
        return f

    def _batches(self, order: np.random.Generator) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the samples in minibatches, in an order that is drawn."""
        data, size = self._instance.data, self._limits.batch_size
        indices = order.permutation(len(data.x))
        for first in range(0, len(indices), size):
            some = indices[first : first + size]
            yield data.x[some], data.y[some]


def _message(best: _Try, tried: list[_Try]) -> str:
    losses = ", ".join(f"{one.rate:g}: {one.loss:.6g}" for one in tried)
    return f"{best.status.value} Losses of the learning rates tried: {losses}."
