"""The past steps and their inverse Hessian, against dense matrices.

Symbols: ``s`` step (n,), ``y`` change of the gradient (n,), ``g`` gradient (n,), ``h`` dense
inverse Hessian (n, n).
"""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kormos_native.history import empty_history, forget, learn

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

N = 7


def make_pairs(number, *, spread=1.0):
    """Pairs of a positive definite Hessian, their lengths spread over powers of ten."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(N, N))
    hessian = factor @ factor.T + np.eye(N)
    steps = rng.normal(size=(number, N)) * np.geomspace(1, spread, number)[:, None]
    return [(s, hessian @ s) for s in steps]


def dense(pairs):
    """The inverse Hessian by Nocedal and Wright's equations (6.17) and (7.20)."""
    s, y = pairs[-1]
    h = np.eye(N) * (s @ y) / (y @ y)
    for s, y in pairs:
        rho = 1 / (s @ y)
        left = np.eye(N) - rho * np.outer(s, y)
        h = left @ h @ left.T + rho * np.outer(s, s)
    return h


def feed(history, s, y, g, *, usable=True):
    tensors = (keras.ops.convert_to_tensor(value) for value in (s, y, g))
    history, product = learn(history, *tensors, keras.ops.convert_to_tensor(usable))
    return history, keras.ops.convert_to_numpy(product)


@pytest.fixture
def start():
    def make_history(m):
        return {
            name: keras.ops.convert_to_tensor(value) for name, value in empty_history(m, N).items()
        }

    return make_history


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize("spread", [1.0, 1e-6])
def test_the_product_is_that_of_the_dense_matrix_of_the_latest_pairs(start, number, spread):
    m, g = 3, np.linspace(-1, 2, N)
    history, pairs = start(m), make_pairs(number, spread=spread)

    for s, y in pairs:
        history, product = feed(history, s, y, g)

    # ten digits: the matrix has a condition of a hundred, and there are few operations
    np.testing.assert_allclose(product, dense(pairs[-m:]) @ g, rtol=1e-10, atol=1e-12)
    assert int(history["num_pairs"]) == number


def test_without_pairs_the_product_is_the_gradient(start):
    g = np.linspace(-1, 2, N)

    _, product = feed(start(3), np.zeros(N), np.zeros(N), g)

    np.testing.assert_array_equal(product, g)


@pytest.mark.parametrize("bend", [-1.0, 0.0, 1e-17])
def test_a_pair_without_positive_curvature_is_left_out(start, bend):
    m, g = 3, np.linspace(-1, 2, N)
    history, pairs = start(m), make_pairs(5)
    for s, y in pairs:
        history, expected = feed(history, s, y, g)
    step, across = np.eye(N)[:2]

    after, product = feed(history, step, across + bend * step, g)

    np.testing.assert_array_equal(product, expected)
    for name, value in history.items():
        np.testing.assert_array_equal(np.array(after[name]), np.array(value))


@pytest.mark.parametrize("fill", [1.0, np.nan])
def test_a_pair_that_is_not_usable_is_left_out(start, fill):
    g = np.linspace(-1, 2, N)
    history = start(3)
    for s, y in make_pairs(4):
        history, expected = feed(history, s, y, g)

    _, product = feed(history, np.full(N, fill), np.full(N, fill), g, usable=False)

    np.testing.assert_array_equal(product, expected)


def test_a_history_that_was_forgotten_begins_anew_with_the_last_scale(start):
    g = np.linspace(-1, 2, N)
    history, pairs = start(3), make_pairs(6)
    for s, y in pairs[:4]:
        history, _ = feed(history, s, y, g)

    history = forget(history, keras.ops.convert_to_tensor(True))
    (s, y), later = pairs[3], pairs[4:]
    _, bare = feed(history, s, y, g, usable=False)
    for s_new, y_new in later:
        history, product = feed(history, s_new, y_new, g)

    np.testing.assert_allclose(bare, (s @ y) / (y @ y) * g, rtol=1e-14)
    np.testing.assert_allclose(product, dense(later) @ g, rtol=1e-10, atol=1e-12)
