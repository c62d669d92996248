"""Arguments of compile, fit and minimize that mean nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from training.problems import data, line

import kormos
from kormos_core.errors import BoundsError, DataError, UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

X, Y = data()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, DataError, "batch_size"),
        ({"method": 3}, UnsupportedError, "not a solver: 3"),
        ({"options": "x"}, UnsupportedError, "options are not usable: 'x'"),
        ({"pretrain_fn": 3}, UnsupportedError, "pretrain_fn is not usable: 3"),
        ({"initial_epoch": -2}, UnsupportedError, "initial_epoch is not usable: -2"),
        ({"initial_epoch": 1.5}, UnsupportedError, r"initial_epoch is not usable: 1\.5"),
        ({"initial_epoch": "a"}, UnsupportedError, "initial_epoch is not usable: 'a'"),
        (
            {"validation_data": (X, Y), "validation_steps": "x"},
            DataError,
            "validation_steps is not usable: 'x'",
        ),
        (
            {"validation_data": (X, Y), "validation_batch_size": -1},
            DataError,
            "validation_batch_size is not usable: -1",
        ),
        (
            {"validation_data": (X, Y), "validation_freq": ["x"]},
            DataError,
            "validation_freq is not usable",
        ),
    ],
)
@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:lbfgs"])
def test_fit_refuses_them_before_anything_is_changed(solver, arguments, error, message):
    model = line(solver)
    before = model.get_weights()

    with pytest.raises(error, match=message):
        model.fit(X, Y, **{"epochs": 3, "verbose": 0, **arguments})

    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("optimizer", [42, kormos.BatchOptimizer, 1.5])
def test_compile_refuses_what_is_no_optimizer(optimizer):
    model = kormos.BatchOptimizedSequentialModel([keras.Input((1,)), keras.layers.Dense(1)])

    with pytest.raises(UnsupportedError, match="not an optimizer"):
        model.compile(optimizer=optimizer, loss="mse")


def test_compile_refuses_an_unknown_word_about_xla():
    model = kormos.BatchOptimizedSequentialModel([keras.Input((1,)), keras.layers.Dense(1)])

    with pytest.raises(UnsupportedError, match="jit_compile is not usable: 'x'"):
        model.compile(optimizer="native:lbfgs", loss="mse", jit_compile="x")


def test_minimize_refuses_what_is_no_function_and_no_point():
    with pytest.raises(UnsupportedError, match="not a function: 3"):
        kormos.minimize(3, [0.0], solver="native:lbfgs")
    with pytest.raises(BoundsError, match="x0 is not a vector of numbers: 'a'"):
        kormos.minimize(keras.ops.sum, "a", solver="native:lbfgs")
