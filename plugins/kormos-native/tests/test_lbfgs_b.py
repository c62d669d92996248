"""L-BFGS with bounds, against SciPy's L-BFGS-B."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.optimize
from native_losses import make_logistic, make_quadratic, rosenbrock

from kormos_core import Bounds, Status
from kormos_core.compare.classic import CLASSIC
from kormos_core.errors import UnsupportedError
from kormos_native.lbfgs_b import LBFGSB
from kormos_native.settings import quasi_newton

pytestmark = pytest.mark.backends("tensorflow", "torch")

ops = keras.ops

TIGHT = {"gtol": 1e-8, "ftol": 0.0}

# name: function, start, lower and upper bounds
PROBLEMS = {
    "valley": (rosenbrock, np.tile([-1.2, 1.0], 5), -2.0, 0.5),
    "corner": (rosenbrock, np.full(4, 3.0), 1.5, np.inf),
    "long": (make_quadratic(1e3), np.zeros(20), -0.3, 0.4),
    "logistic": (make_logistic(), np.zeros(20), 0.0, np.inf),
    "below": (make_quadratic(10, shift=-100.0), np.full(20, -1.0), -np.inf, 0.1),
    "loose": (make_quadratic(10), np.zeros(20), -50.0, 50.0),
}


def as_pairs(lower, upper, n):
    return list(zip(np.broadcast_to(lower, n), np.broadcast_to(upper, n), strict=True))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_minimum_in_a_box_is_that_of_scipy(solve, scipy_solve, name):
    fun, x0, lower, upper = PROBLEMS[name]
    bounds = as_pairs(lower, upper, x0.size)

    result = solve(fun, x0, name="lbfgs-b", bounds=bounds, options=TIGHT)
    expected = scipy_solve(fun, x0, bounds=bounds, **TIGHT)

    assert result.status in {Status.GRAD_TOL, Status.STAGNATED}
    assert result.loss == pytest.approx(expected.fun, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(result.x, expected.x, atol=1e-5)
    assert (result.x >= lower).all()
    assert (result.x <= upper).all()
    # parameters at a bound are exactly there
    np.testing.assert_array_equal(result.x == lower, expected.x == lower)
    np.testing.assert_array_equal(result.x == upper, expected.x == upper)


def test_nonnegative_least_squares_are_those_of_lawson_and_hanson(solve):
    rng = np.random.default_rng(0)
    matrix, right = rng.normal(size=(60, 20)), rng.normal(size=60)
    a, b = ops.convert_to_tensor(matrix), ops.convert_to_tensor(right)

    result = solve(
        lambda x: 0.5 * ops.sum((ops.matmul(a, x) - b) ** 2),
        np.ones(20),
        name="lbfgs-b",
        bounds=(0, np.inf),
        options=TIGHT,
    )

    expected, norm = scipy.optimize.nnls(matrix, right)
    assert 0 < (expected == 0).sum() < 20
    np.testing.assert_allclose(result.x, expected, atol=1e-7)
    np.testing.assert_array_equal(result.x == 0, expected == 0)
    assert result.loss == pytest.approx(0.5 * norm**2, rel=1e-12)


def test_evaluations_are_about_those_of_scipy_on_classical_functions(solve, scipy_solve):
    ours, theirs = 0, 0
    for function in CLASSIC:
        if function.number in {11, 21, 29, 30}:
            x0 = np.array(function.x0)
            size = np.maximum(np.abs(x0), 0.5)
            down, up = np.random.default_rng(function.number).uniform(0, 0.5, size=(2, x0.size))
            bounds = as_pairs(x0 - size * down, x0 + size * up, x0.size)
            result = solve(function, x0, name="lbfgs-b", bounds=bounds)
            expected = scipy_solve(function, x0, bounds=bounds)

            ours, theirs = ours + result.fg_evals, theirs + expected.nfev
            assert result.loss == pytest.approx(expected.fun, rel=1e-6, abs=1e-6), function.name

    assert ours <= 1.3 * theirs


class _Recording:
    """The extended Rosenbrock function; refuses points outside its box (`GraphObjective`)."""

    size, epsilon = 4, 2.2e-16

    def __init__(self, bounds):
        self.bounds = bounds
        self.num_at_bounds = 0

    def value_and_grad(self, x):
        at = np.array(x)
        assert (at >= self.bounds.lower).all()
        assert (at <= self.bounds.upper).all()
        self.num_at_bounds += bool((at == self.bounds.lower).any())
        return (
            ops.convert_to_tensor(np.asarray(scipy.optimize.rosen(at))),
            ops.convert_to_tensor(scipy.optimize.rosen_der(at)),
        )


def test_every_point_that_is_evaluated_lies_in_the_box():
    # bounds that no product with a step hits by chance
    bounds = Bounds(np.array([-1.3, -np.inf, 0.1, 0.3]), np.array([0.7, 0.7, 0.1, np.inf]))
    method = quasi_newton(LBFGSB(), weak=True)
    graph = _Recording(bounds)
    start = method.init(np.array([-1.2, 0.5, 0.1, 1.0]), bounds)
    state = {name: ops.convert_to_tensor(value) for name, value in start.items()}

    while int(state["status"]) == 0:
        state = method.advance(graph, state)

    assert graph.num_at_bounds > 1
    assert {name: np.array(value).dtype for name, value in state.items()} == {
        name: value.dtype for name, value in start.items()
    }


def test_a_start_where_the_box_holds_every_parameter_needs_no_iteration(solve):
    result = solve(ops.sum, np.zeros(3), name="lbfgs-b", bounds=(0, 1))

    assert result.status is Status.GRAD_TOL
    assert (result.num_iterations, result.fg_evals) == (0, 1)


def test_a_minimum_in_a_corner_is_reached_exactly(solve):
    result = solve(ops.sum, np.full(3, 0.5), name="lbfgs-b", bounds=(0, 1))

    assert result.status is Status.GRAD_TOL
    np.testing.assert_array_equal(result.x, np.zeros(3))


def test_without_bounds_the_minimum_is_that_of_the_whole_space(solve):
    result = solve(rosenbrock, np.tile([-1.2, 1.0], 2), name="lbfgs-b", options=TIGHT)

    np.testing.assert_allclose(result.x, np.ones(4), atol=1e-6)


def test_an_option_that_is_not_usable_is_refused():
    with pytest.raises(UnsupportedError, match="maxcor=0 of LBFGSB is not usable"):
        LBFGSB(maxcor=0)
