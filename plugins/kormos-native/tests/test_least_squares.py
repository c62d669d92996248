"""What Levenberg-Marquardt and Gauss-Newton have in common, as wholes."""

from __future__ import annotations

import functools
import pickle
from dataclasses import FrozenInstanceError

import keras
import numpy as np
import pytest
from native_graphs import compiled, run, start, tensor
from native_squares import (
    PROBLEMS,
    CountingSquares,
    SquaresGraph,
    by_scipy,
    decay,
    exact,
    states_of,
    valley,
)

import kormos
from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.loop import RUNNING, status_of
from kormos_core.objective import floatx_scope
from kormos_native.gauss_newton import GaussNewton
from kormos_native.levenberg_marquardt import LevenbergMarquardt

ops = keras.ops

METHODS = {"levenberg-marquardt": LevenbergMarquardt, "gauss-newton": GaussNewton}
SOLVERS = ["qr", "cholesky", "cg"]
every_method = pytest.mark.parametrize("name", METHODS)
every_solver = pytest.mark.parametrize("solver", SOLVERS)

START = np.ones(3)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = np.tanh(X @ [[1.0], [-2.0]] + 0.3) + 0.1 * RNG.normal(size=(60, 1))


def end_of(state):
    return status_of(state["status"])


class Traced(keras.layers.Dense):
    """A layer that counts how often Python runs it."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return super().call(inputs)


@functools.cache
def unit(dtype="float64"):
    """Make a model of three parameters, one for all tests: tracing is what costs."""
    layer = Traced(1, activation="tanh", dtype=dtype)
    with floatx_scope(dtype):  # losses follow it
        model = kormos.BatchOptimizedSequentialModel([keras.Input((2,), dtype=dtype), layer])
        model.compile(loss="mse")
    return model


def fit(name, x=X, y=Y, *, dtype="float64", steps=1, **arguments):
    """Fit the model by a method, from where it is far from its best."""
    model = unit(dtype)
    model.set_weights([np.array([[0.5], [0.5]]), np.zeros(1)])
    model.steps_per_execution = steps
    with floatx_scope(dtype):
        return kormos.fit(model, x, y, solver=f"native:{name}", verbose=0, **arguments)


# --- minima ------------------------------------------------------------------------------


@every_solver
@every_method
def test_the_minimum_is_that_of_minpack(name, solver):
    last = states_of(METHODS[name](linear_solver=solver), decay, START, eager=True)[-1]

    expected = by_scipy("decay")
    assert end_of(last).converged
    assert last["f"] == pytest.approx(expected.cost, rel=1e-12)
    np.testing.assert_allclose(last["x"], expected.x, rtol=1e-6)


@every_solver
@every_method
def test_fewer_residuals_than_parameters_are_brought_to_rounding(name, solver):
    last = states_of(METHODS[name](linear_solver=solver), *PROBLEMS["few"], eager=True)[-1]

    assert last["f"] < 1e-28
    assert last["num_fg"] < 30


@every_method
def test_the_valley_is_followed(name):
    last = states_of(METHODS[name](), *PROBLEMS["valley"])[-1]

    np.testing.assert_allclose(last["x"], 1.0, rtol=1e-12)
    assert last["num_fg"] < 100


@every_method
def test_residuals_that_vanish_are_brought_to_rounding(name):
    last = states_of(METHODS[name](), exact, START, eager=True)[-1]

    assert end_of(last).converged
    assert last["f"] < 1e-28
    np.testing.assert_allclose(last["x"], [2.5, 1.3, 0.4], rtol=1e-13)


@every_solver
@every_method
def test_trials_that_are_not_finite_are_stepped_back_from(name, solver):
    # the step of Gauss and Newton from here leads below zero
    method = METHODS[name](linear_solver=solver)
    last = states_of(method, lambda x: ops.log(x) - 1.0, [10.0, 12.0], eager=True)[-1]

    assert end_of(last).converged
    np.testing.assert_allclose(last["x"], np.e, rtol=1e-10)


# --- ends --------------------------------------------------------------------------------


@every_solver
@every_method
def test_a_loss_that_is_not_finite_at_the_start_ends_the_solve(name, solver):
    graph = CountingSquares(ops.sqrt, 2)

    last = run(METHODS[name](linear_solver=solver), graph, [1.0, -1.0])[-1]

    assert end_of(last) is Status.NONFINITE
    assert (last["num_fg"], graph.num_fg, last["iteration"]) == (1, 1, 0)


@every_method
def test_a_gradient_of_zero_at_the_start_needs_no_trial(name):
    graph = CountingSquares(lambda x: ops.concatenate([x - 1.0, ops.ones(1, "float64")]), 2)

    last = run(METHODS[name](gtol=0.0), graph, np.ones(2))[-1]

    assert end_of(last) is Status.GRAD_TOL
    assert (last["num_fg"], graph.num_fg, last["iteration"]) == (1, 1, 0)


@pytest.mark.parametrize("maxfun", [1, 2, 3, 8])
@every_method
def test_no_more_evaluations_are_made_than_allowed(name, maxfun):
    graph = CountingSquares(valley, 2)

    last = run(METHODS[name](maxfun=maxfun), graph, [-1.2, 1.0])[-1]

    assert (end_of(last), last["num_fg"]) == (Status.MAX_EVALS, maxfun)
    assert graph.num_fg == maxfun


@every_method
def test_the_limit_of_iterations_is_kept(name):
    result = kormos.least_squares(valley, [-1.2, 1.0], solver=f"native:{name}", maxiter=3)

    assert (result.status, result.num_iterations) == (Status.MAX_ITER, 3)


@every_method
def test_a_model_in_float32_ends_at_its_precision(name):
    exactly = fit(name).result

    history = fit(name, X.astype("float32"), Y.astype("float32"), dtype="float32")

    assert history.result.converged or history.result.status is Status.STAGNATED
    assert history.result.fg_evals < 60
    # a few roundings of float32 above the least
    assert history.result.loss == pytest.approx(exactly.loss, rel=1e-6)
    np.testing.assert_allclose(history.result.x, exactly.x, rtol=1e-3)


# --- laws of a loop ----------------------------------------------------------------------


@every_solver
@every_method
def test_counts_are_honest(name, solver):
    graph = CountingSquares(decay, 3)

    last = run(METHODS[name](linear_solver=solver), graph, START)[-1]

    assert last["num_fg"] == graph.num_fg
    assert last["num_hvp"] == sum(graph.products)
    # a run of products at each accepted point, at the start, and none elsewhere
    assert len(graph.products) in (
        {0} if solver != "cg" else {int(last["iteration"]), int(last["iteration"]) + 1}
    )


@every_method
def test_the_state_is_all_that_it_takes_to_go_on(name):
    method, graph, x0 = METHODS[name](), SquaresGraph(*_sized("valley")), PROBLEMS["valley"][1]
    states, begin = run(method, graph, x0), start(method, x0)
    advance = compiled(method, graph)

    again = {key: ops.convert_to_tensor(value) for key, value in states[4].items()}
    for _ in range(4):
        again = advance(again)

    for key, value in begin.items():
        np.testing.assert_array_equal(again[key], states[8][key])
        assert (again[key].shape, again[key].dtype) == (value.shape, value.dtype)


def _sized(problem):
    residuals, x0 = PROBLEMS[problem]
    return residuals, len(x0)


def test_xla_makes_the_same_iterations():
    plain = states_of(LevenbergMarquardt(), decay, START)[-1]

    result = kormos.least_squares(decay, START, jit_compile=True)

    assert result.status is end_of(plain)
    assert result.num_iterations == plain["iteration"]
    assert result.loss == pytest.approx(float(plain["f"]), rel=1e-13)


@every_method
def test_one_call_of_many_iterations_makes_the_same_as_many_calls(name):
    single = fit(name)

    many = fit(name, steps=50)

    assert many.history["loss"] == single.history["loss"]
    np.testing.assert_array_equal(many.result.x, single.result.x)
    assert many.result.fg_evals == single.result.fg_evals


def test_a_fit_goes_on_as_if_it_had_never_stopped():
    whole, model = fit("levenberg-marquardt"), unit()
    model.compile("native:levenberg-marquardt", loss="mse")
    model.set_weights([np.array([[0.5], [0.5]]), np.zeros(1)])

    first = model.fit(X, Y, epochs=3, verbose=0)
    rest = model.fit(X, Y, epochs=100, initial_epoch=3, resume=True, verbose=0)

    assert first.history["loss"] + rest.history["loss"] == whole.history["loss"]
    np.testing.assert_array_equal(rest.result.x, whole.result.x)


@pytest.mark.parametrize("kind", ["slices", "stream"])
def test_batches_make_the_steps_of_the_whole(kind):
    name = "levenberg-marquardt"
    whole = fit(name, epochs=4)

    if kind == "slices":
        parts = fit(name, epochs=4, batch_size=17)
    else:
        import tensorflow as tf

        parts = fit(name, tf.data.Dataset.from_tensor_slices((X, Y)).batch(17), None, epochs=4)

    np.testing.assert_allclose(parts.history["loss"], whole.history["loss"], rtol=1e-10)
    np.testing.assert_allclose(parts.result.x, whole.result.x, rtol=1e-8)
    # a sweep is an evaluation, however many batches it has
    assert parts.result.fg_evals == whole.result.fg_evals


@every_method
def test_the_model_is_traced_once_however_many_iterations(name):
    few = fit(name, epochs=2).result
    layer = unit().layers[-1]
    before = layer.calls

    many = fit(name, epochs=40).result

    assert many.num_iterations > few.num_iterations
    assert layer.calls == before > 0


# --- options -----------------------------------------------------------------------------


@every_method
def test_a_general_tolerance_sets_those_that_are_left_alone(name):
    some = {"tol": 1e-3, "ftol": 0.0, "xtol": 0.0, "gtol": 1e-9}
    methods = [METHODS[name](**options) for options in ({}, {"tol": 1e-3}, some)]
    ends = [states_of(method, decay, START, eager=True)[-1] for method in methods]

    best, coarse, own = (int(state["iteration"]) for state in ends)
    assert coarse < own <= best
    assert end_of(ends[2]) is Status.GRAD_TOL


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
        ({"ftol": -1.0}, r"option ftol=-1.0 of \w+ is not usable"),
        ({"xtol": float("inf")}, "xtol=inf .* a finite number, 0 or above"),
        ({"gtol": "small"}, "gtol='small'"),
        ({"linear_solver": "lu"}, "linear_solver='lu' .* 'auto', 'qr', 'cholesky', 'cg'"),
        ({"maxcg": 0}, r"maxcg=0 .* whole number, 1 or above, or None"),
        ({"maxfun": 2.5}, "maxfun=2.5"),
        ({"tol": -1}, "tol=-1"),
    ],
)
@every_method
def test_an_option_that_is_not_usable_is_refused(name, options, message):
    with pytest.raises(UnsupportedError, match=message):
        METHODS[name](**options)


@every_method
def test_bounds_are_refused_with_those_that_take_them(name):
    solver = f"native:{name}"

    with pytest.raises(
        UnsupportedError, match=f"{solver} does not honor bounds.*scipy:least-squares-trf"
    ):
        kormos.least_squares(decay, START, solver=solver, bounds=(0.0, 2.0))


@every_method
def test_a_loss_that_is_no_sum_of_squares_is_refused(name):
    with pytest.raises(UnsupportedError, match="the function gives a single number"):
        kormos.minimize(ops.sum, START, solver=f"native:{name}")


@every_method
def test_a_state_before_its_first_evaluation_says_so(name):
    method = METHODS[name]()

    told = method.progress(start(method, np.ones(3)))

    assert np.isnan(told.f)
    assert (int(told.iteration), int(told.num_fg), int(told.status)) == (0, 0, RUNNING)


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@every_method
def test_integers_keep_their_width_under_either_floatx(name, floatx):
    method = METHODS[name]()
    with floatx_scope(floatx):
        state = method.advance(SquaresGraph(decay, 3), start(method, START))

    assert np.asarray(state["x"]).dtype == np.float64
    assert int(state["iteration"]) == 1
    assert float(state["f"]) < float(SquaresGraph(decay, 3).value_and_grad(tensor(START))[0])
