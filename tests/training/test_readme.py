"""The linear regression of the README of kormos 0.1, with its published figures."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from training.problems import flat_weights

import kormos
from kormos_core.errors import UnknownOptionError

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

LOSS = [79.121972, 0.192005, 0.056429, 0.047397, 0.047006, 0.046991, 0.046990, 0.046990]
GRAD = [17.946233, 0.713242, 0.186013, 0.042760, 0.008019, 0.001854, 0.000350, 0.000073]
VAL_LOSS = [78.418121, 0.232164, 0.059140, 0.047348, 0.047006, 0.046994, 0.046992, 0.046992]
VAL_MAE = [7.137860, 0.344657, 0.088700, 0.015531, 0.006401, 0.005846, 0.005675, 0.005642]
FG_EVALS = [2, 3, 4, 5, 6, 7, 8, 9]
RANK = 50

# The columns were printed from float32 arithmetic with six decimals: its seven digits are
# 1e-5 at 79, and a few roundings of the sixth decimal below 1.
FIRST, OTHERS = 2e-5, 2e-6


@pytest.fixture(scope="module")
def published():
    """Draw the README's data in its order: weights, training, validation."""
    np.random.seed(1)
    weights = np.random.normal(size=RANK)
    x = np.random.normal(size=(1000, RANK))
    x_val = np.random.normal(size=(1000, RANK))
    return x, x.dot(weights)[:, None], x_val, x_val.dot(weights)[:, None], weights


def make(optimizer="l-bfgs-b", dtype="float64"):
    model = kormos.models.BatchOptimizedSequentialModel()
    model.add(keras.Input((RANK,), dtype=dtype))
    model.add(
        keras.layers.Dense(
            units=1,
            activation=None,
            use_bias=False,
            kernel_regularizer=keras.regularizers.L2(1e-3),
            kernel_initializer="ones",
            dtype=dtype,
        )
    )
    loss = keras.losses.MeanSquaredError(dtype=dtype)
    model.compile(loss=loss, optimizer=optimizer, metrics=["mean_absolute_error"])
    return model


def fit(model, published, **options):
    x, y, x_val, y_val, _ = published
    return model.fit(
        x=x, y=y, epochs=10, validation_data=(x_val, y_val), verbose=0, **options
    ).history


def assert_close(column, expected, roundings=1):
    np.testing.assert_allclose(column[0], expected[0], rtol=0, atol=roundings * FIRST)
    np.testing.assert_allclose(column[1:8], expected[1:], rtol=0, atol=roundings * OTHERS)


@pytest.fixture(scope="module")
def history(published):
    model = make()
    return fit(model, published), model


def test_loss_and_validation_loss_are_the_published_ones(history):
    columns, _ = history

    assert_close(columns["loss"], LOSS)
    assert_close(columns["val_loss"], VAL_LOSS)


def test_evaluations_are_the_published_ones(history):
    columns, _ = history

    assert columns["fg_evals"][:8] == FG_EVALS
    assert set(columns["hessp_evals"]) == {0}


def test_validation_metric_is_the_published_one(history):
    columns, _ = history

    np.testing.assert_allclose(columns["val_mean_absolute_error"][:8], VAL_MAE, rtol=0, atol=4e-6)


def test_gradient_norm_is_the_published_one_and_falls(history):
    columns, _ = history
    grad = np.array(columns["grad"])

    # printed from float32, whose gradient has a noise of some 1e-5 here
    np.testing.assert_allclose(grad[:8], GRAD, rtol=0, atol=2e-5)
    assert (grad > 0).all()
    assert (np.diff(grad) < 0).all()


def test_columns_come_in_the_order_of_the_readme(history):
    columns, _ = history

    assert list(columns) == [
        "loss",
        "grad",
        "fg_evals",
        "hessp_evals",
        "mean_absolute_error",
        "val_loss",
        "val_mean_absolute_error",
    ]


def test_counts_are_whole_numbers(history):
    columns, _ = history

    assert all(type(count) is int for count in columns["fg_evals"] + columns["hessp_evals"])


def test_weights_are_found_as_the_readme_asserts(history, published):
    _, model = history

    assert np.allclose(flat_weights(model), published[-1], 1e-2)


def test_float32_gives_the_published_columns_too(published):
    columns = fit(make(dtype="float32"), published)

    # theirs and ours are rounded, each in an order of its own
    assert_close(columns["loss"], LOSS, roundings=2)
    assert_close(columns["val_loss"], VAL_LOSS, roundings=2)
    assert columns["fg_evals"][:8] == FG_EVALS


def test_newton_cg_reaches_a_gradient_of_a_millionth_within_ten_iterations(published):
    columns = fit(make("newton-cg"), published)

    assert len(columns["grad"]) <= 10
    assert columns["grad"][-1] < 1e-6
    assert columns["hessp_evals"][-1] > 0


def test_the_misprinted_option_is_refused_with_the_right_name(published):
    model = make()
    before = flat_weights(model)

    with pytest.raises(UnknownOptionError, match=r"'maxcors'.*Did you mean 'maxcor'\?"):
        fit(model, published, options={"maxcors": 3})

    np.testing.assert_array_equal(flat_weights(model), before)


def test_the_corrected_option_trains(published):
    columns = fit(make(), published, options={"maxcor": 3})

    assert columns["loss"][-1] < 0.0471


def test_recompiling_to_adam_trains_on_by_keras(published):
    x, y, x_val, y_val, _ = published
    model = make(dtype="float32")
    fit(model, published)

    model.compile(loss=model.loss, optimizer="adam", metrics=["mean_absolute_error"])
    model.set_weights([np.random.default_rng(0).random(size=(RANK, 1))])
    history = model.fit(
        x=x, y=y, epochs=2, batch_size=200, validation_data=(x_val, y_val), verbose=0
    )

    assert set(history.history) == {
        "loss",
        "mean_absolute_error",
        "val_loss",
        "val_mean_absolute_error",
    }
    assert history.history["loss"][1] < history.history["loss"][0]


def test_recompiling_from_adam_goes_on_from_its_weights(published):
    x, y, *_ = published
    model = make("adam", dtype="float32")
    model.fit(x, y, epochs=1, batch_size=100, verbose=0)
    warm = model.evaluate(x, y, verbose=0)[0]

    model.compile(loss=model.loss, optimizer="l-bfgs-b")
    history = model.fit(x, y, verbose=0).history

    assert history["loss"][0] < warm
    assert history["loss"][-1] == pytest.approx(0.046990, abs=OTHERS)


def test_a_second_fit_of_the_same_gives_the_same(published):
    model = make()
    first = fit(model, published)
    model.set_weights([np.ones((RANK, 1))])

    second = fit(model, published)

    assert second == first


@pytest.mark.backends("tensorflow")
def test_a_fit_on_other_data_is_not_answered_from_the_first(published):
    x, y, *_ = published
    model = make()
    fit(model, published)
    other = 3.0 * y
    weights = flat_weights(model)

    history = model.fit(x, other, epochs=1, verbose=0).history

    residual = x @ flat_weights(model)[:, None] - other
    penalty = float(np.float32(1e-3))  # Keras keeps the factor in float32
    expected = np.mean(residual**2) + penalty * np.sum(flat_weights(model) ** 2)
    # float64 sums of 1,000 terms in another order
    # Keras keeps the factors of regularizers in float32 on other backends than TensorFlow
    assert history["loss"][0] == pytest.approx(expected, rel=1e-9)
    assert not np.allclose(flat_weights(model), weights)
