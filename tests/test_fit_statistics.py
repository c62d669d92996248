from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import floatx
from scipy import optimize

import kormos
from kormos_core.errors import UnsupportedError
from kormos_core.fit_statistics import FitStatistics

LM = "native:levenberg-marquardt"
RNG = np.random.default_rng(0)

T = np.linspace(0.0, 4.0, 40)
SIGMA = np.linspace(0.02, 0.2, 40)
DECAY = 2.5 * np.exp(-1.3 * T) + 0.4 + SIGMA * RNG.normal(size=40)

X = RNG.normal(size=(40, 2))
Y = (X @ [1.0, -2.0] + 0.5 + 0.1 * RNG.normal(size=40))[:, None]
DESIGN = np.column_stack([X, np.ones(40)])


def decay(t, a, b, c):
    return a * np.exp(-b * t) + c


def line_of(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted best line and its covariance, by the formula of linear regression."""
    root = np.sqrt(weights)
    used = weights > 0.0
    best, squares, _, _ = np.linalg.lstsq(root[:, None] * DESIGN, root * Y[:, 0])
    variance = squares[0] / (np.sum(used) - 3)
    return best, variance * np.linalg.inv(DESIGN.T @ (weights[:, None] * DESIGN))


def fitted(*body: layers.Layer, solver: str = LM, y: np.ndarray = Y, **arguments):
    """Fit a model to the line, and return what the solver says."""
    model = kormos.BatchOptimizedSequentialModel([keras.Input((2,)), *body])
    model.compile(optimizer=solver, loss="mse")
    return model.fit(X, y, **({"epochs": 30, "verbose": 0} | arguments)).result


def of(jac: np.ndarray, r: np.ndarray, **others: float) -> FitStatistics:
    """Make the statistics of residuals by NumPy's own factorization."""
    options = {"sum_of_squares": float(r @ r), "num_observations": len(r)} | others
    return FitStatistics(factor=np.linalg.qr(jac)[1], **options)


# --- against SciPy and formulas ----------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "sigma"),
    [
        (LM, None),
        (LM, SIGMA),
        ("native:gauss-newton", SIGMA),
        ("scipy:least-squares-trf", SIGMA),
    ],
)
def test_curves_have_the_errors_that_curve_fit_gives(solver, sigma):
    best, covariance = optimize.curve_fit(decay, T, DECAY, [1, 1, 0], sigma=sigma, xtol=1e-14)
    scale = 1.0 if sigma is None else sigma

    result = kormos.least_squares(
        lambda b: (b[0] * ops.exp(-b[1] * T) + b[2] - DECAY) / scale, [1, 1, 0], solver=solver
    )

    np.testing.assert_allclose(result.x, best, rtol=1e-6)
    # curve_fit's Jacobian is a difference, of half the digits
    np.testing.assert_allclose(result.covariance(), covariance, rtol=1e-4)
    np.testing.assert_allclose(result.standard_errors(), np.sqrt(np.diag(covariance)), rtol=1e-4)
    assert result.degrees_of_freedom == 40 - 3


@pytest.mark.parametrize("batch_size", [None, 7])
def test_models_have_the_errors_of_linear_regression(batch_size, float64):
    weights = np.where(np.arange(40) % 5 == 0, 0.0, np.linspace(0.5, 3.0, 40))
    best, covariance = line_of(weights)

    result = fitted(layers.Dense(1), sample_weight=weights, batch_size=batch_size)

    np.testing.assert_allclose(result.x, best, rtol=1e-7)
    np.testing.assert_allclose(result.covariance(), covariance, rtol=1e-7)
    np.testing.assert_allclose(result.standard_errors(), np.sqrt(np.diag(covariance)), rtol=1e-7)
    assert result.degrees_of_freedom == 32 - 3  # eight samples weigh nothing


def test_models_in_float32_have_them_to_their_precision():
    result = fitted(layers.Dense(1))

    np.testing.assert_allclose(result.covariance(), line_of(np.ones(40))[1], rtol=1e-3, atol=1e-7)


