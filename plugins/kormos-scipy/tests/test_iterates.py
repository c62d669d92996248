"""What the callback is told, and how many times."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kormos_core import Status, StopSolve
from kormos_scipy.specs import SPECS


@pytest.mark.parametrize("problem", ["valley", "logistic"])
@pytest.mark.parametrize("name", SPECS)
def test_every_accepted_iterate_is_reported_once_in_order(name, problem, build, solve):
    objective = build(problem)
    if name == "dogleg":
        objective = build("rosenbrock")

    result = solve(name, objective)

    points = [objective.x0, *objective.iterates]
    losses = [objective.f(x) for x in points]
    assert len(objective.iterates) == result.num_iterations > 0
    np.testing.assert_array_equal(objective.iterates[-1], result.x)
    assert all((a != b).any() for a, b in itertools.pairwise(points))
    # an accepted iterate of these methods is never above the one before, rounding aside
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(losses))


@pytest.mark.parametrize("name", SPECS)
def test_the_callback_owns_what_it_is_given(name, build, solve):
    calm, rough = build("round"), build("round")
    expected = solve(name, calm, maxiter=20)

    result = solve(name, rough, maxiter=20, callback=lambda x: x.fill(np.nan))

    assert result.x.tobytes() == expected.x.tobytes()


@pytest.mark.parametrize("maxiter", [1, 3])
@pytest.mark.parametrize("name", SPECS)
def test_the_iteration_limit_counts_accepted_iterates(name, maxiter, build, solve):
    objective = build("rosenbrock")

    result = solve(name, objective, maxiter=maxiter)

    assert len(objective.iterates) == result.num_iterations == maxiter
    assert result.status is Status.MAX_ITER
    assert f"maxiter={maxiter}" in result.message
    np.testing.assert_array_equal(result.x, objective.iterates[-1])
    assert result.loss == objective.f(result.x)


@pytest.mark.parametrize("name", SPECS)
def test_a_limit_below_one_is_refused(name, build, solve):
    with pytest.raises(ValueError, match=r"maxiter=0 is not usable. Allowed: a whole number"):
        solve(name, build("round"), maxiter=0)


@pytest.mark.parametrize(
    "signal",
    [
        StopSolve(Status.STOPPED_BY_CALLBACK),
        KeyboardInterrupt(),
        StopIteration("mine"),
        ValueError("mine"),
        TypeError("mine"),
        np.linalg.LinAlgError("mine"),
    ],
    ids=lambda signal: type(signal).__name__,
)
@pytest.mark.parametrize("name", SPECS)
def test_what_the_callback_raises_passes_untouched(name, signal, build, solve):
    objective = build("rosenbrock")
    evals_at_stop = []

    def stop_at_second(_x):
        if len(objective.iterates) == 2:
            evals_at_stop.append(objective.counts.fg)
            raise signal

    with pytest.raises(type(signal)) as caught:
        solve(name, objective, callback=stop_at_second)

    assert caught.value is signal
    assert len(objective.iterates) == 2
    assert evals_at_stop == [objective.counts.fg]


@pytest.mark.parametrize(
    "signal",
    [StopSolve(Status.MAX_TIME), KeyboardInterrupt(), StopIteration("mine"), RuntimeError("mine")],
    ids=lambda signal: type(signal).__name__,
)
@pytest.mark.parametrize("at_eval", [1, 6])
@pytest.mark.parametrize("name", SPECS)
def test_what_the_objective_raises_passes_untouched(name, at_eval, signal, build, solve):
    objective = build("rosenbrock")
    rosen = objective.f

    def interrupted(x):
        if objective.counts.fg == at_eval:
            raise signal
        return rosen(x)

    objective.f = interrupted

    with pytest.raises(type(signal)) as caught:
        solve(name, objective)

    assert caught.value is signal
    assert objective.counts.fg == at_eval


@pytest.mark.parametrize("name", [name for name in SPECS if "hvp" in SPECS[name].needs])
def test_what_a_hessian_product_raises_passes_untouched(name, build, solve):
    signal = StopSolve(Status.MAX_TIME)

    def interrupted(x):
        raise signal

    with pytest.raises(StopSolve) as caught:
        solve(name, build("rosenbrock", h=interrupted))

    assert caught.value is signal


@pytest.mark.parametrize("name", SPECS)
def test_a_method_runs_again_after_it_was_interrupted(name, build, solve):
    def stop(_x):
        raise StopSolve(Status.STOPPED_BY_CALLBACK)

    with pytest.raises(StopSolve, match="asked to stop"):
        solve(name, build("round"), callback=stop)
    result = solve(name, build("round"))

    assert result.converged


def test_iterations_without_end_are_ended(build, solve):
    # tolerances of 0 let trust-constr shrink its region for ever
    objective = build("round", bounds=[[-0.5] * 4, [3.0] * 4])

    result = solve("trust-constr", objective, xtol=0.0, gtol=0.0, barrier_tol=0.0)

    assert result.status in {Status.STAGNATED, Status.X_TOL}
    assert result.loss < 0.9552  # the minimum is 0.95512
