"""In-graph solvers under the fit loop: chunks, callbacks, stops, optima."""

from __future__ import annotations

import functools
import math
import os
import signal
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import floatx, make
from training.problems import data, line, line_anew

import kormos
from kormos_core import Status
from kormos_core.errors import CurvatureWarning, UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "torch")

SOLVERS = ["native:lbfgs", "native:newton-cg", "native:trust-ncg"]
if keras.config.backend() == "tensorflow":
    SOLVERS.append("tfp:l-bfgs")
CHUNKS = [1, 7, 1000]
OPTIMUM = 1e-8  # relative, on convex losses
EVALUATED = {"torch": 1e-6}.get(keras.config.backend(), OPTIMUM)  # in float32 there


def tight(solver: str) -> dict[str, float]:
    """Options that let nothing but the precision end a solve."""
    if solver.startswith("tfp:"):
        return {"tolerance": 1e-11}
    return {"gtol": 1e-11} | ({"ftol": 0.0} if solver.startswith("native:") else {})


def barred(y_true, y_pred):
    """Return a squared error that is no number once it is small."""
    error = ops.mean((y_true - y_pred) ** 2, axis=-1)
    return ops.where(ops.mean(error) < 0.5, np.nan, error)


@functools.cache
def network(solver: str, loss: Any) -> tuple[keras.Model, list[np.ndarray]]:
    """Make a small network, one for all tests of a solver: tracing is what costs."""
    with floatx("float64"):
        keras.utils.set_random_seed(11)
        model = keras.Sequential(
            [keras.Input((2,)), layers.Dense(4, activation="tanh"), layers.Dense(1)]
        )
        model.compile(loss=loss)
    return model, model.get_weights()


def fit(solver, *, steps=1, loss="mse", epochs=15, **arguments):
    """Fit the network from its first weights."""
    model, start = network(solver, loss)
    model.set_weights(start)
    model.steps_per_execution = steps
    x, y = data()
    optimizer = kormos.BatchOptimizer(solver, options=tight(solver), jit_compile=False)
    return kormos.fit(model, x, y, epochs=epochs, verbose=0, solver=optimizer, **arguments)


def evaluated(solver, loss):
    """Let Keras evaluate the network as it is now."""
    with floatx("float64"):
        return network(solver, loss)[0].evaluate(*data(), verbose=0)


class Rows(keras.callbacks.Callback):
    """Write down what callbacks are told, and do something at some iteration."""

    def __init__(self, number=None, action=None):
        super().__init__()
        self.epochs, self.logs = [], []
        self.number, self.action = number, action

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.logs.append(logs)
        if self.number is not None and epoch + 1 >= self.number:
            self.number = None
            self.action(self)


# --- chunks ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", CHUNKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_callbacks_are_served_between_chunks_of_any_length(solver, steps):
    free = fit(solver)
    rows = Rows()

    history = fit(solver, steps=steps, callbacks=[rows])

    served = [*range(steps - 1, 15, steps)]
    assert rows.epochs == (served if served and served[-1] == 14 else [*served, 14])
    assert history.result.x.tolist() == free.result.x.tolist()
    assert history.history == free.history
    assert len(history.history["loss"]) == history.result.num_iterations == 15


def test_rows_that_go_by_in_the_graph_have_no_metrics_and_say_so():
    x, y = data()
    histories = []
    for steps in (1, 3):
        model = line_anew("native:lbfgs", "mae")
        model.steps_per_execution = steps
        histories.append(model.fit(x, y, epochs=4, verbose=0, validation_data=(x, y)))

    each, third = (history.history for history in histories)
    count = histories[0].result.num_iterations
    assert third["loss"] == each["loss"]
    assert len(each["mae"]) == len(each["val_loss"]) == count
    served = [k for k in range(count) if (k + 1) % 3 == 0 or k == count - 1]
    for k in range(count):
        assert third["mae"][k] == each["mae"][k] if k in served else math.isnan(third["mae"][k])
    assert third["val_loss"] == [each["val_loss"][k] for k in served]


