"""L-BFGS: optax's iterates, SciPy's minima, honest counts and ends."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_optax.lbfgs import LBFGS

pytestmark = pytest.mark.backends("jax")

ITERATIONS = 12


def by_hand(graph, count, **options):
    """Return the iterates of optax's own loop."""
    optimizer = optax.lbfgs(**options)
    both = optax.value_and_grad_from_state(graph.f)

    @jax.jit
    def step(x, state):
        f, g = both(x, state=state)
        updates, state = optimizer.update(g, state, x, value=f, grad=g, value_fn=graph.f)
        return optax.apply_updates(x, updates), state

    x = jnp.array(graph.x0)
    state, iterates = optimizer.init(x), []
    for _ in range(count):
        x, state = step(x, state)
        iterates.append(np.array(x))
    return np.array(iterates)


def test_chunks_of_any_length_are_the_iterates_of_optax_itself(build, solve):
    graph, cache = build("valley"), {}
    iterates = by_hand(graph, ITERATIONS)

    for room in (1, 1000):
        before = graph.count
        result, host = solve("lbfgs", graph, maxiter=ITERATIONS, room=room, cache=cache)

        last = host.chunks[-1].last.x
        np.testing.assert_allclose(last, iterates[-1], rtol=1e-10)  # of another program
        np.testing.assert_allclose(host.losses, [graph.f(x) for x in iterates], rtol=1e-9)
        assert result.num_iterations == ITERATIONS
        assert host.num_fg == graph.count - before
    assert graph.num_traces == 1  # for all places of the line search


def test_options_are_handed_to_optax(build, solve):
    graph = build("valley")
    search = optax.scale_by_zoom_linesearch(
        max_linesearch_steps=25, curv_rtol=0.5, initial_guess_strategy="keep", increase_factor=3.0
    )

    _, host = solve(
        "lbfgs",
        graph,
        maxiter=8,
        memory_size=3,
        scale_init_precond=False,
        max_linesearch_steps=25,
        curv_rtol=0.5,
        initial_guess_strategy="keep",
        increase_factor=3.0,
    )

    options = {"memory_size": 3, "scale_init_precond": False, "linesearch": search}
    expected = by_hand(graph, 8, **options)[-1]
    np.testing.assert_allclose(host.chunks[-1].last.x, expected, rtol=1e-9)


def test_defaults_are_those_of_optax():
    solver = LBFGS()
    search = inspect.signature(optax.scale_by_zoom_linesearch).parameters
    method = inspect.signature(optax.lbfgs).parameters
    names = {"memory_size": method, "scale_init_precond": method, "linesearch_tol": None}
    names |= dict.fromkeys(set(search) - {"tol", "verbose", "max_linesearch_steps"}, search)
    del names["initial_guess_strategy"]  # lbfgs has its own: the test of iterates has it
    del names["linesearch_tol"]

    assert {name: getattr(solver, name) for name in names} == {
        name: where[name].default for name, where in names.items()
    }
    assert solver.linesearch_tol == search["tol"].default


@pytest.mark.parametrize("problem", ["negative", "logistic"])
def test_the_minimum_is_scipys_and_every_evaluation_is_counted(problem, build, solve):
    graph = build(problem)
    value_and_grad = jax.jit(jax.value_and_grad(graph.f))
    minimum = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, value_and_grad(x))),
        graph.x0,
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    ).fun

    result, host = solve("lbfgs", graph, gtol=1e-8, ftol=0.0)

    assert result.status is Status.GRAD_TOL
    # the gradient is 1e-8 at the end, so the loss is off by 1e-16 over a curvature above 0.01
    assert result.loss == pytest.approx(minimum, rel=1e-14, abs=1e-12)
    assert len(host.losses) == result.num_iterations
    assert host.num_fg == graph.count


@pytest.mark.parametrize(
    ("option", "status"), [({"gtol": 1e-1}, Status.GRAD_TOL), ({"ftol": 1e-3}, Status.F_TOL)]
)
def test_each_tolerance_ends_the_solve_early_and_is_told(option, status, build, solve):
    result, _ = solve("lbfgs", build("bowl"), **{"gtol": 0.0, "ftol": 0.0, **option})

    assert result.status is status
    assert 0 < result.num_iterations < 30


@pytest.mark.parametrize(("kept", "status"), [("ftol", Status.GRAD_TOL), ("gtol", Status.F_TOL)])
def test_a_general_tolerance_sets_what_is_left_alone(kept, status, build, solve):
    result, _ = solve("lbfgs", build("logistic"), tol=1e-1, **{kept: 0.0})

    assert result.status is status
    assert result.num_iterations < 3


def test_a_start_at_the_minimum_ends_at_once(build, solve):
    graph = build("bowl", x0=np.linspace(-1, 1, 4))

    result, host = solve("lbfgs", graph)

    assert result.status is Status.GRAD_TOL
    assert result.num_iterations == 0
    assert host.num_fg == graph.count == 1


def test_a_start_without_a_finite_loss_ends_at_once(build, solve):
    graph = build(lambda x: jnp.log(-x[0]), [1.0, 1.0])

    result, host = solve("lbfgs", graph)

    assert result.status is Status.NONFINITE
    assert result.num_iterations == 0
    assert host.num_fg == graph.count == 1


def test_a_minimum_beyond_the_last_finite_loss_is_not_told_as_convergence(build, solve):
    def f(x):
        return jnp.where(x[0] > 0.5, jnp.nan, jnp.sum((x - 1.0) ** 2))

    result, host = solve("lbfgs", build(f, [0.0, 0.25]), ftol=0.0)

    assert result.status in {Status.STAGNATED, Status.LINESEARCH_FAILED}
    assert result.x[0] <= 0.5
    assert np.isfinite(host.losses).all()


def test_a_search_that_finds_no_lower_loss_is_told_as_failed(build, solve):
    def f(x):  # the slope promises what is not there
        return jnp.abs(x[0]) + jnp.abs(x[1])

    result, host = solve("lbfgs", build(f, [1e-3, -2e-3]), max_linesearch_steps=1)

    assert result.status is Status.LINESEARCH_FAILED
    assert result.loss == pytest.approx(3e-3)
    assert host.num_fg == 2


def test_a_tolerance_of_nothing_ends_at_the_precision_of_the_loss(build, solve):
    graph = build("logistic")

    result, host = solve("lbfgs", graph, gtol=0.0, ftol=0.0)

    assert result.status is Status.STAGNATED
    assert host.num_fg == graph.count


def test_a_limit_of_evaluations_is_kept(build, solve):
    result, host = solve("lbfgs", build("valley"), max_evals=5)

    assert result.status is Status.MAX_EVALS
    assert 5 <= host.num_fg <= 5 + 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_size": 0}, r"memory_size=0 .* a whole number, 1 or above"),
        ({"initial_guess_strategy": "two"}, r"one of 'one', 'keep'"),
        ({"increase_factor": 1.0}, r"increase_factor=1\.0 .* above 1"),
        ({"slope_rtol": 0.95}, r"slope_rtol=0\.95, curv_rtol=0\.9 .* contradict"),
    ],
)
def test_values_that_an_option_cannot_take_are_refused(options, message, make):
    with pytest.raises(UnsupportedError, match=message):
        make("lbfgs", **options)
