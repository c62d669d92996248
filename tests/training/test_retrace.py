"""A second fit traces nothing anew, and nothing stale is ever used."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from training.problems import (
    METHODS,
    Watch,
    best_line,
    data,
    flat_weights,
    is_traced,
    line,
    line_loss,
)

import kormos

pytestmark = pytest.mark.backends("tensorflow", "jax")

X, Y = data()
X_VAL, Y_VAL = data(seed=1)


class Counting(kormos.BatchOptimizedModel):
    """A line that counts how often Python runs its `call`, in a trace and eagerly."""

    def __init__(self, **options):
        super().__init__(**options)
        self.unit = layers.Dense(1, dtype="float64")
        self.traced = self.eager = 0

    def call(self, x):
        if not is_traced(x):
            self.eager += 1
        else:
            self.traced += 1
        return self.unit(x)


def counting(method, **compile_options):
    keras.utils.set_random_seed(3)
    model = Counting(dtype="float64")
    model.compile(method, "mse", **compile_options)
    return model


def calls_of(model, x=X, y=Y, **options):
    """Fit, and count calls in traces and eager ones."""
    traced, eager = model.traced, model.eager
    model.fit(x, y, **({"verbose": 0, "epochs": 3} | options))
    return model.traced - traced, model.eager - eager


@pytest.mark.parametrize("method", METHODS)
def test_a_second_fit_of_the_same_shapes_traces_nothing(method):
    model = counting(method)
    traced, _ = calls_of(model)

    second, third = calls_of(model), calls_of(model)

    assert traced > 0
    # what is left prepares the fit: a constant number of eager calls on the first batch
    assert second == third
    assert second[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 7},
        {"sample_weight": np.ones(len(X))},
        {"validation_data": (X_VAL, Y_VAL)},
        {"callbacks": [Watch()]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_second_fit_with_the_same_options_traces_nothing(options):
    model = counting("newton-cg", metrics=["mae"])
    calls_of(model, **options)

    traced, _ = calls_of(model, **options)

    assert traced == 0


def test_the_preparation_of_a_fit_does_not_grow_with_its_iterations():
    model = counting("l-bfgs-b")
    calls_of(model)

    assert calls_of(model, epochs=1) == calls_of(model, epochs=20)


def test_other_data_of_the_same_shape_traces_nothing_and_gives_other_values():
    model = counting("bfgs")
    calls_of(model, epochs=None)

    traced, _ = calls_of(model, X_VAL, Y_VAL, epochs=None)

    assert traced == 0
    # bfgs ends at |g| < 1e-5, and the least eigenvalue of the Hessian is near 1
    np.testing.assert_allclose(flat_weights(model), best_line(X_VAL, Y_VAL), rtol=0, atol=1e-4)


def test_data_that_is_changed_in_place_is_read_anew():
    x, y = X.copy(), Y.copy()
    model = line()
    model.fit(x, y, verbose=0)

    y *= -2.0
    model.fit(x, y, verbose=0)

    np.testing.assert_allclose(flat_weights(model), -2.0 * best_line(X, Y), rtol=0, atol=1e-4)


def test_another_loss_is_traced_anew():
    model = line()
    model.fit(X, Y, verbose=0)

    model.compile("l-bfgs-b", loss="mae")
    history = model.fit(X, Y, epochs=1, verbose=0)

    weights = flat_weights(model)
    expected = np.mean(np.abs(X @ weights[:2] + weights[2] - Y[:, 0]))
    assert history.result.loss == pytest.approx(expected, rel=1e-12)


def test_another_trainable_set_is_traced_anew():
    keras.utils.set_random_seed(0)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((2,), dtype="float64"),
            layers.Dense(2, dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile("bfgs", "mse")
    model.fit(X, Y, verbose=0, epochs=2)
    frozen = model.layers[0].get_weights()

    model.layers[0].trainable = False
    history = model.fit(X, Y, verbose=0)

    assert history.result.x.size == 3
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen[0])


def test_weights_set_by_hand_are_where_the_next_fit_starts():
    model = line("nelder-mead")
    model.fit(X, Y, verbose=0, epochs=5)
    start = np.array([3.0, 3.0, 3.0])
    model.set_weights([start[:2, None], start[2:]])
    watch = Watch()

    model.fit(X, Y, verbose=0, epochs=1, callbacks=[watch])

    # the first simplex reaches 5 % beyond the start
    assert np.abs(watch.weights[0] - start).max() < 0.5
    assert watch.logs[0]["loss"] <= line_loss(X, Y, start)


def test_models_do_not_share_what_was_traced():
    one, other = counting("cg"), counting("cg")
    first = calls_of(one)

    assert calls_of(other) == first


def test_a_regularizer_that_pretrain_fn_changes_takes_effect():
    class Ridge(keras.regularizers.Regularizer):
        strength = 0.0

        def __call__(self, w):
            return self.strength * keras.ops.sum(keras.ops.square(w))

    ridge = Ridge()
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((2,), dtype="float64"),
            layers.Dense(1, use_bias=False, kernel_regularizer=ridge, dtype="float64"),
        ]
    )
    model.compile("newton-cg", "mse")
    model.fit(X, Y, verbose=0)

    def strengthen(_):
        ridge.strength = 0.5

    model.fit(X, Y, verbose=0, pretrain_fn=strengthen)

    expected = np.linalg.solve(X.T @ X / len(X) + 0.5 * np.eye(2), X.T @ Y[:, 0] / len(X))
    # newton-cg ends at steps of 1e-5, with quadratic convergence
    np.testing.assert_allclose(flat_weights(model), expected, rtol=0, atol=1e-6)