def test_validation_that_falls_due_within_a_chunk_is_made_at_its_end():
    x, y = data()
    model = line_anew("native:lbfgs", "mae")
    model.steps_per_execution = 3

    history = model.fit(x, y, epochs=6, verbose=0, validation_data=(x, y), validation_freq=2)

    count = history.result.num_iterations
    assert len(history.history["val_loss"]) == math.ceil(count / 3)


def test_a_solver_outside_the_graph_refuses_chunks():
    with pytest.raises(
        UnsupportedError, match=r"scipy:l-bfgs-b cannot honor steps_per_execution=7"
    ):
        line("scipy:l-bfgs-b", steps_per_execution=7)
    with pytest.raises(UnsupportedError, match=r"scipy:bfgs cannot honor steps_per_execution=2"):
        kormos.minimize(ops.sum, [1.0], solver="scipy:bfgs", steps_per_execution=2)


def test_the_progress_bar_tells_of_iterations_in_the_graph(capsys):
    x, y = data()
    model = line_anew("native:lbfgs", "mae")

    history = model.fit(x, y, verbose=2)

    lines = capsys.readouterr().out.splitlines()
    assert [row.split(" - ")[0] for row in lines[:-1]] == [
        f"Iteration {number}" for number in range(1, history.result.num_iterations + 1)
    ]
    assert lines[-1].startswith("native:lbfgs: ")


# --- stops -------------------------------------------------------------------------------


def stop(callback):
    callback.model.stop_training = True


