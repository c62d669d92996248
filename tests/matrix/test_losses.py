"""Losses of every form and reduction, with every family of solvers."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops
from matrix.families import (
    EVALUATED,
    FAMILIES,
    OPTIMUM,
    SAMPLES,
    Shared,
    column,
    evaluated,
    flat_weights,
    least_squares,
    line,
    line_data,
    normal,
    way,
)
from scipy.optimize import minimize

import kormos
from kormos_core.errors import UnsupportedError

X = normal(SAMPLES, 2)


def targets(number):
    return X @ normal(2, 1, seed=number) + 0.5 * normal(SAMPLES, 1, seed=10 + number)


def lines(names, *, as_list=False, **compile_options):
    """Make lines of one input, each an output with a loss of its own."""
    inputs = keras.Input((2,))
    outputs = {name: layers.Dense(1, name=name)(inputs) for name in names}
    model = kormos.BatchOptimizedModel(inputs, list(outputs.values()) if as_list else outputs)
    model.compile(**compile_options)
    return model


# --- forms, by name, with loss_weights by name --------------------------------------------


def softened(y_true, y_pred):
    """Give each sample a loss that is squared where it is small and linear where it is not."""
    return ops.mean(ops.sqrt(1.0 + ops.square(y_true - y_pred)) - 1.0, axis=-1)


def forms(**how):
    """Compile a string, an instance, a function of Keras's, and a function of a user's own."""
    loss = {
        "string": "mse",
        "instance": keras.losses.Huber(1.5),
        "function": keras.losses.huber,
        "own": softened,
    }
    return lines(loss, loss=loss, loss_weights=SHARES, **how)


SHARES = {"string": 1.0, "instance": 0.5, "function": 2.0, "own": 0.25}
PLAIN = {
    "string": np.square,
    "instance": lambda e: np.where(abs(e) < 1.5, 0.5 * e**2, 1.5 * abs(e) - 1.125),
    "function": lambda e: np.where(abs(e) < 1.0, 0.5 * e**2, abs(e) - 0.5),
    "own": lambda e: np.sqrt(1.0 + e**2) - 1.0,
}
FORMS = Shared(forms)
Y = {name: targets(number) for number, name in enumerate(PLAIN)}


@functools.cache
def plain_minimum(name):
    """Minimize the mean of one output's loss by SciPy, in NumPy."""

    def mean(w):
        return np.mean(PLAIN[name](column(X) @ w - Y[name][:, 0]))

    return minimize(mean, np.zeros(3), jac="3-point", options={"gtol": 1e-8}).fun


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loss_of_each_form_is_minimized_with_its_weight(family):
    history = FORMS.fit(family, X, Y)

    expected = {name: plain_minimum(name) for name in PLAIN}
    total = sum(SHARES[name] * expected[name] for name in PLAIN)
    assert history.result.loss == pytest.approx(total, rel=OPTIMUM)
    told = evaluated(history.model, X, Y)
    assert history.result.loss == pytest.approx(told["loss"], rel=EVALUATED)
    # means over samples are metrics, which Keras keeps in float32
    assert {name: told[f"{name}_loss"] for name in PLAIN} == pytest.approx(expected, rel=1e-4)


# --- reductions, in a list, with loss_weights in a list -----------------------------------


REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")
FACTORS = [0.7, 3.0, 0.05, 1.0]
LISTED = [targets(number) for number in range(4, 8)]
WEIGHTS = [np.linspace(0.5, 1.0 + number, SAMPLES) for number in range(4)]


def reduced(**how):
    loss = [keras.losses.MeanSquaredError(reduction=kind) for kind in REDUCTIONS]
    return lines("abcd", as_list=True, loss=loss, loss_weights=FACTORS, **how)


REDUCED = Shared(reduced)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_reduction_divides_by_what_it_says(family):
    over = {"sum": 1.0, "mean_with_sample_weight": WEIGHTS[3].sum()}
    minima = [
        least_squares(column(X), y[:, 0], weight)[1] / over.get(kind, SAMPLES)
        for y, weight, kind in zip(LISTED, WEIGHTS, REDUCTIONS, strict=True)
    ]

    history = REDUCED.fit(family, X, LISTED, sample_weight=WEIGHTS)

    assert history.result.loss == pytest.approx(np.dot(FACTORS, minima), rel=OPTIMUM)
    told = evaluated(history.model, X, LISTED, WEIGHTS)
    assert history.result.loss == pytest.approx(told["loss"], rel=EVALUATED)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loss_without_a_reduction_is_refused(family):
    loss = keras.losses.MeanSquaredError(reduction="none", dtype="float64")
    model = line(optimizer=family, loss=loss, **way(family))
    start = flat_weights(model)

    with pytest.raises(
        UnsupportedError, match=r"'mean_squared_error' has reduction='none'.*Allowed are sum_over"
    ):
        model.fit(*line_data(), verbose=0)

    np.testing.assert_array_equal(flat_weights(model), start)
