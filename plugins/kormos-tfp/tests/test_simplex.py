"""Nelder and Mead's simplex."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kormos_core import Status
from kormos_core.errors import UnsupportedError


def test_the_first_simplex_is_that_of_tensorflow_probability(make):
    x0 = np.array([0.0, -4.0, 1e-11])

    simplex = make("nelder-mead").init(x0, None)["simplex"]

    np.testing.assert_array_equal(simplex[0], x0)
    np.testing.assert_allclose(simplex[1:] - x0, np.diag([0.00025, -0.2, 0.00025]), rtol=1e-7)


@pytest.mark.parametrize("step_sizes", [[0.5], [0.5, 0.5]])
def test_step_sizes_are_the_edges_of_the_first_simplex(step_sizes, make):
    state = make("nelder-mead", step_sizes=step_sizes).init(np.array([1.0, 2.0]), None)

    np.testing.assert_array_equal(state["simplex"], [[1.0, 2.0], [1.5, 2.0], [1.0, 2.5]])


@pytest.mark.parametrize("step_sizes", [[1.0, 2.0, 3.0], [0.0], [1.0, 0.0]])
def test_step_sizes_that_make_no_simplex_are_refused(step_sizes, make):
    solver = make("nelder-mead", step_sizes=step_sizes)

    with pytest.raises(UnsupportedError, match=r"step_sizes=.* does not fit 2 .* 1 or 2 numbers"):
        solver.init(np.zeros(2), None)


def test_one_parameter_is_refused(make):
    with pytest.raises(UnsupportedError, match=r"does not take 1 parameter\. Allowed are two"):
        make("nelder-mead").init(np.zeros(1), None)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"func_tolerance": 0.1}, Status.F_TOL),
        ({"func_tolerance": 0.0, "position_tolerance": 0.1}, Status.X_TOL),
        ({"tol": 0.1}, Status.F_TOL),
    ],
)
def test_each_tolerance_ends_the_solve_and_is_told(options, status, build, solve):
    graph = build("bowl")

    result, host = solve("nelder-mead", graph, step_sizes=[1.0], compiled=True, **options)

    assert result.status is status
    assert 0 < result.num_iterations < 100
    assert host.num_fg == graph.count


def test_shrinking_is_counted_in_full(build, solve):
    def narrow(x):  # nothing that is tried is better than the start
        return tf.where(tf.reduce_all(tf.equal(x, 1.0)), 0.0, 1.0 + tf.reduce_sum(tf.abs(x)))

    graph = build(lambda x: tf.cast(narrow(x), tf.float64), [1.0, 1.0])

    _, host = solve("nelder-mead", graph, maxiter=5)

    assert host.num_fg == graph.count
    assert graph.count > 3 + 5 * 2  # each of them shrinks


def test_a_flat_loss_is_no_convergence(build, solve):
    result, _ = solve("nelder-mead", build(lambda x: 0.0 * x[0] + 3.0, [1.0, 2.0]))

    assert result.status is Status.STAGNATED
    assert result.num_iterations == 0


def test_a_simplex_that_no_longer_changes_ends_the_solve(build, solve):
    graph = build(lambda x: tf.reduce_sum(tf.abs(x - 1.0)) + 1.0, [3.0, -2.0])

    result, _ = solve(
        "nelder-mead", graph, func_tolerance=0.0, position_tolerance=0.0, compiled=True
    )

    assert result.status is Status.STAGNATED
    assert result.loss == pytest.approx(1.0, abs=1e-12)


def test_a_start_without_a_finite_loss_ends_at_once(build, solve):
    graph = build(lambda x: tf.math.log(-x[0]), [1.0, 1.0])

    result, host = solve("nelder-mead", graph)

    assert result.status is Status.NONFINITE
    assert np.isnan(host.chunks[-1].last.f)
    assert host.num_fg == graph.count == 3


def test_vertices_without_a_finite_loss_are_left_behind(build, solve):
    def f(x):  # half of the first simplex is beyond
        return tf.reduce_sum(x - tf.math.log(x - 0.9))

    result, host = solve("nelder-mead", build(f, [1.0, 1.0]), step_sizes=[-0.2], compiled=True)

    assert result.status is Status.F_TOL
    np.testing.assert_allclose(result.x, 1.9, atol=1e-3)  # where losses differ by 1e-8
    assert np.isfinite(host.losses).all()
