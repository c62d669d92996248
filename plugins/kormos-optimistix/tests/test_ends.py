"""Minima are those of SciPy, and why a solve ends is true."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import kormos
from kormos_core import Status
from kormos_core.errors import UnknownOptionError, UnsupportedError

pytestmark = pytest.mark.backends("jax")


@pytest.mark.parametrize("problem", ["negative", "logistic"])
def test_the_minimum_is_scipys(problem, build, solve):
    graph = build(problem)
    value_and_grad = jax.jit(jax.value_and_grad(graph.f))
    minimum = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, value_and_grad(x))),
        graph.x0,
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    ).fun

    result, host = solve("bfgs", graph)

    # where rounding hides what a step gains, it may be cut short
    assert result.status in {Status.X_TOL, Status.STAGNATED}
    # both changed by 1e-8 in the end, and the loss by the square of the last step
    assert result.loss == pytest.approx(minimum, rel=1e-12, abs=1e-10)
    assert host.num_fg == graph.count


def test_the_least_squares_are_scipys(build, solve):
    graph = build("curve")
    residuals = jax.jit(graph.r)
    expected = scipy.optimize.least_squares(
        lambda x: np.asarray(residuals(x)), graph.x0, xtol=1e-12
    )

    result, _ = solve("levenberg-marquardt", graph)

    np.testing.assert_allclose(result.x, expected.x, rtol=1e-6)
    assert result.loss == pytest.approx(expected.cost, rel=1e-10)


def test_a_small_gradient_ends_the_solve_where_it_is_asked_for(build, solve):
    result, host = solve("nonlinear-cg", build("logistic"), gtol=1e-3)

    assert result.status is Status.GRAD_TOL
    assert np.abs(host.chunks[-1].last.g).max() <= 1e-3


@pytest.mark.parametrize("name", ["bfgs", "gradient-descent"])
def test_a_start_without_a_finite_loss_ends_at_once(name, build, solve):
    graph = build(lambda x: jnp.log(-x[0]), [1.0, 1.0])

    result, host = solve(name, graph)

    assert result.status is Status.NONFINITE
    assert result.num_iterations == 0
    assert host.num_fg == graph.count == 1


def test_a_start_at_the_minimum_ends_at_once(build, solve):
    result, host = solve("lbfgs", build(lambda x: jnp.sum((x - 1.0) ** 2), [1.0, 1.0]))

    assert result.status is Status.GRAD_TOL
    assert result.num_iterations == 0
    assert host.num_fg == 1


def test_steps_that_diverge_end_at_the_last_finite_loss(build, solve):
    graph = build(lambda x: jnp.sum(x**4), [1.0, 2.0])

    result, host = solve("gradient-descent", graph, learning_rate=1.0)

    assert result.status is Status.NONFINITE
    assert np.isfinite(host.chunks[-1].last.x).all()
    assert result.num_iterations == len(host.losses)


def test_a_loss_that_falls_no_more_is_stagnation(build, solve):
    # the rate is that of a cycle between two points
    result, host = solve(
        "gradient-descent", build(lambda x: jnp.sum(x**2), [1.0, 2.0]), learning_rate=1.0
    )

    assert result.status is Status.STAGNATED
    assert len(host.losses) == 100


def test_a_step_that_was_cut_short_is_not_told_as_convergence(build, solve):
    def f(x):
        return jnp.where(x[0] > 0.5, jnp.nan, jnp.sum((x - 1.0) ** 2))

    result, host = solve("bfgs", build(f, [0.0, 0.25]))

    assert result.status is Status.STAGNATED
    assert result.x[0] == pytest.approx(0.5, abs=1e-6)
    assert np.isfinite(host.losses).all()


def test_a_jacobian_without_full_rank_ends_the_solve_and_not_python(build, solve):
    graph = build(
        lambda x: 0.5 * (x[0] + x[1] - 3.0) ** 2,
        [5.0, 5.0],
        r=lambda x: jnp.stack([x[0] + x[1] - 3.0, 0.0 * x[0]]),
    )

    result, _ = solve("gauss-newton", graph)

    assert not np.isnan(result.x).any()
    assert result.loss <= 24.5


def test_a_general_tolerance_sets_what_is_left_alone(build, solve):
    result, _ = solve("bfgs", build("logistic"), tol=0.5)

    assert result.status is Status.X_TOL
    assert result.num_iterations <= 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bfgs", {"rtol": 0.0}, r"rtol=0\.0 .* above 0"),
        ("lbfgs", {"history_length": 0}, r"history_length=0 .* 1 or above"),
        ("dogleg", {"norm": "one"}, r"one of 'max', 'rms', 'two'"),
        ("nonlinear-cg", {"method": "best"}, r"one of 'polak_ribiere'"),
    ],
)
def test_values_that_an_option_cannot_take_are_refused(name, options, message, make):
    with pytest.raises(UnsupportedError, match=message):
        make(name, **options)


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownOptionError, match=r"'rtoll'.* mean 'rtol'"):
        kormos.BatchOptimizer("optimistix:bfgs", options={"rtoll": 0.1})
