"""Models and curves: what users do with the solvers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import kormos
from kormos_core import Status
from kormos_core.errors import UnsupportedError

pytestmark = pytest.mark.backends("jax")

# NIST's Misra1a, with the first start and the certified values
# https://www.itl.nist.gov/div898/strd/nls/data/misra1a.shtml
MISRA1A_X = (77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1)
MISRA1A_X += (689.1, 760.0)
MISRA1A_Y = (10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40)
MISRA1A_Y += (75.47, 81.78)
CERTIFIED = (2.3894212918e02, 5.5015643181e-04)
ERRORS = (2.7070075241e00, 7.2668688436e-06)


def make_linear():
    """Make a linear model of float64 and its data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((3,)), layers.Dense(1, dtype="float64")]
    )
    return model, x, x @ [[1.0], [-2.0], [0.5]] + 0.25


@pytest.mark.parametrize("solver", ["optimistix:bfgs", "optimistix:levenberg-marquardt"])
def test_a_model_is_trained_with_one_row_of_history_an_iteration(solver):
    model, x, y = make_linear()
    model.compile(optimizer=solver, loss="mse")

    history = model.fit(x, y, epochs=60, verbose=0)

    assert history.result.status in {Status.X_TOL, Status.GRAD_TOL}
    assert len(history.history["loss"]) == history.result.num_iterations
    np.testing.assert_allclose(model.get_weights()[0].ravel(), [1.0, -2.0, 0.5], atol=1e-5)


def test_a_small_network_is_fitted_by_least_squares_in_slices():
    keras.utils.set_random_seed(1)
    x = np.linspace(-1.0, 1.0, 30)[:, None]
    hidden = layers.Dense(3, "tanh", dtype="float64")
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((1,)), hidden, layers.Dense(1, dtype="float64")]
    )
    model.compile(optimizer="optimistix:levenberg-marquardt", loss="mse")

    history = model.fit(x, np.sin(3.0 * x), epochs=15, batch_size=12, verbose=0)

    assert history.result.loss < min(0.01, 0.1 * history.history["loss"][0])
    assert history.history["loss"][-1] == pytest.approx(
        model.evaluate(x, np.sin(3.0 * x), verbose=0), rel=1e-4
    )


def test_streams_are_refused_by_least_squares():
    model, x, y = make_linear()
    model.compile(optimizer="optimistix:dogleg", loss="mse")

    class Halves(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[index * 20 : index * 20 + 20], y[index * 20 : index * 20 + 20]

    with pytest.raises(UnsupportedError, match=r"40 residuals .* stream\. Allowed are arrays"):
        model.fit(Halves(), epochs=2, verbose=0)


def test_a_curve_of_nist_has_its_certified_values():
    x, y = np.array(MISRA1A_X), np.array(MISRA1A_Y)

    result = kormos.least_squares(
        lambda b: b[0] * (1.0 - ops.exp(-b[1] * x)) - y,
        [500.0, 1e-4],
        solver="optimistix:levenberg-marquardt",
        tol=1e-12,
    )

    np.testing.assert_allclose(result.x, CERTIFIED, rtol=1e-7)
    np.testing.assert_allclose(result.standard_errors(), ERRORS, rtol=1e-5)


def test_a_solver_of_sums_of_squares_refuses_another_loss():
    model, x, y = make_linear()
    model.compile(optimizer="optimistix:gauss-newton", loss="mae")

    with pytest.raises(UnsupportedError, match=r"not known to be a sum of squares"):
        model.fit(x, y, epochs=2, verbose=0)
