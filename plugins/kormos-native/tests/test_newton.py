"""What the two truncated Newton methods have in common, as wholes."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest
import scipy.optimize
from native_graphs import Counting, Graph, compiled, run, start
from native_losses import PROBLEMS, make_logistic, make_quadratic, rosenbrock

import kormos
from kormos_core import Status
from kormos_core.compare.classic import CLASSIC
from kormos_core.errors import UnsupportedError
from kormos_core.loop import RUNNING, status_of
from kormos_core.objective import FunctionObjective, floatx_scope
from kormos_native.newton_cg import NewtonCG
from kormos_native.trust_ncg import TrustNCG

pytestmark = pytest.mark.backends("tensorflow", "torch")

ops = keras.ops

METHODS = {"newton-cg": NewtonCG, "trust-ncg": TrustNCG}
every_method = pytest.mark.parametrize("name", METHODS)

# (8), (15), (17) and (23) are not solved by SciPy's own Newton-CG
CLASSIC_NUMBERS = (8, 15, 17, 23, 31)

LOGISTIC = PROBLEMS["logistic"][0]
START = [-1.2, 1.0]


def saddle(x):
    """Two minima of -1/4 at (0, 1) and (0, -1), and a saddle between them."""
    return 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2 + 0.25 * x[1] ** 4


def end_of(state):
    return status_of(state["status"])


# --- minima ------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
@every_method
def test_the_minimum_is_that_of_scipy(name, problem):
    fun, x0 = PROBLEMS[problem]

    last = run(METHODS[name](gtol=1e-8), fun, x0)[-1]
    near = last["x"] + 0.01 * np.cos(np.arange(len(x0)))
    expected = scipy.optimize.minimize(
        FunctionObjective(fun, len(x0)).value_and_grad, near, jac=True, options={"gtol": 1e-8}
    )

    assert end_of(last) is Status.GRAD_TOL
    assert np.abs(last["g"]).max() <= 1e-8
    # gradients of 1e-8 leave gaps of about their square over the least curvature
    assert last["f"] == pytest.approx(expected.fun, rel=1e-13, abs=1e-13)
    np.testing.assert_allclose(last["x"], expected.x, atol=1e-5)


@pytest.mark.parametrize("number", CLASSIC_NUMBERS)
@every_method
def test_classical_functions_are_solved(name, number):
    function = next(function for function in CLASSIC if function.number == number)

    last = run(METHODS[name](gtol=1e-10), function, function.x0)[-1]

    assert end_of(last) in {Status.GRAD_TOL, Status.STAGNATED}
    assert any(last["f"] == pytest.approx(least, rel=1e-8, abs=1e-14) for least in function.minima)


@every_method
def test_a_logistic_regression_takes_no_more_products_than_scipy_s(name):
    fun, x0 = PROBLEMS["logistic"]
    objective = FunctionObjective(fun, len(x0))
    options = {"xtol": 1e-7} if name == "newton-cg" else {"gtol": 1e-7}
    expected = scipy.optimize.minimize(
        objective.value_and_grad, x0, jac=True, hessp=objective.hvp, method=name, options=options
    )

    last = run(METHODS[name](gtol=1e-7), fun, x0)[-1]

    assert last["f"] == pytest.approx(expected.fun, rel=1e-10)
    assert last["num_hvp"] <= expected.nhev
    assert last["num_fg"] <= expected.nfev


@pytest.mark.parametrize("x0", [[1.0, 1e-3], [0.0, 1e-6], [2.0, -0.1]])
@every_method
def test_saddles_are_left_along_negative_curvature(name, x0):
    last = run(METHODS[name](gtol=1e-9), saddle, x0)[-1]

    assert end_of(last) is Status.GRAD_TOL
    assert last["f"] == pytest.approx(-0.25, rel=1e-12)
    assert last["iteration"] < 30


# --- ends --------------------------------------------------------------------------------


@every_method
def test_a_gradient_of_zero_at_the_start_needs_no_iteration(name):
    graph = Counting(rosenbrock)

    last = run(METHODS[name](gtol=0.0), graph, np.ones(4))[-1]

    assert end_of(last) is Status.GRAD_TOL
    assert last["iteration"] == 0
    assert (graph.num_fg, graph.num_hvp) == (1, 0)


@every_method
def test_a_loss_that_is_not_finite_at_the_start_ends_the_solve(name):
    graph = Counting(lambda x: ops.log(ops.sum(x)))

    last = run(METHODS[name](), graph, -np.ones(3))[-1]

    assert end_of(last) is Status.NONFINITE
    assert (graph.num_fg, graph.num_hvp) == (1, 0)


@every_method
def test_trials_that_are_not_finite_are_stepped_back_from(name):
    options = {"initial_trust_radius": 20.0} if name == "trust-ncg" else {}

    # Newton's first step from here leads to -8
    last = run(METHODS[name](**options), lambda x: ops.sum(x - ops.log(x)), [4.0, 4.0])[-1]

    assert end_of(last) is Status.GRAD_TOL
    np.testing.assert_allclose(last["x"], np.ones(2), atol=1e-5)


@every_method
def test_products_that_are_not_finite_leave_steepest_descent(name):
    graph = Graph(make_quadratic(4, n=5), bend=lambda hv: np.nan * hv)

    last = run(METHODS[name](gtol=1e-4), graph, np.full(5, 2.0))[-1]

    assert end_of(last) is Status.GRAD_TOL
    np.testing.assert_allclose(last["x"], np.linspace(-1, 1, 5), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"gtol": 1e-12}])
@every_method
def test_a_loss_in_float32_ends_at_its_precision(name, options):
    exact = run(METHODS[name](gtol=1e-10), LOGISTIC, np.zeros(20))[-1]
    coarse = make_logistic("float32")
    graph = Graph(lambda x: ops.cast(coarse(x), "float64"), epsilon=1.2e-7)

    last = run(METHODS[name](**options), graph, np.zeros(20))[-1]

    assert end_of(last) in {Status.GRAD_TOL, Status.STAGNATED}
    assert last["num_fg"] < 40
    # a few roundings of float32 above the minimum, no more
    value = LOGISTIC(ops.convert_to_tensor(last["x"]))
    assert float(value) == pytest.approx(float(exact["f"]), rel=1e-6)


@every_method
def test_roundings_of_a_large_constant_end_the_solve(name):
    # the constant leaves four digits of the loss, and none near its minimum
    last = run(METHODS[name](gtol=1e-12), make_quadratic(10, shift=1e12, n=6), np.full(6, 2.0))[-1]

    assert end_of(last) in {Status.GRAD_TOL, Status.STAGNATED}
    assert last["num_fg"] < 60
    np.testing.assert_allclose(last["x"], np.linspace(-1, 1, 6), atol=1e-2)


@every_method
def test_a_gradient_of_the_wrong_sign_ends_the_solve_where_it_is(name):
    def wrong(x):
        square = ops.sum(x * x)
        return 2 * ops.stop_gradient(square) - square

    last = run(METHODS[name](), wrong, np.ones(3))[-1]

    # steps so short that rounding hides what they do may be taken
    assert end_of(last) in {Status.LINESEARCH_FAILED, Status.STAGNATED}
    assert last["iteration"] <= 5
    np.testing.assert_allclose(last["x"], np.ones(3), atol=1e-6)


@every_method
def test_a_loss_that_changes_by_less_than_its_tolerance_ends_the_solve(name):
    states = run(METHODS[name](gtol=1e-12, ftol=1e-6), LOGISTIC, np.zeros(20))

    before, after = (state["f"] for state in states[-2:])
    assert end_of(states[-1]) is Status.F_TOL
    assert 0 <= before - after <= 1e-6


@every_method
def test_the_limit_of_evaluations_is_kept(name):
    last = run(METHODS[name](maxfun=10), rosenbrock, START)[-1]

    assert (end_of(last), last["num_fg"]) == (Status.MAX_EVALS, 10)
    assert last["f"] < 24.2


# --- laws of a loop ----------------------------------------------------------------------


@every_method
def test_counts_are_honest_and_products_are_made_at_accepted_points(name):
    graph = Counting(rosenbrock)

    states = run(METHODS[name](), graph, [0.5, 0.5])

    assert states[-1]["num_fg"] == graph.num_fg == len(states) - 1
    assert states[-1]["num_hvp"] == graph.num_hvp
    # one run of products for each of them but the last
    assert len(graph.products) == states[-1]["iteration"]
    assert graph.parts == [(1.0, number) for number in range(len(graph.parts))]


@every_method
def test_iterations_are_accepted_points_and_losses_fall(name):
    states = run(METHODS[name](), rosenbrock, START)[1:]

    moved = [(a["x"] != b["x"]).any() for a, b in itertools.pairwise(states)]
    assert states[-1]["iteration"] == sum(moved)
    assert (np.diff([state["f"] for state in states]) <= 0).all()


@every_method
def test_the_state_is_all_that_it_takes_to_go_on(name):
    method, graph = METHODS[name](), Graph(rosenbrock)
    states, begin = run(method, graph, START), start(method, START)
    advance = compiled(method, graph)

    again = {key: ops.convert_to_tensor(np.asarray(value)) for key, value in states[6].items()}
    for _ in range(5):
        again = advance(again)

    for key, value in begin.items():
        np.testing.assert_array_equal(again[key], states[11][key])
        assert (again[key].shape, again[key].dtype) == (value.shape, value.dtype)


@pytest.mark.backends("tensorflow")
@every_method
def test_kormos_makes_the_same_iterations_with_xla(solve, name):
    plain = run(METHODS[name](), rosenbrock, START)[-1]

    result = solve(rosenbrock, START, name=name, jit_compile=True)

    assert result.status is end_of(plain)
    assert result.num_iterations == pytest.approx(int(plain["iteration"]), abs=2)
    assert result.loss == pytest.approx(float(plain["f"]), abs=1e-9)


@pytest.mark.backends("tensorflow")
def test_the_limit_of_iterations_is_kept_with_xla(solve):
    few = solve(rosenbrock, START, name="trust-ncg", jit_compile=True, maxiter=5)

    assert (few.status, few.num_iterations) == (Status.MAX_ITER, 5)


@every_method
def test_losses_below_zero_take_the_same_steps(name):
    counts = []
    for shift in (0.0, -100.0):
        last = run(METHODS[name](), make_quadratic(100, shift=shift, n=6), np.ones(6))[-1]
        counts.append((int(last["iteration"]), int(last["num_hvp"])))

    assert counts[0] == counts[1]


# --- options -----------------------------------------------------------------------------


@every_method
def test_a_general_tolerance_sets_that_of_the_gradient(name):
    largest = []
    for options in ({"tol": 1e-2}, {"tol": 1e-2, "gtol": 1e-7}, {}):
        last = run(METHODS[name](**options), LOGISTIC, np.zeros(20))[-1]
        largest.append(np.abs(last["g"]).max())

    assert 1e-3 < largest[0] <= 1e-2
    assert largest[1] <= 1e-7
    assert 1e-7 < largest[2] <= 1e-5


@every_method
def test_hessians_of_some_of_the_samples_lead_to_the_same_minimum(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    y = (x @ np.arange(5) + rng.logistic(size=400) > 0).astype(float)[:, None]

    def fit(**options):
        keras.utils.set_random_seed(0)
        penalty = keras.regularizers.L2(1e-2)
        dense = keras.layers.Dense(1, kernel_regularizer=penalty, dtype="float64")
        model = keras.Sequential([keras.Input((5,), dtype="float64"), dense])
        with floatx_scope("float64"):  # losses follow it
            model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
            solver = kormos.BatchOptimizer(f"native:{name}", options={"gtol": 1e-8, **options})
            return kormos.fit(model, x, y, solver=solver, verbose=0).result

    whole, some = fit(), fit(hvp_fraction=0.25)

    assert whole.status is some.status is Status.GRAD_TOL
    assert some.loss == pytest.approx(whole.loss, rel=1e-12)
    assert some.num_iterations > whole.num_iterations


@every_method
def test_options_do_not_change_and_equal_ones_make_equal_methods(name):
    method = METHODS[name]

    assert len({method(), method(), method(gtol=1e-3)}) == 2
    assert pickle.loads(pickle.dumps(method(maxcg=3))) == method(maxcg=3)
    with pytest.raises(FrozenInstanceError, match="gtol"):
        method().gtol = 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gtol": -1.0}, r"option gtol=-1.0 of \w+ is not usable"),
        ({"ftol": float("nan")}, "ftol=nan"),
        ({"maxcg": 0}, r"maxcg=0 .* whole number, 1 or above, or None"),
        ({"maxfun": 2.5}, "maxfun=2.5"),
        ({"hvp_fraction": 0.0}, r"hvp_fraction=0.0 .* a number above 0, at most 1"),
        ({"hvp_fraction": 1.5}, "hvp_fraction=1.5"),
        ({"tol": -1}, "tol=-1"),
    ],
)
@every_method
def test_an_option_that_is_not_usable_is_refused(name, options, message):
    with pytest.raises(UnsupportedError, match=message):
        METHODS[name](**options)


@every_method
def test_a_state_before_its_first_evaluation_says_so(name):
    method = METHODS[name]()

    told = method.progress(start(method, np.ones(3)))

    assert np.isnan(told.f)
    assert (int(told.iteration), int(told.num_fg), int(told.status)) == (0, 0, RUNNING)
