"""L-BFGS as a whole, against SciPy's L-BFGS-B."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest
import scipy.optimize
from native_losses import PROBLEMS, make_logistic, make_quadratic, rosenbrock

from kormos_core import Status
from kormos_core.compare.classic import CLASSIC
from kormos_core.errors import UnsupportedError
from kormos_core.loop import RUNNING
from kormos_core.objective import FunctionObjective
from kormos_native.lbfgs import LBFGS
from kormos_native.settings import quasi_newton

pytestmark = pytest.mark.backends("tensorflow", "torch")

ops = keras.ops

TIGHT = {"gtol": 1e-7, "ftol": 0.0}

# well-behaved ones; in others both wander, and rounding decides about the counts
CLASSIC_NUMBERS = (1, 7, 12, 15, 19, 26)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_minimum_is_that_of_scipy(solve, scipy_solve, name):
    fun, x0 = PROBLEMS[name]

    result = solve(fun, x0, options=TIGHT)
    expected = scipy_solve(fun, x0, **TIGHT)

    # losses agree to the square of what the gradients' tolerance leaves
    assert result.status in {Status.GRAD_TOL, Status.STAGNATED}
    assert result.loss == pytest.approx(expected.fun, rel=1e-12, abs=1e-12)
    assert result.grad_norm < 1e-6
    np.testing.assert_allclose(result.x, expected.x, atol=1e-5)


def test_evaluations_are_no_more_than_those_of_scipy_on_classical_functions(solve, scipy_solve):
    ours, theirs = 0, 0
    for function in CLASSIC:
        if function.number in CLASSIC_NUMBERS:
            x0 = np.array(function.x0)
            result = solve(function, x0, options={"ftol": 1e-12, "gtol": 1e-9})
            expected = scipy_solve(function, x0, ftol=1e-12, gtol=1e-9)

            ours, theirs = ours + result.fg_evals, theirs + expected.nfev
            best = min(function.minima, key=lambda f, at=expected.fun: abs(f - at))
            assert result.loss == pytest.approx(best, rel=1e-8, abs=1e-10), function.name

    assert ours <= 1.1 * theirs


@pytest.mark.parametrize("name", ["round", "logistic"])
def test_an_iteration_takes_about_one_evaluation(solve, name):
    result = solve(*PROBLEMS[name], options={"gtol": 1e-8, "ftol": 0.0})

    assert result.num_iterations >= 10
    assert result.fg_evals <= 1.1 * result.num_iterations + 2


@pytest.fixture(scope="module")
def least():
    """Return the least loss of the logistic regression; one solve serves: tracing costs."""
    bound = 1e-12  # the square of what this leaves of the gradient is far below any rounding
    objective = FunctionObjective(make_logistic("float64"), 20)
    solved = scipy.optimize.minimize(
        objective.value_and_grad, np.zeros(20), jac=True, options={"gtol": bound}
    )
    return solved.fun


@pytest.mark.parametrize("options", [{}, {"ftol": 0.0, "gtol": 1e-12}])
def test_a_loss_in_float32_ends_at_its_precision(solve, least, options):
    result = solve(make_logistic("float32"), np.zeros(20), options=options)

    assert result.status in {Status.GRAD_TOL, Status.F_TOL, Status.STAGNATED}
    assert result.fg_evals < 60
    # a few roundings of float32 above the minimum, no more
    assert result.loss == pytest.approx(least, rel=1e-6)
    value = make_logistic("float64")(ops.convert_to_tensor(result.x))
    assert float(value) == pytest.approx(least, rel=1e-6)


def test_a_gradient_of_zero_at_the_start_needs_no_iteration(solve):
    result = solve(rosenbrock, np.ones(4))

    assert result.status is Status.GRAD_TOL
    assert (result.num_iterations, result.fg_evals) == (0, 1)


def test_a_loss_that_is_not_finite_at_the_start_ends_the_solve(solve):
    result = solve(lambda x: ops.log(ops.sum(x)), -np.ones(3))

    assert result.status is Status.NONFINITE
    assert result.num_iterations == 0
    assert result.raw["num_fg"] == 1


def test_a_gradient_of_the_wrong_sign_fails_in_the_line_search(solve):
    def wrong(x):
        square = ops.sum(x * x)
        return 2 * ops.stop_gradient(square) - square

    result = solve(wrong, np.ones(3))

    assert result.status is Status.LINESEARCH_FAILED
    assert result.num_iterations == 0
    np.testing.assert_array_equal(result.x, np.ones(3))


def test_roundings_of_a_large_constant_end_the_solve_as_stagnated(solve):
    # the constant leaves no digit of the loss near its minimum
    result = solve(make_quadratic(10, shift=1e12), np.full(20, 2.0), options={"ftol": 0.0})

    assert result.status in {Status.GRAD_TOL, Status.STAGNATED}
    assert result.fg_evals < 100
    np.testing.assert_allclose(result.x, np.linspace(-1, 1, 20), atol=1e-2)


def test_the_evaluation_limit_ends_the_solve_with_the_best_point(solve):
    result = solve(rosenbrock, [-1.2, 1.0], options={"maxfun": 10})

    assert result.status is Status.MAX_EVALS
    assert result.fg_evals == 10
    assert result.loss < 5


def test_the_iteration_limit_is_kept(solve):
    result = solve(rosenbrock, [-1.2, 1.0], maxiter=5)

    assert result.status is Status.MAX_ITER
    assert result.num_iterations == 5


@pytest.mark.parametrize("tolerance", [{"tol": 1e-2}, {"options": {"gtol": 1e-2, "ftol": 1e-2}}])
def test_a_general_tolerance_sets_those_left_at_their_defaults(solve, tolerance):
    result = solve(make_quadratic(100), np.full(20, 2.0), **tolerance)

    assert result.status in {Status.GRAD_TOL, Status.F_TOL}
    assert 1 <= result.num_iterations < 20


def test_a_tolerance_that_is_given_stands_beside_the_general_one():
    method = quasi_newton(LBFGS(tol=1e-2, gtol=1e-9), weak=False)

    assert (method.ftol, method.gtol) == (1e-2, 1e-9)


def test_a_step_that_was_cut_short_is_no_sign_of_convergence(solve):
    # a wall lies so close before the start that all steps that are finite change next to
    # nothing of the loss
    def walled(x):
        return ops.sum(x) + ops.sum(ops.where(x < 1.0, ops.log(x - 1.0), 0.0))

    result = solve(walled, [1.0 + 1e-9])

    assert result.status is Status.LINESEARCH_FAILED


@pytest.mark.backends("tensorflow")
def test_xla_makes_the_same_iterations(solve):
    plain = solve(rosenbrock, np.tile([-1.2, 1.0], 2))
    compiled = solve(rosenbrock, np.tile([-1.2, 1.0], 2), jit_compile=True)

    assert compiled.status is plain.status
    assert compiled.num_iterations == pytest.approx(plain.num_iterations, abs=2)
    assert compiled.loss == pytest.approx(plain.loss, abs=1e-8)


class _Analytic:
    """Half of the squares of ``x - 1`` with weights (`GraphObjective`)."""

    size, epsilon = 6, 2.2e-16

    def value_and_grad(self, x):
        g = ops.convert_to_tensor(np.geomspace(1, 100, self.size)) * (x - 1.0)
        return 0.5 * ops.sum(g * (x - 1.0)), g


def _advance(state, ticks):
    method = quasi_newton(LBFGS(maxcor=3, gtol=1e-8), weak=False)
    for _ in range(ticks):
        if int(state["status"]) == RUNNING:
            state = method.advance(_Analytic(), state)
    return {name: np.array(value) for name, value in state.items()}


def _as_tensors(state):
    return {name: ops.convert_to_tensor(value) for name, value in state.items()}


def test_the_state_is_all_that_it_takes_to_go_on():
    start = quasi_newton(LBFGS(maxcor=3), weak=False).init(np.full(6, 3.0), None)

    once = _advance(_as_tensors(start), 12)
    twice = _advance(_as_tensors(_advance(_as_tensors(start), 5)), 7)

    for name, value in start.items():
        np.testing.assert_array_equal(twice[name], once[name])
        assert (once[name].shape, once[name].dtype) == (value.shape, value.dtype)


def test_equal_options_make_equal_loops():
    loops = {quasi_newton(LBFGS(maxcor=m), weak=False) for m in (5, 5, 6)}

    assert len(loops) == 2


def test_options_do_not_change():
    solver = LBFGS()

    with pytest.raises(FrozenInstanceError, match="maxcor"):
        solver.maxcor = 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maxcor": 0}, r"maxcor=0 of LBFGS is not usable.*whole number, 1 or above"),
        ({"ftol": -1.0}, "ftol=-1.0 of LBFGS is not usable"),
        ({"gtol": float("nan")}, "gtol=nan of LBFGS is not usable"),
        ({"maxfun": 2.5}, "maxfun=2.5 of LBFGS is not usable"),
        ({"maxls": 0}, "maxls=0 of LBFGS is not usable"),
        ({"c1": 0.5, "c2": 0.1}, r"c1=0.5, c2=0.1 of LBFGS contradict.*0 < c1 < c2 < 1"),
        ({"c2": 1.0}, r"c2=1.0 of LBFGS contradict"),
        ({"tol": -1}, "tol=-1 of LBFGS is not usable"),
    ],
)
def test_an_option_that_is_not_usable_is_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        LBFGS(**options)
