"""How long fits take to losses that are named beforehand.

A batch solver is compiled by a fit of one iteration, which is repeated before each start, as
TensorFlow sets up anew what rested while others were compiled. Then it runs under watch, to
learn at which iteration it reaches each level, or that it has not in a limit of time. Then
it runs again for each level it reached, for just so many iterations with nobody watching, and
the `wall_time_s` of that result is the time: a callback at every iteration costs more than an
iteration of L-BFGS does here. For the same reason in-graph solvers run a few iterations a
call under watch.

Adam is Keras's own, as fast as it was found to go here: compiled by XLA, `SWEEPS` sweeps over
the shuffled data in one call. After each call the loss over all data is computed with the
clock stopped, as the loss that Keras logs is a mean over weights that change. The learning
rate is constant; it and the batch size come from a small search, which is told in seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

import kormos

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from least_squares_cases import Problem

SWEEPS = 10


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What it took to come to a level; of Adam iterations and evaluations are sweeps."""

    iterations: int
    evaluations: int
    products: int
    seconds: float
    error: float | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of a fit: a `Reach` for each level, or None, and the lowest loss."""

    reaches: list[Reach | None]
    lowest: float


def tensors(problem: Problem) -> list[tf.Tensor | None]:
    """Put x, y and sample weights on the device."""
    arrays = (problem.x, problem.y, problem.sample_weight)
    return [None if array is None else tf.constant(array) for array in arrays]


def error_of(problem: Problem, model: keras.Model) -> float | None:
    """The model's error against the known solution, where there is one."""
    return None if problem.error is None else problem.error(model)


class Watch(keras.callbacks.Callback):
    """Ends a fit at a loss, or after some seconds."""

    def __init__(self, level: float, limit: float) -> None:
        super().__init__()
        self._level, self._limit = level, limit

    def on_train_begin(self, logs=None):  # noqa: ARG002 - Keras's signature
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras's signature
        spent = time.perf_counter() - self._begin
        self.model.stop_training = bool(logs["loss"] <= self._level or spent > self._limit)


