"""Chunks of a solve are one solve, and it is that of TensorFlow Probability itself."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from kormos_tfp.specs import SPECS

ITERATIONS = 9


@pytest.fixture(scope="module")
def plain(build):
    """Return point, loss and evaluations after some iterations of one plain call."""

    @functools.cache
    def minimize(name, count):
        graph = build("valley")
        start = tf.constant(graph.x0)
        if name == "nelder-mead":
            results = tfp.optimizer.nelder_mead_minimize(
                graph.value, initial_vertex=start, max_iterations=count
            )
        else:
            minimizers = {
                "l-bfgs": tfp.optimizer.lbfgs_minimize,
                "bfgs": tfp.optimizer.bfgs_minimize,
            }
            results = minimizers[name](graph.value_and_grad, start, max_iterations=count)
        return np.array(results.position), float(results.objective_value), graph.count

    return minimize


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("room", [1, 4, 1000])
def test_chunks_of_any_length_are_one_call_of_tensorflow_probability(
    name, room, plain, build, solve
):
    graph = build("valley")

    result, host = solve(name, graph, maxiter=ITERATIONS, room=room)
    x, f, count = plain(name, ITERATIONS)

    assert all(len(chunk.losses) <= room for chunk in host.chunks)
    assert result.num_iterations == ITERATIONS
    np.testing.assert_array_equal(host.chunks[-1].last.x, x)
    assert host.losses[-1] == f
    assert host.num_fg == graph.count == count


@pytest.mark.parametrize("name", SPECS)
def test_every_row_of_the_trace_is_an_iteration_of_one_call(name, plain, build, solve):
    _, host = solve(name, build("valley"), maxiter=3)

    assert list(host.losses) == [plain(name, count)[1] for count in (1, 2, 3)]


def test_bfgs_is_the_same_without_a_scaled_estimate_and_from_one_of_its_own(build, solve):
    estimate = np.array([[0.02, 0.01], [0.01, 0.03]])
    graph = build("valley")
    results = tfp.optimizer.bfgs_minimize(
        graph.value_and_grad,
        tf.constant(graph.x0),
        initial_inverse_hessian_estimate=estimate,
        scale_initial_inverse_hessian=False,
        max_iterations=5,
    )

    result, _ = solve(
        "bfgs",
        build("valley"),
        maxiter=5,
        initial_inverse_hessian_estimate=estimate,
        scale_initial_inverse_hessian=False,
    )

    np.testing.assert_array_equal(result.x, results.position)


def test_bfgs_goes_back_to_its_first_estimate_where_rounding_has_spoilt_it(build, make):
    solver, graph = make("bfgs"), build("bowl")
    state = {name: tf.constant(value) for name, value in solver.init(graph.x0, None).items()}
    spoilt = {**state, "inverse_hessian_estimate": -state["inverse_hessian_estimate"]}

    expected, actual = solver.advance(graph, state), solver.advance(graph, spoilt)

    np.testing.assert_array_equal(actual["x"], expected["x"])
