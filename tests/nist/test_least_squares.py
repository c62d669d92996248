"""Least-squares solvers on NIST's certified problems, by digits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from models import floatx
from nist.problems import LINEAR, NONLINEAR, digits, model_of, parameters

from kormos_core import Status

if TYPE_CHECKING:
    import keras

    import kormos
    from kormos_core.compare.nist import Regression

# SciPy's own tolerances are for four digits: here are the least that it takes, and
# evaluations enough for Bennett5, which takes 1,500.
SOLVERS = {
    "native:levenberg-marquardt": {},
    "scipy:least-squares-lm": {"tol": 3e-16, "max_nfev": 20000},
}
every_solver = pytest.mark.parametrize("solver", SOLVERS)
every_problem = pytest.mark.parametrize("name", NONLINEAR)

DIGITS = 6
# Nine parameters, three of them periods, and a loss that hardly tells the last digits.
FEWEST_DIGITS = {"ENSO": 5}
ERROR_DIGITS = 4
# Its residuals are 1e-13, and what float64 leaves of responses near 1 is 1e-16: no solver can
# know their sum of squares, which all standard errors are proportional to, to four digits.
FEWEST_ERROR_DIGITS = {"Lanczos1": 2}

# Digits that are left of linear problems: rounding errors times the condition, and for the
# last three Wampler ones times its square and the residuals, which grow.
LINEAR_DIGITS = {
    "Filip": 6,
    "Longley": 10,
    "NoInt1": 14,
    "NoInt2": 14,
    "Norris": 12,
    "Pontius": 12,
    "Wampler1": 10,
    "Wampler2": 12,
    "Wampler3": 9,
    "Wampler4": 7,
    "Wampler5": 5,
}
# What ten columns of powers of one predictor leave takes some corrections to find.
MOST_ITERATIONS = {"Filip": 60, "Longley": 20}


class Fit(NamedTuple):
    """What a solver found, in NIST's order."""

    parameters: np.ndarray
    errors: np.ndarray
    result: kormos.Result


def fit(model: keras.Model, problem: Regression, **arguments: Any) -> Fit:
    result = model.fit(problem.x, problem.y, epochs=3000, verbose=0, **arguments).result
    sizes = np.cumsum([np.size(weight) for weight in model.get_weights()])[:-1]
    errors = np.concatenate(np.split(result.standard_errors(), sizes)[::-1])
    return Fit(parameters(model), errors, result)


@functools.cache
def model_for(name: str) -> keras.Model:
    """Make the model of a problem, one for all solvers: tracing it is what takes time."""
    problem = NONLINEAR[name]
    return model_of(problem, problem.starts[0], optimizer="native:levenberg-marquardt")


@functools.cache
def fits_of(name: str, solver: str) -> tuple[Fit, Fit]:
    """Fit from both of NIST's starts."""
    problem = NONLINEAR[name]
    fits: list[Any] = []
    with floatx("float64"):
        model = model_for(name)
        for start in problem.starts:
            model.set_weights([start])
            fits.append(fit(model, problem, method=solver, options=SOLVERS[solver]))
    return fits[0], fits[1]


@functools.cache
def linear_fit_of(name: str) -> Fit:
    """Fit a `keras.layers.Dense` from zeros."""
    problem = LINEAR[name]
    with floatx("float64"):
        zeros = np.zeros(len(problem.parameters))
        return fit(model_of(problem, zeros, optimizer="native:levenberg-marquardt"), problem)


# --- nonlinear problems ------------------------------------------------------------------


@every_problem
@every_solver
def test_parameters_are_found_from_both_starts(solver, name):
    for found in fits_of(name, solver):
        least = digits(found.parameters, NONLINEAR[name].parameters).min()

        assert least >= FEWEST_DIGITS.get(name, DIGITS)


@every_problem
@every_solver
def test_standard_errors_are_the_certified_deviations(solver, name):
    for found in fits_of(name, solver):
        least = digits(found.errors, NONLINEAR[name].deviations).min()

        assert least >= FEWEST_ERROR_DIGITS.get(name, ERROR_DIGITS)


@every_problem
@every_solver
def test_the_sum_of_squares_is_the_certified_one(solver, name):
    problem = NONLINEAR[name]
    for found in fits_of(name, solver):
        # the loss is the mean of the squares
        squares = len(problem.y) * found.result.loss

        assert digits(squares, problem.rss) >= (2 if name == "Lanczos1" else 9)


@every_problem
@every_solver
def test_degrees_of_freedom_are_observations_less_parameters(solver, name):
    for found in fits_of(name, solver):
        assert found.result.degrees_of_freedom == NONLINEAR[name].degrees_of_freedom


@every_problem
def test_a_solve_ends_by_itself_at_the_minimum(name):
    for found in fits_of(name, "native:levenberg-marquardt"):
        assert found.result.converged or found.result.status is Status.STAGNATED


# --- linear problems ---------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_a_dense_layer_finds_the_parameters_of_a_linear_problem(name):
    found = linear_fit_of(name)

    least = digits(found.parameters, LINEAR[name].parameters).min()

    assert least >= LINEAR_DIGITS[name]
    assert found.result.num_iterations <= MOST_ITERATIONS.get(name, 3)


@pytest.mark.parametrize("name", LINEAR)
def test_standard_errors_of_a_linear_problem_are_the_certified_deviations(name):
    found = linear_fit_of(name)

    # those of Wampler1 and Wampler2 are 0, and rounding is what is found
    assert digits(found.errors, LINEAR[name].deviations).min() >= 7
    assert found.result.degrees_of_freedom == LINEAR[name].degrees_of_freedom
