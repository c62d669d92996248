"""Dropout and batch normalization: every solver trains them, and leaves them usable."""

from __future__ import annotations

import functools
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from training.problems import FIRST_ORDER, SECOND_ORDER, data

import kormos
from kormos_core.errors import CurvatureWarning
from kormos_core.result import Status

X, Y = data()
X_VAL, Y_VAL = data(seed=1)

WITH_GRADIENT = (*FIRST_ORDER, *SECOND_ORDER)


def make(*body, method="l-bfgs-b", **options):
    keras.utils.set_random_seed(11)
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((2,), dtype="float64"), *body, layers.Dense(1, dtype="float64", name="out")]
    )
    model.compile(kormos.BatchOptimizer(method, **options), "mse")
    return model


def normalized(method="l-bfgs-b", **options):
    keras.utils.set_random_seed(11)  # before the layers, whose initial values it sets
    return make(
        layers.Dense(3, activation="tanh", dtype="float64", name="hidden"),
        layers.BatchNormalization(dtype="float64", name="norm"),
        method=method,
        **options,
    )


def dropped(method="l-bfgs-b", rate=0.5, **options):
    keras.utils.set_random_seed(11)
    return make(
        layers.Dense(8, activation="tanh", dtype="float64", name="hidden"),
        layers.Dropout(rate, seed=4, dtype="float64", name="drop"),
        method=method,
        **options,
    )


@functools.cache
def made(kind):
    model = kind()
    return model, [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def anew(kind):
    """Return the one model of a kind as it was made: tracing is what costs."""
    model, start = made(kind)
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)
    return model


def quiet():
    return dropped(rate=0.0)


def fit(model, **options):
    with warnings.catch_warnings():
        # TensorFlow's products through normalization are wrong and replaced: tested elsewhere
        warnings.simplefilter("ignore", CurvatureWarning)
        return model.fit(X, Y, **({"verbose": 0, "epochs": 4} | options))


def hidden_statistics(model, x):
    """Compute mean and variance of the hidden layer's output: the oracle in NumPy."""
    kernel, bias = model.get_layer("hidden").get_weights()
    hidden = np.tanh(x @ kernel + bias)
    return hidden.mean(axis=0), hidden.var(axis=0)


class Moving(keras.callbacks.Callback):
    """Compare the moving statistics with the data's own whenever the model is looked at."""

    def __init__(self):
        super().__init__()
        self.looks = 0

    def look(self):
        norm = self.model.get_layer("norm")
        mean, variance = hidden_statistics(self.model, X)
        # batch normalization keeps its statistics by updates of a hundredth: two digits lost
        np.testing.assert_allclose(norm.moving_mean, mean, rtol=0, atol=1e-10)
        np.testing.assert_allclose(norm.moving_variance, variance, rtol=0, atol=1e-10)
        self.looks += 1

    def on_test_begin(self, logs=None):
        self.look()

    def on_epoch_end(self, epoch, logs=None):
        self.look()


@pytest.mark.parametrize("method", WITH_GRADIENT)
def test_batch_normalization_trains_with_every_solver(method):
    history = fit(anew(normalized), method=method)

    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    assert (np.diff(losses) <= 1e-12).all()
    if method == "dogleg":  # no Hessian is definite along a bias that is normalized away
        assert history.result.status is Status.LINESEARCH_FAILED
    else:
        assert history.result.loss < 1.5


@pytest.mark.parametrize("method", WITH_GRADIENT)
def test_dropout_trains_with_every_solver(method):
    history = fit(anew(dropped), method=method)

    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    assert (np.diff(losses) <= 1e-12).all()  # frozen noise: the loss is deterministic


@pytest.mark.parametrize("method", ["l-bfgs-b", "trust-ncg", "nelder-mead"])
def test_moving_statistics_are_the_datas_own_at_each_validation(method):
    moving = Moving()

    fit(anew(normalized), method=method, validation_data=(X_VAL, Y_VAL), callbacks=[moving])

    assert moving.looks == 8


def test_moving_statistics_are_the_datas_own_at_each_iterate_without_validation():
    moving = Moving()

    fit(anew(normalized), callbacks=[moving])

    assert moving.looks == 4


@pytest.mark.parametrize("options", [{}, {"validation_data": (X_VAL, Y_VAL)}, {"batch_size": 20}])
def test_moving_statistics_are_the_datas_own_at_the_end(options):
    model = anew(normalized)

    fit(model, **options)

    mean, variance = hidden_statistics(model, X)
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=0, atol=1e-10)


