"""NaN and infinities: recovered from where the method can, told where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from kormos_core import Status
from kormos_scipy.evaluation import Evaluator
from kormos_scipy.points import Breakdown
from kormos_scipy.space import Space
from kormos_scipy.specs import SPECS

TOLERANT = [name for name in SPECS if SPECS[name].tolerates_nonfinite]
OTHERS = [name for name in SPECS if not SPECS[name].tolerates_nonfinite]
GRADIENT = [name for name in SPECS if "grad" in SPECS[name].needs]


def behind_a_wall(build, bad, x0=(3.9, 1.0)):
    """x + 1/x - 2 in each parameter, `bad` for a parameter below 0.95; the minimum is at 1."""

    def f(x):
        if (x < 0.95).any():
            objective.num_bad += 1
            return bad
        return float((x + 1 / x - 2).sum())

    def g(x):
        return np.full_like(x, np.nan) if (x < 0.95).any() else 1 - 1 / x**2

    def h(x):
        return np.full((2, 2), np.nan) if (x < 0.95).any() else np.diag(2 / x**3)

    objective = build("round", f=f, g=g, h=h, x0=x0, minimum=0.0)
    objective.num_bad = 0
    return objective


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", TOLERANT)
def test_a_tolerant_method_finds_its_way_around_a_wall(name, bad, build, solve):
    # a trust region of radius 1, then 2, leads to 2.9 and then to 0.9
    objective = behind_a_wall(build, bad)

    result = solve(name, objective)

    assert objective.num_bad > 0
    assert result.converged
    assert result.loss < 1e-3  # COBYLA and its linear models
    assert np.isfinite(objective.iterates).all()


@pytest.mark.parametrize("name", SPECS)
def test_a_start_that_is_not_finite_ends_at_once(name, build, solve):
    objective = behind_a_wall(build, np.nan, x0=(0.1, 1.0))

    result = solve(name, objective)

    assert result.status is Status.NONFINITE
    assert "After iteration 0 the loss is nan" in result.message
    assert np.isnan(result.loss)
    assert objective.counts.fg == 1
    np.testing.assert_array_equal(result.x, objective.x0)


@pytest.mark.parametrize("name", OTHERS)
def test_another_method_ends_at_the_last_accepted_point(name, build, solve):
    objective = build("valley")
    rosen = objective.f
    objective.f = lambda x: rosen(x) if objective.counts.fg < 9 else np.nan

    result = solve(name, objective)

    accepted = [objective.x0, *objective.iterates]
    assert result.status is Status.NONFINITE
    assert f"After iteration {result.num_iterations} the loss is nan" in result.message
    np.testing.assert_array_equal(result.x, accepted[-1])


@pytest.mark.parametrize("name", GRADIENT)
def test_a_gradient_with_nan_is_found_beside_a_finite_loss(name, build, solve):
    objective = build("valley", g=lambda x: np.array([1.0, np.nan]))

    result = solve(name, objective)

    assert result.status is Status.NONFINITE
    assert "the gradient has NaN" in result.message


@pytest.mark.parametrize(
    "name", [name for name in SPECS if {"hvp", "hessian"} & SPECS[name].needs]
)
def test_a_hessian_with_nan_ends_the_solve(name, build, solve):
    objective = build("valley", h=lambda x: np.full((2, 2), np.nan))

    result = solve(name, objective)

    assert result.status is Status.NONFINITE
    assert "the Hessian has NaN" in result.message
    assert result.loss == objective.f(objective.x0)


def test_a_loss_that_is_not_finite_is_told_where_all_parameters_are_fixed(build, solve):
    objective = build("round", f=lambda x: np.nan, bounds=[[2.0] * 4, [2.0] * 4])

    result = solve("l-bfgs-b", objective)

    assert result.status is Status.NONFINITE


@pytest.mark.parametrize(("bad", "status"), [(np.nan, "STAGNATED"), (np.inf, "NONFINITE")])
def test_a_step_of_scipy_that_is_not_finite_is_never_evaluated(bad, status, build, solve):
    objective = build("round")
    evaluator = Evaluator(
        objective, Space(objective.x0), with_grad=True, tolerant=True, extends=False
    )

    with pytest.raises(Breakdown, match="SciPy's trial point has") as caught:
        evaluator.value(np.full(4, bad))
    with pytest.raises(Breakdown, match="SciPy's direction has"):
        evaluator.product(objective.x0, np.full(4, bad))

    assert caught.value.status is Status[status]
    assert objective.counts.fg == objective.counts.hvp == 0
