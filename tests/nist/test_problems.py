"""The tables against NIST's own sums, the formulas against their certified solutions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tensorflow as tf
from nist.problems import LINEAR, NONLINEAR, digits, model_of, parameters

from kormos_core.compare.nist.formulas import FORMULAS

if TYPE_CHECKING:
    from kormos_core.compare.nist import Regression

PROBLEMS = {**NONLINEAR, **LINEAR}

# observations and parameters, as the heads of NIST's files count them
SIZES = {
    "Bennett5": (154, 3),
    "BoxBOD": (6, 2),
    "Chwirut1": (214, 3),
    "Chwirut2": (54, 3),
    "DanWood": (6, 2),
    "Eckerle4": (35, 3),
    "ENSO": (168, 9),
    "Gauss1": (250, 8),
    "Gauss2": (250, 8),
    "Gauss3": (250, 8),
    "Hahn1": (236, 7),
    "Kirby2": (151, 5),
    "Lanczos1": (24, 6),
    "Lanczos2": (24, 6),
    "Lanczos3": (24, 6),
    "MGH09": (11, 4),
    "MGH10": (16, 3),
    "MGH17": (33, 5),
    "Misra1a": (14, 2),
    "Misra1b": (14, 2),
    "Misra1c": (14, 2),
    "Misra1d": (14, 2),
    "Nelson": (128, 3),
    "Rat42": (9, 3),
    "Rat43": (15, 4),
    "Roszman1": (25, 4),
    "Thurber": (37, 7),
    "Filip": (82, 11),
    "Longley": (16, 7),
    "NoInt1": (11, 1),
    "NoInt2": (3, 1),
    "Norris": (36, 2),
    "Pontius": (40, 3),
    "Wampler1": (21, 6),
    "Wampler2": (21, 6),
    "Wampler3": (21, 6),
    "Wampler4": (21, 6),
    "Wampler5": (21, 6),
}

# Relative errors of sums of squares at parameters that are rounded to 11 or 15 digits. Filip's
# residuals are 1e-3 and the terms of its polynomial 1e3 and more.
RSS_TOLERANCE = {"Filip": 1e-7}
# Of their standard deviations: rounding times the condition of the Jacobian.
DEVIATION_TOLERANCE = {"Filip": 1e-6}
# Digits that LAPACK gets by an SVD of the scaled columns: they follow the condition, and the
# residual, which grows from Wampler1 to Wampler5.
LEAST_DIGITS = {
    "Filip": 5,
    "Longley": 10,
    "NoInt1": 13,
    "NoInt2": 13,
    "Norris": 11,
    "Pontius": 11,
    "Wampler1": 8,
    "Wampler2": 11,
    "Wampler3": 8,
    "Wampler4": 7,
    "Wampler5": 5,
}


@functools.cache
def linearization(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals, shape (n,), and Jacobian, shape (n, p), at the certified parameters."""
    problem = PROBLEMS[name]
    model = model_of(problem, problem.parameters)
    columns = []
    for weight in reversed(model.trainable_variables):  # the order of `parameters`
        for unit in np.eye(int(np.prod(weight.shape))):
            direction = tf.constant(unit.reshape(weight.shape))
            with tf.autodiff.ForwardAccumulator(weight.value, direction) as accumulator:
                predicted = model(tf.constant(problem.x))
            columns.append(accumulator.jvp(predicted).numpy()[:, 0])
    return (predicted.numpy() - problem.y)[:, 0], np.stack(columns, axis=1)


