"""Bounds of sums of squares: kept at every evaluation, as SciPy itself does."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_scipy.least_squares_specs import LEAST_SQUARES

TRUST_REGION = [name for name, spec in LEAST_SQUARES.items() if "bounds" in spec.supports]

INF = np.inf
BOXES = {
    "one active": ("straight", [[-5.0] * 4, [0.5, 5.0, 5.0, 5.0]], None),
    "all active": ("straight", [[-0.5] * 4, [0.5] * 4], None),
    "none active": ("decay", [[0.0] * 3, [9.0] * 3], [1.0, 0.5, 0.1]),
    "one-sided": ("decay", [[0.0, -INF, 0.6], [INF] * 3], [1.0, 0.5, 0.7]),
    "starts on bounds": ("decay", [[1.0, 0.5, -1.0], [3.0, 3.0, 0.2]], [1.0, 0.5, 0.2]),
    "starts in a corner it keeps": ("straight", [[-1.0] * 4, [0.0] * 4], None),
    "bent": ("bent", [[-2.0, -INF], [0.5, 0.2]], [-1.2, 0.1]),
}


@pytest.fixture
def boxed(sum_of_squares):
    def build_boxed(box):
        problem, bounds, x0 = BOXES[box]
        return sum_of_squares(problem, bounds=bounds, **({} if x0 is None else {"x0": x0}))

    return build_boxed


@pytest.mark.parametrize("lsmr", [False, True], ids=["exact", "lsmr"])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_solve_in_a_box_ends_where_scipy_itself_does(
    name, box, lsmr, boxed, solve, scipy_result
):
    objective = boxed(box)
    reference = scipy_result(name, objective, lsmr=lsmr)

    result = solve(name, objective, tr_solver="lsmr" if lsmr else "exact")

    np.testing.assert_allclose(result.x, reference.x, rtol=1e-12, atol=1e-15)
    assert result.raw.nfev == reference.nfev
    assert result.num_iterations == reference.njev - 1


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", TRUST_REGION)
def test_bounds_are_kept_and_the_minimum_in_them_is_found(name, box, boxed, solve):
    objective = boxed(box)
    lower, upper = objective.bounds.lower, objective.bounds.upper
    best = scipy.optimize.minimize(
        objective.f,
        objective.x0,
        jac=objective.g,
        method="l-bfgs-b",
        bounds=scipy.optimize.Bounds(lower, upper),
        options={"ftol": 1e-15, "gtol": 1e-12},
    )

    result = solve(name, objective)

    for x in [*objective.iterates, result.x]:
        assert (lower <= x).all()
        assert (x <= upper).all()
    # ftol leaves 1e-8 of the loss, the interior some more at its bounds
    assert result.loss - best.fun <= 1e-6 * (1 + abs(best.fun))
    assert result.converged


@pytest.mark.parametrize("name", TRUST_REGION)
@pytest.mark.parametrize("options", [{}, {"tr_solver": "lsmr"}, {"loss": "soft_l1"}])
def test_fixed_parameters_stay_and_are_left_out(name, options, sum_of_squares, solve):
    lower, upper = [-9.0, 1.5, -9.0, 0.5], [9.0, 1.5, 9.0, 0.5]
    objective = sum_of_squares("straight", x0=[0, 1.5, 0, 0.5], bounds=[lower, upper])
    free = sum_of_squares("straight")
    inner = sum_of_squares(
        "straight",
        r=lambda z: free.r(np.array([z[0], 1.5, z[1], 0.5])),
        j=lambda z: free.j(z)[:, [0, 2]],
        x0=np.zeros(2),
        bounds=[[-9.0, -9.0], [9.0, 9.0]],
    )
    reference = solve(name, inner, **options)

    result = solve(name, objective, **options)

    assert all((x[[1, 3]] == [1.5, 0.5]).all() for x in objective.iterates)
    np.testing.assert_allclose(result.x[[0, 2]], reference.x, rtol=1e-12)
    assert result.raw.nfev == reference.raw.nfev
    assert result.raw.x.shape == (2,)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_scale_of_all_parameters_is_reduced_to_the_free_ones(name, sum_of_squares, solve):
    lower, upper = [-9.0, 1.5, -9.0, -9.0], [9.0, 1.5, 9.0, 9.0]
    objective = sum_of_squares("straight", x0=[0, 1.5, 0, 0], bounds=[lower, upper])

    result = solve(name, objective, x_scale=[1.0, 2.0, 3.0, 4.0])

    assert result.status is Status.GRAD_TOL
    assert result.x[1] == 1.5


@pytest.mark.parametrize("name", TRUST_REGION)
def test_nothing_is_solved_where_all_parameters_are_fixed(name, sum_of_squares, solve):
    objective = sum_of_squares("decay", bounds=[[1.0, 0.5, 0.0], [1.0, 0.5, 0.0]])

    result = solve(name, objective)

    assert result.status is Status.GRAD_TOL
    assert "Every parameter is fixed" in result.message
    assert result.loss == objective.f(objective.x0)
    assert (result.num_iterations, objective.counts.fg, result.raw) == (0, 1, None)
    assert objective.counts.hvp == 0


@pytest.mark.parametrize("name", TRUST_REGION)
def test_bounds_closer_than_rounding_do_no_harm(name, sum_of_squares, solve):
    lower, upper = np.full(4, -9.0), np.full(4, 9.0)
    lower[1], upper[1] = 2.0, 2.0 + 1e-15

    result = solve(name, sum_of_squares("straight", x0=[0, 2, 0, 0], bounds=[lower, upper]))

    assert result.converged
    assert result.x[1] == pytest.approx(2.0, abs=1e-14)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_narrow_interval_is_kept(name, sum_of_squares, solve, scipy_result):
    # narrower than what SciPy moves a start off its bounds
    lower, upper = np.full(4, -9.0), np.full(4, 9.0)
    lower[1], upper[1] = 2.0, 2.0 + 1e-11
    objective = sum_of_squares("straight", x0=[0, 2, 0, 0], bounds=[lower, upper])
    reference = scipy_result(name, objective)

    result = solve(name, objective)

    np.testing.assert_allclose(result.x, reference.x, rtol=1e-12)
    assert result.raw.nfev == reference.nfev


@pytest.mark.parametrize("name", TRUST_REGION)
def test_infinite_bounds_are_none(name, sum_of_squares, solve):
    free = sum_of_squares("decay")
    endless = sum_of_squares("decay", bounds=[[-INF] * 3, [INF] * 3])

    assert solve(name, endless).x.tobytes() == solve(name, free).x.tobytes()


def test_a_start_that_is_moved_off_its_bound_is_no_iterate(sum_of_squares, solve):
    minimum = np.linalg.lstsq(
        sum_of_squares("straight").j(0), -sum_of_squares("straight").r(np.zeros(4)), rcond=None
    )[0]
    upper = minimum + np.array([0.0, 5.0, 5.0, 5.0])
    objective = sum_of_squares("straight", x0=minimum, bounds=[upper - 9.0, upper])

    result = solve("least-squares-trf", objective)

    assert result.num_iterations == len(objective.iterates) == 0
    np.testing.assert_array_equal(result.x, minimum)
    assert result.loss == objective.f(minimum)
    assert result.status is Status.GRAD_TOL


def test_lm_refuses_bounds_and_names_who_takes_them(sum_of_squares, solve):
    objective = sum_of_squares("decay", bounds=[[0.0] * 3, [9.0] * 3])
    message = r"scipy:least-squares-lm does not honor bounds.* least-squares-trf, least-.*-dogbox"

    with pytest.raises(UnsupportedError, match=message):
        solve("least-squares-lm", objective)


@pytest.mark.parametrize("name", [*TRUST_REGION, "least-squares-lm"])
def test_constraints_are_refused(name, sum_of_squares, solve):
    plane = scipy.optimize.LinearConstraint(np.ones((1, 3)), 1.0, 1.0)

    with pytest.raises(UnsupportedError, match=r"does not honor constraints.* Leave them out\."):
        solve(name, sum_of_squares("decay", constraints=[plane]))
