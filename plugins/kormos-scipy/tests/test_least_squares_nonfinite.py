"""Residuals and Jacobians with NaN: recovered from where that can be, told where not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kormos_core import Status
from kormos_scipy.least_squares_specs import LEAST_SQUARES

NAMES = list(LEAST_SQUARES)
TRUST_REGION = [name for name, spec in LEAST_SQUARES.items() if "bounds" in spec.supports]

CASES = [
    *((name, {"x_scale": x_scale}) for name in NAMES for x_scale in ("jac", 1.0)),
    *((name, {"tr_solver": "lsmr"}) for name in TRUST_REGION),
    *((name, {"loss": loss}) for name in TRUST_REGION for loss in ("huber", "arctan")),
]


def behind_a_wall(sum_of_squares, bad, x0=(3.9, 1.0)):
    """x - 1 / x and a third of x - 1 in each parameter; `bad` below 0.95, the minimum is at 1."""

    def r(x):
        if (x < 0.95).any():
            objective.num_bad += 1
            return np.array([x[0], bad, 0.0, 0.0])
        return np.concatenate([x - 1 / x, 0.3 * (x - 1)])

    def j(x):
        return np.vstack([np.diag(1 + 1 / x**2), 0.3 * np.eye(2)])

    objective = sum_of_squares("bent", r=r, j=j, x0=[3.0, 3.0])
    objective.x0, objective.num_bad = np.array(x0), 0
    return objective


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_method_finds_its_way_around_a_wall(name, options, bad, sum_of_squares, solve):
    objective = behind_a_wall(sum_of_squares, bad)

    result = solve(name, objective, **options)

    assert LEAST_SQUARES[name].tolerates_nonfinite
    assert objective.num_bad > 0
    assert result.converged
    np.testing.assert_allclose(result.x, 1.0, atol=1e-6)
    assert np.isfinite(objective.iterates).all()


@pytest.mark.parametrize("name", TRUST_REGION)
def test_walls_on_all_sides_end_a_solve_as_failed(name, sum_of_squares, solve):
    # SciPy shrinks the step to nothing and calls that convergence
    objective = sum_of_squares("bent")
    bent, start = objective.r, objective.x0.copy()
    objective.r = lambda x: bent(x) if (x == start).all() else np.full(2, np.nan)

    result = solve(name, objective)

    assert result.status is Status.LINESEARCH_FAILED
    np.testing.assert_array_equal(result.x, start)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_limit_among_walls_is_told(name, sum_of_squares, solve):
    objective = sum_of_squares("bent")
    bent, start = objective.r, objective.x0.copy()
    objective.r = lambda x: bent(x) if (x == start).all() else np.full(2, np.nan)

    result = solve(name, objective, max_nfev=3)

    assert result.status is Status.MAX_EVALS


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_overflows_is_a_rejected_step(name, sum_of_squares, solve):
    objective = behind_a_wall(sum_of_squares, 1e200)

    result = solve(name, objective)

    assert objective.num_bad > 0
    assert result.converged


@pytest.mark.parametrize("name", NAMES)
def test_a_start_that_is_not_finite_ends_at_once(name, sum_of_squares, solve):
    objective = behind_a_wall(sum_of_squares, np.nan, x0=(0.1, 1.0))

    result = solve(name, objective)

    assert result.status is Status.NONFINITE
    assert "After iteration 0 the loss is nan" in result.message
    assert math.isnan(result.loss)
    assert objective.counts.fg == 1
    np.testing.assert_array_equal(result.x, objective.x0)


@pytest.mark.parametrize("name", NAMES)
def test_a_jacobian_with_nan_ends_the_solve(name, sum_of_squares, solve):
    objective = sum_of_squares("bent")
    j = objective.j
    objective.j = lambda x: j(x) if (x == objective.x0).all() else np.full((2, 2), np.nan)

    result = solve(name, objective)

    assert result.status is Status.NONFINITE
    assert "the Jacobian has NaN" in result.message
    assert result.loss == objective.f(objective.x0)
    np.testing.assert_array_equal(result.x, objective.x0)


@pytest.mark.parametrize("product", ["jvp", "vjp"])
@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_product_with_nan_ends_the_solve(name, product, sum_of_squares, solve):
    objective = sum_of_squares("straight")
    size = {"jvp": 30, "vjp": 4}[product]
    setattr(objective, product, lambda _x, _v: np.full(size, np.nan))

    result = solve(name, objective, tr_solver="lsmr")

    assert result.status is Status.NONFINITE
    assert "a product with the Jacobian is not finite" in result.message
    assert result.loss == objective.f(objective.x0)