def interrupt(callback):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", CHUNKS)
@pytest.mark.parametrize(
    ("action", "status"), [(stop, Status.STOPPED_BY_CALLBACK), (interrupt, Status.INTERRUPTED)]
)
def test_a_stop_is_obeyed_within_one_chunk(solver, steps, action, status):
    rows = Rows(3, action)

    history = fit(solver, callbacks=[rows], steps=steps)

    end = min(math.ceil(3 / steps) * steps, 15)
    result = history.result
    assert result.status is status
    assert result.num_iterations == len(history.history["loss"]) == end
    assert result.loss == min(history.history["loss"])


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", CHUNKS)
def test_a_loss_that_is_no_number_halfway_keeps_the_best_point(solver, steps):
    history = fit(solver, loss=barred, epochs=300, callbacks=[Rows()], steps=steps)

    result = history.result
    assert result.status is not Status.GRAD_TOL
    assert 0.5 <= result.loss <= history.history["loss"][0]
    assert evaluated(solver, barred) == pytest.approx(result.loss, rel=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_loss_that_is_no_number_at_the_start_leaves_the_weights(solver):
    model, start = network(solver, "mse")
    model.set_weights(start)
    x, y = data()
    x[3, 1] = np.nan

    with pytest.warns(RuntimeWarning, match="at the starting point"):
        history = kormos.fit(
            model,
            x,
            y,
            epochs=15,
            verbose=0,
            solver=kormos.BatchOptimizer(solver, options=tight(solver), jit_compile=False),
        )

    assert history.result.status is Status.NONFINITE
    assert "1 NaN" in history.result.message
    assert all((a == b).all() for a, b in zip(start, model.get_weights(), strict=True))


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("solver", SOLVERS)
def test_early_stopping_gives_its_best_weights_back(solver):
    early = keras.callbacks.EarlyStopping(
        monitor="loss", min_delta=10.0, patience=1, restore_best_weights=True
    )

    history = fit(solver, callbacks=[early])

    assert history.result.status is Status.STOPPED_BY_CALLBACK
    assert evaluated(solver, "mse") == pytest.approx(history.history["loss"][0], rel=1e-12)


# --- optima ------------------------------------------------------------------------------


@functools.cache
def convex(name):
    """Make a model whose loss is convex in its weights, data for it, and SciPy's least loss."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 4))
    kernel = {"kernel_regularizer": keras.regularizers.L2(1e-3)}
    if name == "softmax":
        unit = layers.Dense(3, **kernel)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        y = rng.integers(0, 3, 40)
    elif name == "poisson":
        unit, loss = layers.Dense(1, activation="exponential", **kernel), "poisson"
        y = rng.poisson(np.exp(0.5 * x[:, :1])).astype(float)
    else:
        unit, loss = layers.Dense(1, **kernel), keras.losses.Huber(0.3)
        y = x @ rng.normal(size=(4, 1)) + rng.standard_t(2, size=(40, 1))
    keras.utils.set_random_seed(2)
    model = kormos.BatchOptimizedSequentialModel([keras.Input((4,)), unit])
    model.compile(optimizer="scipy:l-bfgs-b", loss=loss, jit_compile=False)
    start = model.get_weights()
    best = model.fit(x, y, verbose=0, options={"ftol": 0, "gtol": 1e-11}).result.loss
    return model, start, x, y, best


# Every solver once or twice, and every loss: the matrix has solvers times losses.
CONVEX = [
    ("softmax", "native:lbfgs"),
    ("softmax", "native:newton-cg"),
    ("poisson", "native:trust-ncg"),
    ("poisson", "tfp:l-bfgs"),
    ("huber", "native:lbfgs"),
    ("huber", "native:newton-cg"),
]


@pytest.mark.parametrize(
    ("name", "solver"), [(name, solver) for name, solver in CONVEX if solver in SOLVERS]
)
def test_convex_models_reach_the_optimum_that_scipy_finds(name, solver, float64):
    model, start, x, y, best = convex(name)
    model.set_weights(start)

    result = model.fit(x, y, verbose=0, batch_size=16, method=solver, options=tight(solver)).result

    assert result.loss == pytest.approx(best, rel=OPTIMUM)
    assert result.grad_norm < 1e-7
    assert model.evaluate(x, y, verbose=0) == pytest.approx(best, rel=EVALUATED)


@pytest.mark.parametrize("solver", ["native:lbfgs", "native:newton-cg", "native:trust-ncg"])
def test_the_linear_model_of_the_readme_is_solved(solver, float64):
    np.random.seed(1)
    w = np.random.normal(size=(50, 1))
    x = np.random.normal(size=(1000, 50))
    penalty = keras.regularizers.L2(1e-3)
    unit = layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=penalty)
    model = kormos.BatchOptimizedSequentialModel([keras.Input((50,)), unit])
    model.compile(optimizer=kormos.BatchOptimizer(solver, options=tight(solver)), loss="mse")

    history = model.fit(x, x @ w, verbose=0)

    exact = np.linalg.solve(
        x.T @ x / 1000 + float(np.float32(1e-3)) * np.eye(50), x.T @ (x @ w) / 1000
    )
    assert history.result.grad_norm < 1e-8
    assert model.get_weights()[0] == pytest.approx(exact, abs=1e-8)


# Those whose losses or data take another way through the graph, and those whose second
# derivatives do; all of them, with every solver, are in benchmarks/models.py.
KINDS = [
    ("masked_tokens", "native:lbfgs"),
    ("two_in_two_out", "native:lbfgs"),
    ("simple_rnn", "native:newton-cg"),
    ("batch_normalization", "native:newton-cg"),
    ("max_pooling", "native:newton-cg"),
]


@pytest.mark.parametrize(("name", "solver"), KINDS)
def test_models_of_every_kind_are_trained(name, solver):
    case = make(name)
    case.model.optimizer = None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CurvatureWarning)
        history = kormos.fit(
            case.model, case.x, case.y, epochs=6, batch_size=5, verbose=0, solver=solver
        )

    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    assert history.result.loss == min(losses)
    assert history.result.fg_evals == history.history["fg_evals"][-1]


# --- what is refused -----------------------------------------------------------------------


def stream():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(data()).batch(7)


@pytest.mark.backends("tensorflow")
def test_a_fraction_of_a_stream_is_refused_in_our_own_words():
    model = line(kormos.BatchOptimizer("native:newton-cg", options={"hvp_fraction": 0.3}))

    with pytest.raises(UnsupportedError, match=r"^hvp_fraction=0.3 cannot be honored"):
        model.fit(stream(), verbose=0)


@pytest.mark.backends("tensorflow")
def test_xla_over_a_stream_is_refused():
    model = line("native:lbfgs", jit_compile=True)

    with pytest.raises(UnsupportedError, match=r"jit_compile=True .*: XLA reads no streams"):
        model.fit(stream(), verbose=0)
