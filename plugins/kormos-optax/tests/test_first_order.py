"""The first-order methods: optax's options, optax's iterates, and honest ends."""

from __future__ import annotations

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kormos
from kormos_core import Status
from kormos_core.errors import UnknownOptionError, UnsupportedError
from kormos_optax.methods import METHODS

pytestmark = pytest.mark.backends("jax")

STEPS = 6


def by_hand(optimizer, graph, count):
    """Return the iterates of optax's own loop; an update of zero makes none."""
    x, gradient = jnp.array(graph.x0), jax.jit(jax.grad(graph.f))
    state, iterates = optimizer.init(x), []
    while len(iterates) < count:
        updates, state = optimizer.update(gradient(x), state, x)
        x = optax.apply_updates(x, updates)
        if np.any(updates):
            iterates.append(np.array(x))
    return np.array(iterates)


@pytest.mark.parametrize("name", METHODS)
def test_the_iterates_are_those_of_optax_itself(name, build, solve):
    graph = build("valley")
    expected = by_hand(getattr(optax, name)(1e-3), graph, STEPS)

    result, host = solve(name, graph, maxiter=STEPS, room=4, learning_rate=1e-3)

    np.testing.assert_allclose(host.chunks[-1].last.x, expected[-1], rtol=1e-12)
    np.testing.assert_allclose(host.losses, [graph.f(x) for x in expected], rtol=1e-11)
    assert result.num_iterations == STEPS
    assert host.num_fg == graph.count > STEPS


@pytest.mark.parametrize("name", METHODS)
def test_the_options_are_the_arguments_of_optax(name, make):
    solver = make(name)
    parameters = inspect.signature(getattr(optax, name)).parameters
    left_out = {"mask", "mu_dtype", "accumulator_dtype"}
    own = {field: getattr(solver, field) for field in solver.__dataclass_fields__}

    assert own == {
        **{key: p.default for key, p in parameters.items() if key not in left_out},
        "learning_rate": 0.01 if name == "sgd" else 0.001,
        "gtol": 1e-5,
        "patience": 100,
        "max_evals": 15000,
        "tol": None,
    }


def test_options_are_handed_to_optax(build, solve):
    graph = build("bowl")
    expected = by_hand(optax.sgd(1e-3, momentum=0.9, nesterov=True), graph, STEPS)[-1]

    _, host = solve("sgd", graph, maxiter=STEPS, learning_rate=1e-3, momentum=0.9, nesterov=True)

    np.testing.assert_allclose(host.chunks[-1].last.x, expected, rtol=1e-12)


def test_equal_options_make_equal_solvers_that_a_file_can_keep(make):
    one, other = make("adam", b1=0.8), make("adam", b1=0.8)

    assert one == other == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(other)
    assert one != make("adam")


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownOptionError, match=r"'learnig_rate'.* mean 'learning_rate'"):
        kormos.BatchOptimizer("optax:adam", options={"learnig_rate": 0.1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": "high"}, r"learning_rate='high' .* a finite number"),
        ({"nesterov": 1}, r"nesterov=1 .* True or False"),
        ({"patience": 0}, r"patience=0 .* 1 or above"),
    ],
)
def test_values_that_an_option_cannot_take_are_refused(options, message, make):
    with pytest.raises(UnsupportedError, match=message):
        make("adam", **options)


def test_a_small_gradient_ends_the_solve(build, solve):
    result, host = solve("adam", build("logistic"), learning_rate=0.1, tol=1e-3)

    assert result.status is Status.GRAD_TOL
    assert np.abs(host.chunks[-1].last.g).max() <= 1e-3


def test_a_loss_that_falls_no_more_ends_the_solve_and_the_best_point_is_kept(build, solve):
    result, host = solve("lion", build("bowl"), learning_rate=0.3, patience=7)

    lowest = int(np.argmin(host.losses))
    assert result.status is Status.STAGNATED
    assert len(host.losses) == lowest + 1 + 7
    assert result.loss == host.losses[lowest] < host.losses[-1]


def test_a_loss_that_is_no_longer_finite_ends_the_solve_at_the_last_one_that_was(build, solve):
    result, host = solve("sgd", build(lambda x: jnp.sum(x**4), [1.0, 2.0]), learning_rate=1.0)

    assert result.status is Status.NONFINITE
    assert np.isfinite(host.chunks[-1].last.x).all()
    assert result.num_iterations == len(host.losses)


def test_a_start_without_a_finite_loss_ends_at_once(build, solve):
    graph = build(lambda x: jnp.log(-x[0]), [1.0, 1.0])

    result, host = solve("adam", graph)

    assert result.status is Status.NONFINITE
    assert result.num_iterations == 0
    assert host.num_fg == graph.count == 1


def test_a_limit_of_evaluations_is_kept(build, solve):
    result, host = solve("adam", build("valley"), max_evals=5)

    assert result.status is Status.MAX_EVALS
    assert host.num_fg == 5