def scaled(jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns at length 1, and their lengths."""
    lengths = np.linalg.norm(jacobian, axis=0)
    return jacobian / lengths, lengths


def design(problem: Regression) -> np.ndarray:
    """Return the matrix of a linear problem, shape (n, p), in NIST's order."""
    constant = len(problem.parameters) - problem.x.shape[1]
    return np.column_stack([np.ones((len(problem.x), constant)), problem.x])


def test_all_problems_of_nist_are_there():
    assert (len(NONLINEAR), len(LINEAR)) == (27, 11)
    assert SIZES.keys() == PROBLEMS.keys()
    assert FORMULAS.keys() == NONLINEAR.keys()


def test_the_nonlinear_problems_have_the_difficulties_that_nist_lists():
    levels = [problem.difficulty for problem in NONLINEAR.values()]

    assert [levels.count(level) for level in ("lower", "average", "higher")] == [8, 11, 8]


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_table_has_the_size_that_nist_states(name):
    problem, (num_observations, num_parameters) = PROBLEMS[name], SIZES[name]

    assert problem.y.shape == (num_observations, 1)
    assert problem.x.shape[0] == num_observations
    assert problem.starts.shape == (2 if name in NONLINEAR else 0, num_parameters)
    assert problem.parameters.shape == problem.deviations.shape == (num_parameters,)
    assert problem.degrees_of_freedom == num_observations - num_parameters


@pytest.mark.parametrize("name", PROBLEMS)
def test_residual_deviation_and_sum_of_squares_agree(name):
    problem = PROBLEMS[name]

    expected = np.sqrt(problem.rss / problem.degrees_of_freedom)

    # both are rounded to 11 digits at least
    assert problem.residual_deviation == pytest.approx(expected, rel=1e-10, abs=0.0)


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "Lanczos1"])
def test_the_sum_of_squares_at_the_certified_parameters_is_the_certified_one(name, float64):
    problem = PROBLEMS[name]
    model = model_of(problem, problem.parameters, run_eagerly=True)

    loss = model.evaluate(problem.x, problem.y, batch_size=len(problem.y), verbose=0)

    tolerance = RSS_TOLERANCE.get(name, 1e-9)
    # Wampler1 and Wampler2 have no residuals but those of rounding
    absolute = 1e-26 if problem.rss == 0 else 0.0
    assert loss * len(problem.y) == pytest.approx(problem.rss, rel=tolerance, abs=absolute)


def test_the_sum_of_squares_of_lanczos1_is_the_certified_one_next_to_the_certified_parameters():
    # Its residuals are 1e-13. Eleven digits of the parameters leave 1e-11: a step of Gauss and
    # Newton takes that away, and float64 leaves 1e-15 of them.
    residual, jacobian = linearization("Lanczos1")
    left = residual - jacobian @ np.linalg.lstsq(jacobian, residual)[0]

    assert residual @ residual < 1e-20
    assert left @ left == pytest.approx(NONLINEAR["Lanczos1"].rss, rel=1e-2)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_certified_deviations_are_those_of_the_jacobian(name):
    problem = PROBLEMS[name]
    unit, lengths = scaled(linearization(name)[1])

    inverse = np.linalg.inv(np.linalg.qr(unit, mode="r"))
    deviations = problem.residual_deviation * np.linalg.norm(inverse, axis=1) / lengths

    tolerance = DEVIATION_TOLERANCE.get(name, 1e-8)
    np.testing.assert_allclose(deviations, problem.deviations, rtol=tolerance)


@pytest.mark.parametrize("name", LINEAR)
def test_least_squares_of_numpy_find_the_certified_parameters(name):
    problem = LINEAR[name]
    unit, lengths = scaled(design(problem))

    found = np.linalg.lstsq(unit, problem.y[:, 0])[0] / lengths

    assert digits(found, problem.parameters).min() >= LEAST_DIGITS[name]


def test_nelson_is_fitted_to_logarithms():
    assert NONLINEAR["Nelson"].y[0, 0] == np.log(15.0)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_parameters_are_read_in_the_order_in_which_they_were_given(problem):
    start = np.arange(1.0, 1.0 + len(problem.parameters))

    model = model_of(problem, start)

    assert {weight.dtype for weight in model.weights} == {"float64"}
    np.testing.assert_array_equal(parameters(model), start)


def test_the_constant_of_a_linear_problem_is_its_first_parameter():
    model = model_of(LINEAR["Norris"], [3.0, 2.0])

    assert model(np.array([[10.0]])).numpy() == 23.0


def test_tables_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        NONLINEAR["Misra1a"].y[0] = 0.0


def test_a_solver_fits_a_model():
    problem = NONLINEAR["Rat42"]
    model = model_of(problem, problem.starts[1], optimizer="native:trust-ncg")

    result = model.fit(problem.x, problem.y, verbose=0).history

    assert result["loss"][-1] * len(problem.y) == pytest.approx(problem.rss, rel=1e-8)
    assert digits(parameters(model), problem.parameters).min() > 5


@pytest.mark.parametrize(
    ("found", "certified", "expected"),
    [
        (1.001, 1.0, 3.0),
        (-2000.2, -2000.0, 4.0),
        (-1.0, 1.0, -np.log10(2.0)),
        (1e-9, 0.0, 9.0),
        (5.0, 5.0, 15.0),
        (0.0, 0.0, 15.0),
        (np.inf, 1.0, -np.inf),
        (np.nan, 1.0, np.nan),
    ],
)
def test_digits_are_the_log_relative_error(found, certified, expected):
    np.testing.assert_allclose(digits(found, certified), expected, rtol=1e-12)


def test_digits_are_counted_for_each_value():
    np.testing.assert_allclose(digits([1.1, 10.0], [1.0, 10.0]), [1.0, 15.0], rtol=1e-12)
