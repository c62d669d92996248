"""What the problems of the sets compute, against formulas of NumPy and published values."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from models import floatx

from kormos_core.compare import UnknownProblemError, find_problem
from kormos_core.compare.classic import CLASSIC
from kormos_core.compare.mgh import name_of
from kormos_core.compare.nist import nonlinear


def made(name, *, seed=0, start=0, dtype="float64"):
    """Return a problem's instance, compiled."""
    instance = find_problem(name).make(seed=seed, start=start, dtype=dtype)
    instance.problem.compile(instance.model, keras.optimizers.SGD())
    return instance


def loss(instance):
    """Return the loss over all data, as Keras computes it."""
    x, y = instance.data.x, instance.data.y
    return float(instance.model.compute_loss(x, y, instance.model(x)))


# --- Moré, Garbow and Hillstrom ----------------------------------------------------------


@pytest.mark.parametrize("function", CLASSIC, ids=lambda function: name_of(function.name))
def test_a_model_of_the_paper_has_its_function_as_loss(function, float64):
    instance = made(name_of(function.name))
    x = np.array(function.x0) + np.random.default_rng(1).normal(scale=0.01, size=function.size)
    instance.model.set_weights([x])

    expected = np.sum(np.square(function.residuals(keras.ops.convert_to_tensor(x))))

    # the mean of m squares, each times m, in another order of summation
    assert loss(instance) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        # values at the standard starts, by hand: (1) 100 (1 - 1.44)² + 2.2²
        ("mgh-rosenbrock", 24.2),
        ("mgh-freudenstein-and-roth", 400.5),
        ("mgh-beale", 14.203125),
        ("mgh-helical-valley", 2500.0),
        ("mgh-powell-singular", 215.0),
        ("mgh-wood", 19192.0),
        ("mgh-brown-and-dennis", 7926693.336997432),
    ],
)
def test_the_loss_at_the_standard_start_is_the_known_one(name, f, float64):
    assert loss(made(name)) == pytest.approx(f, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("mgh-rosenbrock", (1.0, 1.0)),
        ("mgh-wood", (1.0, 1.0, 1.0, 1.0)),
        ("mgh-beale", (3.0, 0.5)),
        ("mgh-helical-valley", (1.0, 0.0, 0.0)),
        ("mgh-freudenstein-and-roth", (5.0, 4.0)),
        # to the seven digits that x has
        ("mgh-jennrich-and-sampson", (0.2578252, 0.2578252)),
        ("mgh-brown-and-dennis", (-11.594440, 13.203630, -0.40343949, 0.23677877)),
    ],
)
def test_the_loss_at_the_published_minimum_is_f_min(name, x, float64):
    instance = made(name)
    instance.model.set_weights([np.array(x)])

    assert loss(instance) == pytest.approx(instance.problem.f_min, rel=1e-9, abs=1e-20)


def test_a_function_can_be_had_in_single_precision():
    with floatx("float32"):
        instance = made("mgh-wood", dtype="float32")
        outputs = instance.model(instance.data.x)

    assert instance.data.y.dtype == outputs.numpy().dtype == np.float32
    assert loss(instance) == pytest.approx(19192.0, rel=1e-6)


# --- NIST --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Misra1a", "Nelson", "Thurber"])
def test_the_loss_at_the_certified_parameters_is_f_min(name, float64):
    instance = made(f"nist-{name.lower()}")
    instance.model.set_weights([nonlinear()[name].parameters])

    # eleven digits are certified, and nine are left of them in a sum of squares
    assert loss(instance) == pytest.approx(instance.problem.f_min, rel=1e-9)


@pytest.mark.parametrize("start", [0, 1])
def test_the_starts_are_those_of_nist(start, float64):
    instance = made("nist-misra1a", start=start)

    np.testing.assert_array_equal(
        instance.model.get_weights()[0], [(500.0, 1e-4), (250.0, 5e-4)][start]
    )
    assert instance.problem.num_starts == 2


# --- synthetic ---------------------------------------------------------------------------


def test_least_squares_have_the_condition_and_the_minimum_that_are_told(float64):
    instance = made("least-squares-60x7-cond1e3-seed5")
    x, y = instance.data.x, instance.data.y
    w = np.linalg.lstsq(x, y)[0]
    instance.model.set_weights([w])

    assert np.linalg.cond(x) == pytest.approx(1e3)
    assert loss(instance) == pytest.approx(instance.problem.f_min, rel=1e-12)


def test_a_logistic_regression_has_its_penalty_and_both_classes(float64):
    instance = made("logistic-50x4")
    x, y = instance.data.x, instance.data.y
    w = instance.model.get_weights()[0]

    entropy = np.mean(np.logaddexp(0.0, x @ w) - y * (x @ w))

    penalty = float(np.float32(1e-4)) * np.sum(w**2)  # Keras holds it in single precision
    assert loss(instance) == pytest.approx(entropy + penalty, rel=1e-12)
    assert set(np.unique(y)) == {0.0, 1.0}
    assert np.linalg.cond(x) == pytest.approx(100.0)


def test_a_matrix_is_the_product_of_its_factors(float64):
    instance = made("matrix-factorization-9x6-rank2")
    left, right = instance.model.get_weights()
    pairs, y = instance.data.x, instance.data.y

    expected = np.mean((np.sum(left[pairs[:, 0]] * right[pairs[:, 1]], axis=1) - y[:, 0]) ** 2)

    assert loss(instance) == pytest.approx(expected, rel=1e-12)
    assert np.linalg.matrix_rank(y.reshape(9, 6)) == 2
    assert len(pairs) == 54


def test_data_is_the_same_for_every_seed_of_a_run_and_weights_are_not(float64):
    first, second, third = (
        made("logistic-50x4", seed=seed, start=start) for seed, start in ((0, 0), (1, 0), (0, 1))
    )

    assert np.array_equal(first.data.x, second.data.x)
    assert loss(first) != loss(second)
    assert loss(first) != loss(third)
    assert loss(first) == loss(made("logistic-50x4"))


def test_the_seed_of_the_name_is_that_of_the_data():
    first, second = (find_problem(f"logistic-50x4-seed{k}").recipe.load().x for k in (1, 2))

    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("logistic-1000", "it has not the form of one. Allowed is KIND-ROWSxCOLUMNS"),
        ("logistic-1000x50-rank3", "a rank is for a factorization alone"),
        ("least-squares-5x5", "5 rows are no more than 5 columns"),
        ("least-squares-20x5-cond0.5", "condition number 0.5 is below 1"),
        ("logistic-0x0", "0 x 0 is not between 1 and 100,000,000 numbers"),
        ("logistic-100000x50000", "100000 x 50000 is not between"),
        ("matrix-factorization-20x5-cond10", "a factorization has no condition number"),
        ("matrix-factorization-20x4", "rank 5 is not between 1 and the lesser of 20 and 4"),
    ],
)
def test_a_size_that_cannot_be_is_told(name, said):
    with pytest.raises(UnknownProblemError, match=said):
        find_problem(name)


# --- scikit-learn ------------------------------------------------------------------------


def test_a_metric_of_two_classes_is_taken_of_logits(float64):
    instance = made("breast-cancer")
    x, y = instance.data.x_val, instance.data.y_val

    accuracy = np.mean((instance.model(x).numpy() > 0) == y)

    measured = instance.problem.measure_metric(instance.model, instance.data)
    assert measured == pytest.approx(accuracy, rel=1e-6)  # Keras averages in single precision
