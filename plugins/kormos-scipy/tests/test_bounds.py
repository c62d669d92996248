"""Bounds: never violated, not even in a line search, and kept at the end."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from kormos_core import Status
from kormos_core.errors import BoundsError, UnsupportedError
from kormos_scipy.specs import SPECS

BOUNDED = [name for name in SPECS if "bounds" in SPECS[name].supports]
UNBOUNDED = [name for name in SPECS if "bounds" not in SPECS[name].supports]

# Direct searches may stall where the box flattens their simplex or their directions; the
# rest is what the default tolerances leave.
LEFT = {"nelder-mead": np.inf, "powell": np.inf, "cobyla": 1e-4, "slsqp": 1e-5}

INF = np.inf
BOXES = {
    "one active": ("round", [[-0.5] * 4, [3.0] * 4], None),
    "starts on the upper bounds": ("round", [[-0.5] * 4, [2.0] * 4], None),
    "one-sided": ("round", [[-0.2, -INF, -INF, -0.1], [INF] * 4], None),
    "two fixed": ("round", [[-0.5, 2.0, -0.5, 2.0], [3.0, 2.0, 3.0, 2.0]], None),
    "bent": ("rosenbrock", [[-1, -1, -1], [0.5, 2, 2]], [0.3, 0.2, 0.1]),
    "starts in a corner": ("rosenbrock", [[-1, -1, 0], [0.5, 2, 2]], [-1, -1, 0]),
    "nonnegative from zero": ("logistic", [[0.0] * 4, [INF] * 4], None),
    "all active": ("logistic", [[0, 0, -1, -1], [0.1, 0.1, 0.1, 0.5]], None),
    "wide": ("round", [[1e-3] * 4, [1e3] * 4], None),
    "negative losses": ("negative", [[-0.5] * 4, [3.0] * 4], None),
}


@pytest.fixture
def boxed(build):
    def build_boxed(box):
        problem, bounds, x0 = BOXES[box]
        return build(problem, bounds=bounds, **({} if x0 is None else {"x0": x0}))

    return build_boxed


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_kept_and_the_minimum_in_them_is_found(name, box, boxed, solve):
    objective = boxed(box)
    lower, upper = objective.bounds.lower, objective.bounds.upper
    best = scipy.optimize.minimize(
        objective.f,
        objective.x0,
        jac=objective.g,
        method="l-bfgs-b",
        bounds=scipy.optimize.Bounds(lower, upper),
        options={"ftol": 1e-15, "gtol": 1e-10},
    )

    result = solve(name, objective)

    for x in [*objective.iterates, result.x]:
        assert (lower <= x).all()
        assert (x <= upper).all()
    assert result.loss == objective.f(result.x) <= objective.f(objective.x0)
    assert result.loss - best.fun <= LEFT.get(name, 1e-7) * (1 + abs(best.fun))


@pytest.mark.parametrize("box", ["one active", "bent", "all active"])
@pytest.mark.parametrize("name", ["nelder-mead", "powell"])
def test_a_direct_search_is_no_worse_than_scipy_itself(name, box, boxed, solve):
    objective = boxed(box)
    reference = scipy.optimize.minimize(
        objective.f,
        objective.x0,
        method=name,
        bounds=scipy.optimize.Bounds(objective.bounds.lower, objective.bounds.upper),
    )

    result = solve(name, objective)

    assert result.loss <= reference.fun


def test_powell_returns_its_best_point_where_it_ends_above_it(boxed, solve):
    # SciPy's bounded line search ends above the start here, and calls that convergence
    objective = boxed("bent")

    result = solve("powell", objective)

    assert result.raw.success
    assert result.raw.fun > objective.f(objective.x0) == result.loss
    np.testing.assert_array_equal(result.x, objective.x0)
    assert result.status is Status.STAGNATED


@pytest.mark.parametrize("name", BOUNDED)
def test_fixed_parameters_stay_and_the_callback_sees_all(name, boxed, solve):
    objective = boxed("two fixed")

    result = solve(name, objective)

    assert all(x.shape == (4,) for x in objective.iterates)
    for x in [*objective.iterates, result.x]:
        np.testing.assert_array_equal(x[[1, 3]], [2.0, 2.0])


@pytest.mark.parametrize("name", BOUNDED)
def test_nothing_is_solved_where_all_parameters_are_fixed(name, build, solve):
    objective = build("round", bounds=[[2.0] * 4, [2.0] * 4])

    result = solve(name, objective)

    assert result.status is Status.GRAD_TOL
    assert "Every parameter is fixed" in result.message
    assert result.loss == objective.f(objective.x0)
    assert (result.num_iterations, objective.counts.fg, result.raw) == (0, 1, None)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_closer_than_rounding_do_no_harm(name, build, solve):
    lower, upper = np.full(4, -0.5), np.full(4, 3.0)
    lower[1], upper[1] = 2.0, 2.0 + 1e-15

    result = solve(name, build("round", bounds=[lower, upper]))

    assert result.x.shape == (4,)
    assert result.x[1] == pytest.approx(2.0, abs=1e-14)


@pytest.mark.parametrize("name", BOUNDED)
def test_infinite_bounds_are_none(name, build, solve):
    free, boxed = build("round"), build("round", bounds=[[-INF] * 4, [INF] * 4])

    assert solve(name, boxed).x.tobytes() == solve(name, free).x.tobytes()


def test_trust_constr_does_not_stop_at_a_bound_it_should_leave(boxed, solve):
    # SciPy's own test of optimality, which knows no signs, is content with this start
    objective = boxed("nonnegative from zero")

    result = solve("trust-constr", objective)

    assert result.num_iterations > 3
    assert result.status is Status.GRAD_TOL
    step = result.x - np.clip(result.x - objective.g(result.x), 0, INF)
    assert np.abs(step).max() < 1e-7  # barrier_tol over a multiplier of 0.1


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_method_without_bounds_refuses_them(name, build, solve):
    objective = build("round", bounds=[[-1.0] * 4, [3.0] * 4])

    with pytest.raises(UnsupportedError, match=rf"scipy:{name} does not honor bounds.*l-bfgs-b"):
        solve(name, objective)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([[-1.0] * 3, [3.0] * 3], r"shapes \(3,\) and \(3,\) do not fit 4 parameters"),
        ([[5.0] * 4, [3.0] * 4], r"bounds of parameter 0 are \[5.0, 3.0\]"),
        ([[np.nan] * 4, [3.0] * 4], r"bounds of parameter 0 are \[nan, 3.0\]"),
        ([[-1.0] * 4, [1.5] * 4], r"parameter 0 starts at 2.0, outside its bounds \[-1.0, 1.5\]"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(bounds, message, build, solve):
    with pytest.raises(BoundsError, match=message):
        solve("l-bfgs-b", build("round", bounds=bounds))


def test_a_start_outside_by_single_precision_is_on_the_bound(build, solve):
    upper = float(np.float32(0.1))  # 0.10000000149
    objective = build("logistic", x0=[upper] * 4, bounds=[[-1.0] * 4, [0.1] * 4])

    result = solve("l-bfgs-b", objective)

    assert result.x.max() == 0.1
