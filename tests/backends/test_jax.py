"""What is JAX's own: float64, streams, variables, and what nothing is compiled for."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import floatx

import kormos
from kormos_core.backends import compile_value, compile_value_and_grad

pytestmark = pytest.mark.backends("jax")

ROUNDING = 1e-13
X = np.linspace(0.1, 0.9, 5)
FUNCTIONS = {
    "tanh": (lambda x: ops.sum(ops.tanh(x)), np.tanh),
    "sin": (lambda x: ops.sum(ops.sin(x)), np.sin),
    "mean": (lambda x: 5.0 * ops.mean(x), lambda x: x),
    "var": (ops.var, lambda x: (x - x.mean()) ** 2 / 5),
    "constant": (lambda x: ops.sum(ops.cos(x) * 0.1), lambda x: 0.1 * np.cos(x)),
    "loop": (
        lambda x: ops.sum(ops.scan(lambda c, a: (c, ops.tanh(a)), x[0], x)[1]),
        np.tanh,
    ),
}

WITHOUT_X64 = """
import keras, numpy as np, kormos
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile(loss="mse")
kormos.fit(model, np.ones((3, 2)), np.ones((3, 1)), solver={solver!r}, verbose=0)
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_keras_rounds_to_float32_keeps_its_digits(name):
    function, oracle = FUNCTIONS[name]
    loss = compile_value(
        lambda x, _: ops.cast(function(x), "float64"), jit=True, eager=False, keep_float64=True
    )

    assert loss(X, None) == pytest.approx(np.sum(oracle(X)), rel=ROUNDING)


def test_a_gradient_that_keras_rounds_to_float32_keeps_its_digits():
    loss = compile_value_and_grad(
        lambda x, _: ops.cast(ops.sum(ops.tanh(x)), "float64"),
        jit=True,
        eager=False,
        keep_float64=True,
    )

    assert loss(X, None)[1] == pytest.approx(1 - np.tanh(X) ** 2, rel=ROUNDING)


def test_a_float32_model_stays_one():
    value = compile_value(
        lambda x, _: ops.cast(ops.sum(ops.cast(x, "float32")), "float64"), jit=True, eager=False
    )

    assert value(X, None) == float(np.sum(X.astype(np.float32), dtype=np.float32))


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:lbfgs"])
def test_without_64_bits_a_fit_is_refused_with_the_cure(solver):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_X64.format(solver=solver)],
        env=os.environ | {"JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "UnsupportedError: JAX computes in float32 only" in done.stderr
    assert "JAX_ENABLE_X64=1 before Python starts" in done.stderr


def test_a_stream_may_use_jax_and_end_in_a_shorter_batch():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            part = slice(4 * index, 4 * index + 4)
            return ops.tanh(ops.convert_to_tensor(x[part], "float64")), y[part]

    random = np.random.default_rng(0)
    x, y = random.normal(size=(10, 2)), random.normal(size=(10, 1))

    with floatx("float64"):
        streamed, whole = line(), line()
        parts = kormos.fit(streamed, Batches(), solver="native:lbfgs", epochs=5, verbose=0)
        seen = np.tanh(x.astype(np.float32)).astype(np.float64)
        at_once = kormos.fit(whole, seen, y, solver="native:lbfgs", epochs=5, verbose=0)

    # Keras's tanh in the user's own code is one of float32
    np.testing.assert_allclose(parts.history["loss"], at_once.history["loss"], rtol=1e-6)


def test_an_error_in_the_data_is_told_as_it_is():
    calls = []

    def batches():
        calls.append(1)
        yield np.ones((4, 2)), np.ones((4, 1))
        if len(calls) > 4:
            message = "the file is gone"
            raise OSError(message)

    class Source:
        def __iter__(self):
            return batches()

    with floatx("float64"), pytest.raises(OSError, match=r"^the file is gone$"):
        kormos.fit(line(), Source(), solver="native:lbfgs", epochs=50, tol=0.0, verbose=0)


def test_frozen_weights_that_change_between_fits_are_seen():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(10, 2)), random.normal(size=(10, 1))
    with floatx("float64"):
        model = line(layers.Dense(2, trainable=False))
        first = kormos.fit(model, x, y, solver="scipy:l-bfgs-b", verbose=0)
        frozen = model.layers[0]
        frozen.set_weights([np.zeros((2, 2)), np.zeros(2)])

        second = kormos.fit(model, x, y, solver="scipy:l-bfgs-b", verbose=0)

    assert first.result.loss < second.result.loss
    # nothing but the bias can learn
    assert second.result.loss == pytest.approx(np.var(y), rel=1e-9)


@pytest.mark.parametrize(("jit_compile", "compiles"), [("auto", True), (False, False)])
def test_jit_compile_false_compiles_nothing(jit_compile, compiles):
    calls = []

    class Looking(layers.Layer):
        def call(self, x):
            calls.append(1)
            return x

    random = np.random.default_rng(0)
    x, y = random.normal(size=(10, 2)), random.normal(size=(10, 1))
    with floatx("float64"):
        model = line(Looking())
        model.compile(loss="mse", jit_compile=jit_compile)
        kormos.fit(model, x, y, solver="scipy:cg", epochs=1, verbose=0)
        calls.clear()
        result = kormos.fit(model, x, y, solver="scipy:cg", tol=1e-9, verbose=0).result

    # a few calls prepare a fit
    assert (len(calls) < result.fg_evals) is compiles


def line(*before):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), *before, layers.Dense(1)])
    model.compile(loss="mse")
    return model