def test_inference_afterwards_gives_the_training_loss():
    model = anew(normalized)

    history = fit(model, method="bfgs")

    prediction = np.asarray(model(X, training=False))
    # same statistics; epsilon of the normalization and all else are the same as in training
    assert np.mean((prediction - Y) ** 2) == pytest.approx(history.result.loss, rel=1e-9)


def test_validation_uses_the_moving_statistics():
    model = anew(normalized)
    found = []
    evaluate = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: found.append(
            np.mean((model.predict(X_VAL, verbose=0) - Y_VAL) ** 2)
        )
    )

    columns = fit(model, validation_data=(X_VAL, Y_VAL), callbacks=[evaluate]).history

    # Keras evaluates on float32 copies of the data
    np.testing.assert_allclose(columns["val_loss"], found, rtol=1e-6)


def test_a_checkpoint_has_the_moving_statistics_of_its_weights(tmp_path):
    path = tmp_path / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)

    history = fit(anew(normalized), callbacks=[checkpoint])

    prediction = np.asarray(keras.models.load_model(path)(X, training=False))
    best = min(history.history["loss"])
    assert np.mean((prediction - Y) ** 2) == pytest.approx(best, rel=1e-9)


def test_a_frozen_normalization_keeps_its_statistics():
    model = normalized()
    fit(model)
    norm = model.get_layer("norm")
    before = [norm.moving_mean.numpy(), norm.moving_variance.numpy()]

    norm.trainable = False
    model.compile("l-bfgs-b", "mse")
    model.set_weights([1.1 * weight for weight in model.get_weights()])
    fit(model)

    np.testing.assert_allclose(norm.moving_mean, 1.1 * before[0], rtol=1e-12)
    np.testing.assert_allclose(norm.moving_variance, 1.1 * before[1], rtol=1e-12)


def test_inference_mode_trains_without_noise_and_leaves_the_statistics_alone():
    model = normalized(training=False)

    history = fit(model)

    norm = model.get_layer("norm")
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(3))
    np.testing.assert_array_equal(norm.moving_variance, np.ones(3))
    prediction = np.asarray(model(X, training=False))
    assert np.mean((prediction - Y) ** 2) == pytest.approx(history.result.loss, rel=1e-12)


def test_dropout_in_inference_mode_is_off():
    with_dropout = fit(dropped(training=False)).history

    without = fit(anew(quiet)).history

    np.testing.assert_allclose(with_dropout["loss"], without["loss"], rtol=1e-9)


def test_dropout_is_on_in_training_mode():
    assert fit(anew(dropped)).history["loss"] != fit(anew(quiet)).history["loss"]


def test_two_fits_draw_other_noise_and_two_runs_the_same():
    model = anew(dropped)
    start = model.get_weights()
    one = fit(model, epochs=1).history["loss"]
    model.set_weights(start)

    other = fit(model, epochs=1).history["loss"]

    assert one != other
    assert fit(anew(dropped), epochs=1).history["loss"] == one


def test_training_metrics_are_of_the_same_draw_as_the_loss():
    model = dropped()
    model.compile("l-bfgs-b", "mse", metrics=["mse"])

    columns = fit(model).history

    # the metric's mean is kept in float32 by Keras
    np.testing.assert_allclose(columns["mse"], columns["loss"], rtol=1e-6)


def test_prediction_after_dropout_is_deterministic():
    model = anew(dropped)
    fit(model)

    one, other = (np.asarray(model(X, training=False)) for _ in range(2))

    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("normalization", "method", "dtype"),
    [  # every pair of them
        (keras.layers.BatchNormalization, "newton-cg", "float32"),
        (keras.layers.BatchNormalization, "trust-ncg", "float64"),
        (keras.layers.BatchNormalization, "trust-krylov", "float32"),
        (keras.layers.LayerNormalization, "newton-cg", "float64"),
        (keras.layers.LayerNormalization, "trust-ncg", "float32"),
        (keras.layers.LayerNormalization, "trust-krylov", "float64"),
    ],
)
def test_a_fit_through_normalization_ends_up_with_right_products(normalization, method, dtype):
    # TensorFlow's second derivatives are wrong here, but hardly along the gradient, which
    # is the first direction that every one of these methods asks for.
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(203, 4))
    y = np.sin(x.sum(axis=1, keepdims=True))
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((4,), dtype=dtype),
            keras.layers.Dense(6, dtype=dtype),
            normalization(dtype=dtype),
            keras.layers.Activation("tanh", dtype=dtype),
            keras.layers.Dense(1, dtype=dtype),
        ]
    )
    model.compile(optimizer=method, loss="mse")

    with pytest.warns(CurvatureWarning, match="Taken instead: finite-difference"):
        history = model.fit(x, y, epochs=5, verbose=0)

    losses = history.history["loss"]
    assert losses[-1] < losses[0]
