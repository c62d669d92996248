"""Robust losses: SciPy's own where all residuals have one scale, weighed where they do not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from kormos_core import LeastSquaresObjective
from kormos_core.errors import UnsupportedError
from kormos_scipy.least_squares_specs import LEAST_SQUARES
from kormos_scipy.robust import RobustObjective
from kormos_scipy.robust_losses import ROBUST_LOSSES, RobustLoss

TRUST_REGION = [name for name, spec in LEAST_SQUARES.items() if "bounds" in spec.supports]

# rho of a squared residual z, as SciPy's documentation has it
RHO = {
    "soft_l1": lambda z: 2 * ((1 + z) ** 0.5 - 1),
    "huber": lambda z: z if z <= 1 else 2 * z**0.5 - 1,
    "cauchy": lambda z: np.log(1 + z),
    "arctan": np.arctan,
}


def brute_cost(objective, loss, f_scale, x):
    """Sum the cost residual by residual: raw over f_scale, weighed by the squared scale."""
    total = 0.0
    for raw, s in zip(objective.r(x), objective.scale, strict=True):
        total += 0.5 * (s * f_scale) ** 2 * RHO[loss]((raw / f_scale) ** 2)
    return total


def difference(f, x, step=1e-6):
    return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(x.size)])


@pytest.fixture
def wrap(sum_of_squares):
    def wrap_problem(problem, loss="soft_l1", f_scale=0.1):
        inner = sum_of_squares(problem)
        return inner, RobustObjective(inner, loss=loss, f_scale=f_scale)

    return wrap_problem


@pytest.mark.parametrize("scale", [1.0, 0.7])
@pytest.mark.parametrize("loss", ROBUST_LOSSES)
@pytest.mark.parametrize("name", TRUST_REGION)
def test_one_scale_for_all_is_scipys_own_loss(
    name, loss, scale, sum_of_squares, solve, scipy_result
):
    objective = sum_of_squares("outliers", scale=np.full(25, scale))
    reference = scipy_result(name, objective, loss=loss, f_scale=0.1 * scale)

    result = solve(name, objective, loss=loss, f_scale=0.1)

    # the same steps; squares are divided by squares here, and residuals squared there
    assert result.raw.nfev == reference.nfev
    assert result.raw.status == reference.status
    np.testing.assert_allclose(result.x, reference.x, rtol=1e-7)
    assert result.loss == pytest.approx(reference.cost, rel=1e-12)


@pytest.mark.parametrize("problem", ["outliers", "weighted"])
@pytest.mark.parametrize("loss", ROBUST_LOSSES)
@pytest.mark.parametrize("name", TRUST_REGION)
def test_the_minimum_is_that_of_the_robust_cost(name, loss, problem, sum_of_squares, solve):
    objective = sum_of_squares(problem, x0=[1.8, 1.2, 0.4])
    best = scipy.optimize.minimize(
        lambda x: brute_cost(objective, loss, 0.1, x),
        objective.x0,
        method="nelder-mead",
        options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 5000},
    )
    tight = {"ftol": 1e-13, "xtol": 1e-13, "gtol": 1e-13}

    result = solve(name, objective, loss=loss, f_scale=0.1, **tight)

    assert result.loss == pytest.approx(brute_cost(objective, loss, 0.1, result.x), rel=1e-12)
    assert result.loss == pytest.approx(best.fun, rel=1e-9)
    np.testing.assert_allclose(result.x, best.x, rtol=1e-4)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_products_find_the_minimum_of_the_robust_cost_too(name, sum_of_squares, solve):
    options = {"loss": "huber", "f_scale": 0.1}
    exact = solve(name, sum_of_squares("weighted"), tr_solver="exact", **options)

    lsmr = solve(name, sum_of_squares("weighted"), tr_solver="lsmr", **options)

    assert lsmr.loss == pytest.approx(exact.loss, rel=1e-6)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_outliers_count_less(name, sum_of_squares, solve):
    truth = [2.0, 1.3, 0.5]

    squares = solve(name, sum_of_squares("outliers"))
    robust = solve(name, sum_of_squares("outliers"), loss="cauchy", f_scale=0.05)

    assert np.abs(squares.x - truth).max() > 0.3
    assert np.abs(robust.x - truth).max() < 0.05


@pytest.mark.parametrize("loss", ROBUST_LOSSES)
def test_an_outlier_is_one_whatever_its_weight(loss, sum_of_squares, solve):
    # every sample three times is every sample with three times the weight
    objective = sum_of_squares("outliers")
    thrice = sum_of_squares("outliers", scale=np.full(25, np.sqrt(3)))
    tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}

    once = solve("least-squares-trf", objective, loss=loss, f_scale=0.1, **tight)
    weighed = solve("least-squares-trf", thrice, loss=loss, f_scale=0.1, **tight)

    assert weighed.loss == pytest.approx(3 * once.loss, rel=1e-10)


@pytest.mark.parametrize("loss", ROBUST_LOSSES)
def test_derivatives_of_rho_are_its_differences(loss):
    z = np.array([0.0, 0.01, 0.4, 0.9, 1.1, 3.0, 50.0])
    robust = RobustLoss(loss, np.array([1.0, 0.5, 2.0, 1.0, 1.0, 0.3, 1.0]))
    step = 1e-6

    rho, slope, curvature = robust(z)

    # central differences are true to step², and to rounding over step
    np.testing.assert_allclose(
        slope[1:], (robust(z + step)[0] - robust(z - step)[0])[1:] / (2 * step), rtol=1e-6
    )
    np.testing.assert_allclose(
        curvature[1:], (robust(z + step)[1] - robust(z - step)[1])[1:] / (2 * step), atol=1e-7
    )
    assert (rho[0], slope[0]) == (0.0, 1.0)


@pytest.mark.parametrize("loss", ROBUST_LOSSES)
def test_small_residuals_cost_their_squares(loss):
    robust = RobustLoss(loss, np.full(3, 2.0))
    r = np.array([1e-6, -2e-6, 0.0])

    assert robust.cost(r) == pytest.approx(0.5 * r @ r, rel=1e-4)  # 1e-12 less rounding of 1


@pytest.mark.parametrize("loss", ROBUST_LOSSES)
def test_a_residual_without_weight_costs_nothing(loss):
    robust = RobustLoss(loss, np.array([0.0, 1.0]))

    rho, slope, curvature = robust(np.array([0.0, 0.0]))

    assert rho.tolist() == [0.0, 0.0]
    assert slope.tolist() == [1.0, 1.0]
    assert curvature[0] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", ROBUST_LOSSES)
def test_no_cost_of_residuals_that_are_not_finite_is(loss, bad):
    assert not np.isfinite(RobustLoss(loss, np.ones(2)).cost(np.array([1.0, bad])))


@pytest.mark.parametrize("problem", ["outliers", "weighted"])
@pytest.mark.parametrize("loss", ROBUST_LOSSES)
def test_value_and_gradient_are_of_the_robust_cost(loss, problem, wrap):
    inner, robust = wrap(problem, loss)
    x = np.array([1.7, 1.0, 0.3])

    value, grad = robust.value_and_grad(x)

    assert value == robust.value(x) == pytest.approx(brute_cost(inner, loss, 0.1, x), rel=1e-13)
    expected = difference(lambda x: brute_cost(inner, loss, 0.1, x), x)
    # truncation and rounding of central differences with step 1e-6
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-8)


def test_what_is_beneath_passes_through(wrap):
    inner, robust = wrap("weighted")
    x, v, u = np.array([1.7, 1.0, 0.3]), np.arange(3.0), np.arange(25.0)

    assert isinstance(robust, LeastSquaresObjective)
    assert (robust.size, robust.num_residuals) == (3, 25)
    assert robust.bounds is inner.bounds
    assert robust.constraints == ()
    assert robust.counts is inner.counts
    np.testing.assert_array_equal(robust.residual_scale(), inner.scale)
    np.testing.assert_array_equal(robust.residuals(x), inner.residuals(x))
    np.testing.assert_array_equal(robust.jacobian(x), inner.jacobian(x))
    np.testing.assert_array_equal(robust.jvp(x, v), inner.jvp(x, v))
    np.testing.assert_array_equal(robust.vjp(x, u), inner.vjp(x, u))
    np.testing.assert_array_equal(robust.ggn_vp(x, v), inner.ggn_vp(x, v))


def test_a_robust_cost_has_no_hessian(wrap):
    _, robust = wrap("outliers")
    x = np.ones(3)

    with pytest.raises(UnsupportedError, match=r"loss='soft_l1'\) has no Hessian product of 3"):
        robust.hvp(x, x)
    with pytest.raises(UnsupportedError, match=r"has no Hessian of 3 .*Use loss='linear'"):
        robust.hessian(x)


def test_value_and_gradient_are_for_nothing_where_residuals_and_jacobian_are_known(wrap):
    inner, robust = wrap("outliers")
    x = np.array([1.7, 1.0, 0.3])
    _, by_product = RobustObjective(inner, loss="soft_l1", f_scale=0.1).value_and_grad(x)
    before = (inner.counts.fg, inner.counts.hvp)

    robust.residuals(x)
    robust.jacobian(x)
    _, grad = robust.value_and_grad(x)
    robust.value(x)

    assert (inner.counts.fg, inner.counts.hvp) == (before[0] + 2, before[1])
    np.testing.assert_allclose(grad, by_product, rtol=1e-12)


def test_a_gradient_by_itself_costs_residuals_and_a_product(wrap):
    inner, robust = wrap("outliers")
    x = np.array([1.7, 1.0, 0.3])

    robust.value_and_grad(x)
    robust.value_and_grad(x)

    assert (inner.counts.fg, inner.counts.hvp) == (1, 1)


def test_another_point_is_evaluated_anew(wrap):
    inner, robust = wrap("outliers")
    x, other = np.array([1.7, 1.0, 0.3]), np.array([1.6, 1.0, 0.3])
    robust.value_and_grad(x)

    value, grad = robust.value_and_grad(other)

    fresh = RobustObjective(inner, loss="soft_l1", f_scale=0.1)
    assert value == fresh.value(other)
    np.testing.assert_array_equal(grad, fresh.value_and_grad(other)[1])


def test_what_is_returned_is_the_callers_own(wrap):
    _, robust = wrap("outliers")
    x = np.array([1.7, 1.0, 0.3])
    value, grad = robust.value_and_grad(x)
    expected = grad.copy()

    grad.fill(np.nan)
    robust.residuals(x).fill(np.nan)

    assert robust.value(x) == value
    np.testing.assert_array_equal(robust.value_and_grad(x)[1], expected)


def test_residuals_that_are_not_finite_make_value_and_gradient_so(wrap):
    inner, robust = wrap("outliers", "arctan")
    inner.r = lambda _x: np.full(25, np.inf)

    value, grad = robust.value_and_grad(np.ones(3))

    assert value == np.inf
    assert np.isnan(grad).all()


def test_faults_are_diagnosed_by_the_objective_beneath(wrap):
    inner, robust = wrap("outliers")
    silent = robust.diagnose(np.ones(3))
    inner.diagnose = lambda x: f"layer {x.size}"

    assert silent == ""
    assert robust.diagnose(np.ones(3)) == "layer 3"


@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_solver_offers_what_it_minimizes(name, make, sum_of_squares):
    objective = sum_of_squares("weighted")
    x = np.array([1.7, 1.0, 0.3])

    robust = make(name, loss="huber", f_scale=0.1).merit(objective)

    assert make(name).merit(objective) is objective
    assert robust.value(x) == pytest.approx(brute_cost(objective, "huber", 0.1, x), rel=1e-13)


@pytest.mark.parametrize("tr_solver", ["exact", "lsmr"])
@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_solve_of_the_merit_is_a_solve_of_the_objective(
    name, tr_solver, make, sum_of_squares, solve
):
    options = {"loss": "soft_l1", "f_scale": 0.1, "tr_solver": tr_solver}
    direct = solve(name, sum_of_squares("weighted"), **options)
    inner, costs = sum_of_squares("weighted"), []
    merit = make(name, **options).merit(inner)
    fg = []

    def watch(x):
        before = inner.counts.fg
        costs.append(merit.value(x))
        fg.append(inner.counts.fg - before)

    result = make(name, **options).minimize(merit, inner.x0, maxiter=100, callback=watch)

    assert result.x.tobytes() == direct.x.tobytes()
    assert costs[-1] == result.loss == direct.loss
    assert costs == sorted(costs, reverse=True)
    assert set(fg) == {0}
