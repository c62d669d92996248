"""The iterates are those of optimistix itself, and every evaluation is counted."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

from kormos_core import Status

pytestmark = pytest.mark.backends("jax")

STEPS = 9

MINIMIZERS = {
    "bfgs": (optimistix.BFGS, {}),
    "lbfgs": (optimistix.LBFGS, {}),
    "nonlinear-cg": (optimistix.NonlinearCG, {}),
    "gradient-descent": (optimistix.GradientDescent, {"learning_rate": 1e-3}),
}
LEAST_SQUARES = {
    "levenberg-marquardt": (optimistix.LevenbergMarquardt, {}),
    "indirect-levenberg-marquardt": (optimistix.IndirectLevenbergMarquardt, {"lambda_0": 30.0}),
    "dogleg": (optimistix.Dogleg, {}),
    "gauss-newton": (optimistix.GaussNewton, {}),
}


def by_itself(graph, cls, max_steps=None, **options):
    """Return what optimistix ends with."""
    solver = cls(rtol=1e-8, atol=1e-8, **options)
    least = graph.r is not None
    minimize = optimistix.least_squares if least else optimistix.minimise
    function = graph.r if least else graph.f
    return minimize(
        lambda x, _: function(x), solver, jnp.array(graph.x0), max_steps=max_steps, throw=False
    )


@pytest.mark.parametrize("name", MINIMIZERS)
def test_minimizers_make_the_iterates_of_optimistix(name, build, solve):
    graph = build("valley")
    cls, options = MINIMIZERS[name]
    expected = by_itself(graph, cls, STEPS, **options)

    _, host = solve(name, graph, maxiter=100, room=3, max_evals=STEPS, **options)

    # a step is an evaluation, whether it is accepted or not; sums are in another order
    assert host.num_fg == graph.count == STEPS
    np.testing.assert_allclose(host.chunks[-1].last.x, expected.value, rtol=1e-12)


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_least_squares_makes_the_iterates_of_optimistix(name, build, solve):
    graph, few = build("curve"), 6  # beyond them rounding says which step is accepted
    cls, options = LEAST_SQUARES[name]
    expected = by_itself(graph, cls, few, **options)

    _, host = solve(name, graph, max_evals=few, **options)

    assert host.num_fg == graph.count == expected.stats["num_steps"]
    np.testing.assert_allclose(host.chunks[-1].last.x, expected.value, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "given"),
    [
        ("bfgs", {"use_inverse": False}, {"use_inverse": False}),
        (
            "nonlinear-cg",
            {"method": "fletcher_reeves"},
            {"method": optimistix.fletcher_reeves},
        ),
    ],
)
def test_options_are_handed_to_optimistix(name, options, given, build, solve):
    graph = build("bowl")
    expected = by_itself(graph, MINIMIZERS[name][0], STEPS, **given)

    _, host = solve(name, graph, max_evals=STEPS, **options)

    np.testing.assert_allclose(host.chunks[-1].last.x, expected.value, rtol=1e-11)


def test_a_rejected_step_is_no_iteration(build, solve):
    graph = build("valley")

    result, host = solve("bfgs", graph)

    assert result.status in {Status.X_TOL, Status.GRAD_TOL}
    assert len(host.losses) == result.num_iterations < host.num_fg - 1
    assert (np.diff(host.losses) < 0).all()
    assert graph.num_traces == 1