def test_several_outputs_are_as_many_observations(float64):
    both = np.hstack([Y, 2.0 * Y])

    result = fitted(layers.Dense(2), y=both)

    # the errors of the second are twice those of the first, and one variance is told of both
    best, squares, _, _ = np.linalg.lstsq(DESIGN, both)
    variance = np.sum(squares) / (80 - 6)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(DESIGN.T @ DESIGN)))
    kernel, bias = np.repeat(errors[:2], 2), np.repeat(errors[2:], 2)
    np.testing.assert_allclose(result.x, [*np.ravel(best[:2]), *best[2]], rtol=1e-7)
    np.testing.assert_allclose(result.standard_errors(), [*kernel, *bias], rtol=1e-7)
    assert result.degrees_of_freedom == 80 - 6


def test_units_of_parameters_do_not_look_like_redundance():
    units = np.array([1e-9, 1.0, 1e9])
    jac, r = DESIGN * units, Y[:, 0]

    covariance = of(jac, r).covariance()

    expected = r @ r / 37 * np.linalg.inv(DESIGN.T @ DESIGN) / np.outer(units, units)
    np.testing.assert_allclose(covariance, expected, rtol=1e-12)
    np.testing.assert_array_equal(covariance, covariance.T)


def test_nothing_is_counted_for_them():
    def exact(b):
        return b[:1] - 1.0, b[1:] - 2.0, b[:1] + b[1:] - 3.0

    result = kormos.least_squares(exact, [0.0, 0.0])

    assert result.loss < 1e-28
    assert result.fg_evals <= 2 * result.num_iterations + 1
    np.testing.assert_allclose(result.standard_errors(), 0.0, atol=1e-14)


# --- refusals ----------------------------------------------------------------------------


def test_redundant_parameters_have_none():
    jac = np.column_stack([DESIGN, DESIGN[:, 0] - DESIGN[:, 2]])

    with pytest.raises(
        UnsupportedError, match=r"tell 3 of 4 parameters apart\. Allowed.*freeze their layers"
    ):
        of(jac, Y[:, 0]).covariance()


def test_a_parameter_that_changes_nothing_has_none():
    jac = np.column_stack([DESIGN, np.zeros(40)])

    with pytest.raises(UnsupportedError, match=r"tell 3 of 4 parameters apart"):
        of(jac, Y[:, 0]).standard_errors()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_layers_that_undo_each_other_have_none_at_any_precision(dtype):
    with floatx(dtype):
        keras.utils.set_random_seed(1)
        result = fitted(layers.Dense(1), layers.Dense(1, use_bias=False))

    with pytest.raises(UnsupportedError, match=r"tell 3 of 4 parameters apart"):
        result.covariance()


def test_as_many_parameters_as_observations_have_none():
    statistics = of(DESIGN[:3], Y[:3, 0])

    assert statistics.degrees_of_freedom == 0
    with pytest.raises(
        UnsupportedError, match=r"3 observations leave no degree of freedom for 3 parameters"
    ):
        statistics.covariance()


def test_regularized_parameters_have_none(float64):
    result = fitted(layers.Dense(1, kernel_regularizer="l2"))

    assert result.degrees_of_freedom == 37  # penalties are no observations
    with pytest.raises(UnsupportedError, match=r"the loss regularizes parameters.*Fit without"):
        result.covariance()


def test_other_solvers_give_none(float64):
    result = fitted(layers.Dense(1), solver="scipy:l-bfgs-b")

    with pytest.raises(
        UnsupportedError, match=r"no statistics of residuals: the solver was scipy:l-bfgs-b\. All"
    ):
        result.standard_errors()
    with pytest.raises(UnsupportedError, match=r"Fit by one, such as native:levenberg-marquardt"):
        _ = result.degrees_of_freedom


def test_robust_losses_give_none():
    result = kormos.least_squares(
        lambda b: b[0] * ops.exp(-b[1] * T) + b[2] - DECAY,
        [1, 1, 0],
        solver="scipy:least-squares-trf",
        options={"loss": "soft_l1"},
    )

    with pytest.raises(UnsupportedError, match=r"least-squares solvers without a robust loss"):
        result.covariance()


def test_too_many_residuals_for_the_time_it_takes_give_none(monkeypatch):
    monkeypatch.setattr("kormos_core.objective.residuals.STATISTICS_LIMIT", 40 * 3**2 - 1)

    assert fitted(layers.Dense(1), epochs=1).statistics is None
