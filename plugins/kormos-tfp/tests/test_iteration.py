"""Why a quasi-Newton solve ends: what TensorFlow Probability says, and what is true of it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from kormos_core import Status
from kormos_core.loop import status_of

QUASI_NEWTON = ["l-bfgs", "bfgs"]

X, F, G = np.zeros(2), 1.0, np.array([1.0, 0.0])  # where the iteration begins: loss 1 + x0
STEP = np.array([-1e-3, 0.0])
NAN = float("nan")


def ended(**results):
    """Results that are those of the start but for what is given."""
    return {"converged": False, "failed": False, "x": X, "f": F, "g": G, **results}


# what TensorFlow Probability ends with -> what is told, and whether the step is accepted
VERDICTS = [
    (ended(x=STEP, f=0.5), None, True),
    (ended(x=STEP, f=0.5, g=0 * G, converged=True), Status.GRAD_TOL, True),
    (ended(x=STEP, f=0.5, converged=True), Status.X_TOL, True),
    (ended(x=10 * STEP, f=0.9995, converged=True), Status.F_TOL, True),
    (ended(x=10 * STEP, f=0.5, converged=True), Status.STAGNATED, True),
    (ended(converged=True), Status.STAGNATED, False),
    (ended(x=STEP, f=-np.inf, converged=True), Status.NONFINITE, False),
    (ended(x=STEP, f=0.5, g=NAN * G, failed=True), Status.NONFINITE, False),
    (ended(failed=True), Status.LINESEARCH_FAILED, False),
    (ended(x=STEP, f=0.5, failed=True), Status.LINESEARCH_FAILED, True),
    (ended(x=STEP, f=1.5, failed=True), Status.LINESEARCH_FAILED, False),
]


@pytest.fixture
def advance(build, monkeypatch):
    """Advance a solver by an iteration that ends with the given results."""

    def advance_by(results, graph, solver):
        def end(evaluate, *, initial_position, previous_optimizer_results, **others):
            return previous_optimizer_results._replace(
                converged=tf.constant(results["converged"]),
                failed=tf.constant(results["failed"]),
                position=tf.constant(results["x"]),
                objective_value=tf.constant(results["f"], tf.float64),
                objective_gradient=tf.constant(results["g"]),
            )

        # once in earnest, and only then: it looks up the type of the results
        at_bowl, at_graph = (_tensors(solver, at) for at in (build("bowl"), graph))
        solver.advance(build("bowl"), at_bowl)
        monkeypatch.setattr(tfp.optimizer, "lbfgs_minimize", end)
        return solver.advance(graph, at_graph)

    return advance_by


def _tensors(solver, graph):
    return {name: tf.constant(value) for name, value in solver.init(graph.x0, None).items()}


@pytest.mark.parametrize(("results", "status", "accepted"), VERDICTS)
def test_the_verdict_is_on_what_was_really_reached(
    results, status, accepted, advance, build, make
):
    solver = make("l-bfgs", x_tolerance=2e-3, f_absolute_tolerance=1e-3)
    state = advance(results, build(lambda x: F + x[0], X), solver)

    told = None if int(state["status"]) == 0 else status_of(state["status"])
    assert told is status
    assert int(state["iteration"]) == int(accepted)
    np.testing.assert_array_equal(state["x"], results["x"] if accepted else X)
    np.testing.assert_array_equal(state["f"], results["f"] if accepted else F)


def test_a_flat_loss_is_no_convergence_where_no_tolerance_was_asked_for(advance, build, make):
    flat = ended(x=STEP, converged=True)

    state = advance(flat, build(lambda x: F + x[0], X), make("l-bfgs"))

    assert status_of(state["status"]) is Status.STAGNATED
    assert int(state["iteration"]) == 1


def test_a_failed_search_below_the_noise_of_the_loss_is_stagnation(advance, build, make):
    graph = build(lambda x: 1.0 + 1e-9 * x[0], X)  # it has 1e-18 to gain
    failed = ended(g=1e-9 * G, failed=True)

    state = advance(failed, graph, make("l-bfgs", tolerance=0.0))

    assert status_of(state["status"]) is Status.STAGNATED


@pytest.mark.parametrize("name", QUASI_NEWTON)
@pytest.mark.parametrize(
    ("option", "status"),
    [
        ({"x_tolerance": 1e-3}, Status.X_TOL),
        ({"f_relative_tolerance": 1e-3}, Status.F_TOL),
        ({"f_absolute_tolerance": 1e-3}, Status.F_TOL),
        ({"tolerance": 1e-2}, Status.GRAD_TOL),
    ],
)
def test_each_tolerance_ends_the_solve_early_and_is_told(name, option, status, build, solve):
    full, _ = solve(name, build("logistic"))

    result, _ = solve(name, build("logistic"), **option)

    assert result.status is status
    assert 0 < result.num_iterations < full.num_iterations


@pytest.mark.parametrize("name", QUASI_NEWTON)
def test_the_relative_tolerance_holds_for_losses_below_zero(name, build, solve):
    graph = build("logistic")
    lower = build(lambda x: graph.f(x) - 1.0, graph.x0)

    result, _ = solve(name, lower, f_relative_tolerance=1e-3)

    assert result.status is Status.F_TOL


@pytest.mark.parametrize("name", QUASI_NEWTON)
def test_a_start_at_the_minimum_ends_at_once(name, build, solve):
    graph = build("bowl", x0=np.linspace(-1, 1, 4))

    result, host = solve(name, graph)

    assert result.status is Status.GRAD_TOL
    assert result.num_iterations == 0
    assert host.num_fg == graph.count == 1


@pytest.mark.parametrize("name", QUASI_NEWTON)
def test_a_start_without_a_finite_loss_ends_at_once(name, build, solve):
    graph = build(lambda x: tf.math.log(-x[0]), [1.0, 1.0])

    result, host = solve(name, graph)

    assert result.status is Status.NONFINITE
    assert np.isnan(host.chunks[-1].last.f)
    assert result.num_iterations == 0
    assert host.num_fg == graph.count == 1


@pytest.mark.parametrize("name", QUASI_NEWTON)
@pytest.mark.parametrize("beyond", [np.nan, np.inf])
def test_the_line_search_steps_back_from_losses_that_are_not_finite(name, beyond, build, solve):
    def f(x):  # the first step, to -4, is beyond
        near = tf.reduce_sum(tf.square(x - 1.0) * [2.0, 0.5])
        return tf.where(tf.reduce_all(tf.abs(x) < 3), near, beyond)

    result, _ = solve(name, build(f, [2.0, 2.0]))

    assert result.status is Status.GRAD_TOL
    np.testing.assert_allclose(result.x, 1.0, atol=1e-8)


@pytest.mark.parametrize("name", QUASI_NEWTON)
def test_a_minimum_beyond_the_last_finite_loss_is_not_told_as_convergence(name, build, solve):
    def f(x):
        return tf.where(x[0] > 0.5, tf.constant(np.nan, x.dtype), tf.reduce_sum((x - 1.0) ** 2))

    result, host = solve(name, build(f, [0.0, 0.25]))

    assert result.status in {Status.STAGNATED, Status.LINESEARCH_FAILED}
    assert result.x[0] == pytest.approx(0.5, abs=1e-8)
    assert np.isfinite(host.losses).all()


@pytest.mark.parametrize("name", QUASI_NEWTON)
def test_a_search_that_may_not_search_is_told_as_failed(name, build, solve):
    result, _ = solve(name, build("valley"), max_line_search_iterations=1)

    assert result.status is Status.LINESEARCH_FAILED
    assert result.loss < 24.2  # that of the start


@pytest.mark.parametrize("name", QUASI_NEWTON)
def test_a_tolerance_of_nothing_ends_at_the_precision_of_the_loss(name, build, solve):
    graph = build("logistic")

    result, host = solve(name, graph, tolerance=0.0)

    assert result.status is Status.STAGNATED
    assert host.num_fg == graph.count
