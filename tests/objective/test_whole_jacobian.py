"""All residuals and their whole Jacobian in the graph: those that Python sees."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from kormos_core.data import adapt
from kormos_core.errors import MemoryLimitError, UnsupportedError
from kormos_core.objective import (
    FunctionObjective,
    Settings,
    build_objective,
    whole_jacobian,
)

pytestmark = pytest.mark.backends("tensorflow", "jax")

ROUNDING = 1e-12  # relative, of products of some ten numbers
SAMPLES = 13


@pytest.fixture(autouse=True)
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def objective_of(batch_size=None, *, regularizer=None, stream=False):
    """Make the sum of squares of a small network with two outputs."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(SAMPLES, 3)), rng.normal(size=(SAMPLES, 2))
    weights = np.where(np.arange(SAMPLES) % 4 == 1, 0.0, np.linspace(0.5, 2.0, SAMPLES))
    hidden = layers.Dense(4, "tanh", kernel_regularizer=regularizer, dtype="float64")
    model = keras.Sequential([keras.Input((3,)), hidden, layers.Dense(2, dtype="float64")])
    model.compile(loss="mse", optimizer="sgd")
    arrays = (Batches(x, y),) if stream else (x, y, weights)
    batches = adapt(*arrays, batch_size=batch_size, class_weight=None, float_dtype="float64")
    objective = build_objective(model, batches, settings=Settings(), jit=False)[0]
    point = np.concatenate([weight.ravel() for weight in model.get_weights()]).astype(float)
    objective.prepare_residuals(point)
    return objective, point


class Batches(keras.utils.PyDataset):
    """Two batches by their number."""

    def __init__(self, x, y):
        super().__init__()
        self.halves = [(x[:7], y[:7]), (x[7:], y[7:])]

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.halves[index]


def seen(objective, x):
    """Return what a solver in the graph sees."""
    num = objective.num_residuals
    compiled = objective.compile(
        lambda graph, z: tuple(graph.residuals_and_jacobian(z, num)), ("rows",)
    )
    return tuple(np.asarray(part) for part in compiled(ops.convert_to_tensor(x)))


@pytest.mark.parametrize("regularizer", [None, "l2"])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_they_are_those_that_python_sees(batch_size, regularizer):
    objective, x = objective_of(batch_size, regularizer=regularizer)

    r, jac = seen(objective, x)

    np.testing.assert_allclose(r, objective.residuals(x), rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(jac, objective.jacobian(x), rtol=ROUNDING, atol=ROUNDING)


def test_they_are_those_of_a_function():
    t = np.linspace(0.0, 1.0, 7)
    objective = FunctionObjective(lambda b: b[0] * ops.exp(-b[1] * t), 2, squares=True)
    x = np.array([2.0, 1.5])
    objective.prepare_residuals(x)

    r, jac = seen(objective, x)

    decay = np.exp(-1.5 * t)
    np.testing.assert_allclose(r, 2.0 * decay, rtol=ROUNDING)
    np.testing.assert_allclose(jac, np.stack([decay, -2.0 * t * decay], 1), rtol=ROUNDING)


def test_a_stream_is_refused():
    objective, x = objective_of(stream=True)

    with pytest.raises(UnsupportedError, match=r"26 residuals .* a stream\. Allowed are arrays"):
        seen(objective, x)


def test_more_numbers_than_fit_are_refused(monkeypatch):
    objective, x = objective_of()
    monkeypatch.setattr(whole_jacobian, "JACOBIAN_LIMIT", 2 * SAMPLES * x.size - 1)

    with pytest.raises(MemoryLimitError, match=r"26 residuals and 26 parameters: 676 numbers"):
        seen(objective, x)
