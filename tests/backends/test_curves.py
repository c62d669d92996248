"""The same model, data and start give the same losses on every backend.

The oracle is the loss and its gradient in plain NumPy: SciPy's own L-BFGS-B on it is what
`scipy:l-bfgs-b` must follow, and the curves of `native:lbfgs` beside this file were made
with it on TensorFlow.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.optimize
from keras import layers
from models import floatx

import kormos

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ITERATIONS = 20
# Twenty iterations amplify a rounding of 1e-16 by less than 1e4 on these, which are convex or
# close to it: regularized, and started near zero.
SAME = 1e-9
STORED = json.loads((Path(__file__).parent / "curves.json").read_text(encoding="utf-8"))
STRENGTH = 2.0**-10  # exactly, as Keras may keep it in float32

random = np.random.default_rng(0)
X = random.normal(size=(60, 4))
LABELS = np.argmax(X @ random.normal(size=(4, 3)) + random.normal(size=(60, 3)), axis=1)
Y = np.tanh(X @ random.normal(size=(4, 2))) + 0.1 * random.normal(size=(60, 2))
START = {
    "softmax": 0.1 * random.normal(size=15),
    "tanh": 0.5 * random.normal(size=37),
}


def softmax_regression(w):
    """Return the mean cross-entropy of a softmax regression with L2, and its gradient."""
    kernel, bias = w[:12].reshape(4, 3), w[12:]
    logits = X @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    f = -np.mean(log_p[np.arange(60), LABELS]) + STRENGTH * np.sum(kernel**2)
    slope = (np.exp(log_p) - np.eye(3)[LABELS]) / 60
    return f, np.concatenate(
        [np.ravel(X.T @ slope + 2 * STRENGTH * kernel), np.sum(slope, axis=0)]
    )


def tanh_network(w):
    """Return the mean squared error of a network of one hidden layer with L2."""
    first, second = w[:20].reshape(4, 5), w[25:35].reshape(5, 2)
    hidden = np.tanh(X @ first + w[20:25])
    error = hidden @ second + w[35:] - Y
    f = np.mean(error**2) + STRENGTH * (np.sum(first**2) + np.sum(second**2))
    slope = 2 * error / error.size
    inner = (slope @ second.T) * (1 - hidden**2)
    parts = (
        X.T @ inner + 2 * STRENGTH * first,
        inner.sum(axis=0),
        hidden.T @ slope + 2 * STRENGTH * second,
        slope.sum(axis=0),
    )
    return f, np.concatenate([np.ravel(part) for part in parts])


ORACLES = {"softmax": softmax_regression, "tanh": tanh_network}


def model_of(name):
    ridge = {"dtype": "float64", "kernel_regularizer": keras.regularizers.L2(STRENGTH)}
    inner = [] if name == "softmax" else [layers.Dense(5, "tanh", **ridge)]
    last = layers.Dense(3 if name == "softmax" else 2, **ridge)
    model = keras.Sequential([keras.Input((4,), dtype="float64"), *inner, last])
    loss = (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
        if name == "softmax"
        else keras.losses.MeanSquaredError(dtype="float64")
    )
    model.compile(loss=loss)
    shapes = [tuple(w.shape) for w in model.trainable_variables]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = np.split(START[name], cuts)
    model.set_weights([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
    return model


def curve_of(name, solver, **tolerances):
    target = LABELS if name == "softmax" else Y
    with floatx("float64"):
        model = model_of(name)
        history = kormos.fit(
            model, X, target, solver=solver, epochs=ITERATIONS, options=tolerances, verbose=0
        )
    return history.history["loss"]


@pytest.mark.parametrize("name", ORACLES)
def test_a_gradient_of_the_oracle_is_the_difference_of_its_values(name):
    error = scipy.optimize.check_grad(
        lambda w: ORACLES[name](w)[0], lambda w: ORACLES[name](w)[1], START[name]
    )

    assert error < 1e-6  # of forward differences with steps of 1.5e-8


@pytest.mark.parametrize("name", ORACLES)
def test_scipys_losses_are_those_of_numpy(name):
    expected = []
    scipy.optimize.minimize(
        ORACLES[name],
        START[name],
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": ITERATIONS, "gtol": 1e-12, "ftol": 0.0},
        callback=lambda intermediate_result: expected.append(intermediate_result.fun),
    )

    losses = curve_of(name, "scipy:l-bfgs-b", gtol=1e-12, ftol=0.0)

    assert len(losses) == len(expected) == ITERATIONS
    np.testing.assert_allclose(losses, expected, rtol=SAME)


@pytest.mark.parametrize("name", ORACLES)
def test_native_losses_are_those_stored(name):
    losses = curve_of(name, "native:lbfgs", gtol=1e-12)

    assert len(losses) == ITERATIONS
    np.testing.assert_allclose(losses, STORED[name], rtol=SAME)