@dataclass(frozen=True, kw_only=True)
class Solver:
    """A batch solver with its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""  # what tells it from others of its name
    hvp: str = "auto"
    steps: int = 1  # iterations a call under watch

    @property
    def label(self) -> str:
        return f"{self.name} {self.told}".rstrip()


class SolverFit:
    """Fits by a batch solver, compiled at the first."""

    def __init__(self, problem: Problem, solver: Solver, start: list[np.ndarray]) -> None:
        self.problem, self.label = problem, solver.label
        self._model = problem.build(0)
        optimizer = kormos.BatchOptimizer(solver.name, options=solver.options, hvp=solver.hvp)
        problem.compile(self._model, optimizer=optimizer, steps_per_execution=solver.steps)
        self._data = tensors(problem)
        begin = time.perf_counter()
        self._fit(start, 1)
        self.first_s = time.perf_counter() - begin

    def _fit(self, start: list[np.ndarray], epochs: int, *watch: Watch) -> Any:
        self._model.set_weights(start)
        x, y, weight = self._data
        return kormos.fit(
            self._model, x, y, sample_weight=weight, epochs=epochs, verbose=0, callbacks=[*watch]
        )

    def run(self, start: list[np.ndarray], limit: float) -> Run:
        """Fit from a start until the last level or the limit; time each level reached."""
        levels = self.problem.levels
        self._fit(start, 1)
        losses = self._fit(start, 15_000, Watch(levels[-1], limit)).history["loss"]
        found = [next((k for k, f in enumerate(losses, 1) if f <= level), 0) for level in levels]
        reaches = [self._timed(start, number) if number else None for number in found]
        return Run(reaches=reaches, lowest=min(losses))

    def _timed(self, start: list[np.ndarray], epochs: int) -> Reach:
        result = self._fit(start, epochs).result
        return Reach(
            iterations=result.num_iterations,
            evaluations=result.fg_evals,
            products=result.hessp_evals,
            seconds=result.wall_time_s,
            error=error_of(self.problem, self._model),
        )


class AdamFit:
    """Fits by Keras's Adam, compiled at the first."""

    def __init__(self, problem: Problem, batch_size: int, rate: float, start: Any) -> None:
        self.problem, self.label = problem, f"adam, batches of {batch_size}, rate {rate:g}"
        self._model = problem.build(0)
        self._data = [tensor for tensor in tensors(problem) if tensor is not None]
        rows = tf.data.Dataset.from_tensor_slices(tuple(self._data)).shuffle(len(problem.x), 0)
        # a short batch at the end would be compiled for itself; what it held is drawn anew
        self._stream = rows.batch(batch_size, drop_remainder=True).repeat()
        self._steps = SWEEPS * (len(problem.x) // batch_size)
        adam = keras.optimizers.Adam(rate)
        problem.compile(
            self._model, optimizer=adam, steps_per_execution=self._steps, jit_compile=True
        )
        adam.build(self._model.trainable_variables)
        self._fresh = [(v, keras.ops.convert_to_numpy(v)) for v in adam.variables]
        self._loss = tf.function(self._full_loss)
        begin = time.perf_counter()
        self._fit(start, 1)
        self.first_s = time.perf_counter() - begin

    def _full_loss(self) -> tf.Tensor:
        x, y, weight = (*self._data, None)[:3]
        return self._model.compute_loss(x=x, y=y, y_pred=self._model(x), sample_weight=weight)

    def _fit(self, start: list[np.ndarray], calls: int, *watch: SweepClock) -> None:
        self._model.set_weights(start)
        for variable, value in self._fresh:
            variable.assign(value)
        self._model.fit(
            self._stream,
            steps_per_epoch=self._steps,
            epochs=calls,
            shuffle=False,
            verbose=0,
            callbacks=[*watch],
        )

    def run(self, start: list[np.ndarray], limit: float) -> Run:
        """Fit from a start until the last level or the limit."""
        self._fit(start, 1)
        clock = SweepClock(self.problem, self._loss, limit)
        self._fit(start, 1_000_000, clock)
        reaches = [clock.reached.get(level) for level in self.problem.levels]
        return Run(reaches=reaches, lowest=clock.lowest)


class SweepClock(keras.callbacks.Callback):
    """Takes the loss after each call, and the seconds that calls alone took."""

    def __init__(self, problem: Problem, loss: Callable[[], tf.Tensor], limit: float) -> None:
        super().__init__()
        self._problem, self._loss, self._limit = problem, loss, limit
        self._spent, self.lowest = 0.0, float("inf")
        self.reached: dict[float, Reach] = {}

    def on_train_begin(self, logs=None):  # noqa: ARG002 - Keras's signature
        self._since = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras's signature
        self._spent += time.perf_counter() - self._since
        loss = float(self._loss())
        self.lowest = min(self.lowest, loss)
        for level in self._problem.levels:
            if loss <= level and level not in self.reached:
                self.reached[level] = Reach(
                    iterations=SWEEPS * (epoch + 1),
                    evaluations=SWEEPS * (epoch + 1),
                    products=0,
                    seconds=self._spent,
                    error=error_of(self._problem, self.model),
                )
        done = self._problem.levels[-1] in self.reached
        self.model.stop_training = done or self._spent > self._limit
        self._since = time.perf_counter()


def tuned_adam(
    problem: Problem, start: list[np.ndarray], grid: Sequence[tuple[int, float]], limit: float
) -> tuple[AdamFit, float]:
    """What comes first to the last level, or lowest within `limit` seconds; and all seconds."""
    begin = time.perf_counter()
    fits = [AdamFit(problem, batch_size, rate, start) for batch_size, rate in grid]

    def rank(fit: AdamFit) -> tuple[float, float]:
        run = fit.run(start, limit)
        last = run.reaches[-1]
        return float("inf") if last is None else last.seconds, run.lowest

    return min(fits, key=rank), time.perf_counter() - begin
