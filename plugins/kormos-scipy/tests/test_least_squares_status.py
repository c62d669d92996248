"""Why a fit to residuals ended: measured, not believed."""

from __future__ import annotations

import numpy as np
import pytest

from kormos_core import Status
from kormos_scipy.least_squares_specs import LEAST_SQUARES

NAMES = list(LEAST_SQUARES)
TRUST_REGION = [name for name, spec in LEAST_SQUARES.items() if "bounds" in spec.supports]
TRF, DOGBOX, LM = NAMES

_TINY = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
ENDINGS = [
    (TRF, "bent", {}, Status.GRAD_TOL),
    (TRF, "decay", {}, Status.F_TOL),
    (TRF, "decay", {"ftol": None, "gtol": None}, Status.X_TOL),
    (TRF, "straight", {"gtol": None}, Status.F_TOL),  # and of the step
    (DOGBOX, "bent", {}, Status.GRAD_TOL),
    (DOGBOX, "decay", {}, Status.F_TOL),
    (DOGBOX, "decay", {"ftol": None, "gtol": None}, Status.X_TOL),
    (LM, "bent", {}, Status.GRAD_TOL),
    (LM, "decay", {}, Status.F_TOL),
    (LM, "decay", {"ftol": 1e-15, "gtol": 1e-15, "xtol": 1e-4}, Status.X_TOL),
    *((name, "bent", {"max_nfev": 4}, Status.MAX_EVALS) for name in NAMES),
]


@pytest.mark.parametrize(("name", "problem", "options", "status"), ENDINGS)
def test_a_solve_tells_why_it_ended(name, problem, options, status, sum_of_squares, solve):
    objective = sum_of_squares(problem)

    result = solve(name, objective, **options)

    assert result.status is status
    assert result.message.startswith(status.value)
    assert result.raw.message in result.message
    assert result.loss == objective.f(result.x)


@pytest.mark.parametrize("name", NAMES)
def test_a_jacobian_that_does_not_belong_to_the_residuals_is_told(name, sum_of_squares, solve):
    # SciPy calls steps converged that it shrank to nothing
    objective = sum_of_squares("decay")
    right = objective.j
    objective.j = lambda x: -right(x)

    result = solve(name, objective)

    assert result.raw.success
    assert result.status is Status.LINESEARCH_FAILED
    np.testing.assert_array_equal(result.x, objective.x0)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_residuals_in_single_precision_end_as_stagnated(name, sum_of_squares, solve):
    objective = sum_of_squares("decay")
    double = objective.r
    objective.r = lambda x: double(x).astype(np.float32).astype(float)

    result = solve(name, objective, **_TINY)

    assert result.status is Status.STAGNATED
    assert np.abs(objective.g(result.x)).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_start_at_the_minimum_ends_at_once(name, sum_of_squares, solve):
    objective = sum_of_squares("bent", x0=[1.0, 1.0])

    result = solve(name, objective)

    assert objective.iterates == []
    assert result.status is Status.GRAD_TOL


@pytest.mark.parametrize("name", NAMES)
def test_grad_tol_is_only_said_of_a_small_gradient(name, sum_of_squares, solve):
    statuses = set()
    for problem in ("bent", "straight", "decay", "outliers", "weighted"):
        objective = sum_of_squares(problem)

        result = solve(name, objective)

        statuses.add(result.status)
        if result.status is Status.GRAD_TOL:
            # lm's is a cosine: times the lengths of residuals and columns, below 40 each here
            assert np.abs(objective.g(result.x)).max() <= 1.01e-8 * (1 if name != LM else 1600)
    assert Status.GRAD_TOL in statuses
