"""Transformations of the user's own, line searches among them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kormos
from kormos_core import Status
from kormos_core.errors import OptionError, UnsupportedError
from kormos_optax.transformation import Transformation

pytestmark = pytest.mark.backends("jax")


def asking(*, name="num_linesearch_steps"):
    """Evaluate the loss twice in an update, and tell so under a name."""

    def init(x):
        del x
        return {"search": {name: jnp.array(0)}}

    def update(updates, state, params=None, *, value_fn, **others):
        del state, others
        better = value_fn(params - 1e-3 * updates) < value_fn(params + 1e-3 * updates)
        step = jnp.where(better, -1e-3, 1e-3)
        return step * updates, {"search": {name: jnp.array(2)}}

    return optax.GradientTransformationExtraArgs(init, update)


def test_a_chain_makes_its_own_iterates(build, solve):
    schedule = optax.exponential_decay(0.1, 3, 0.5)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    graph = build("valley")
    x = jnp.array(graph.x0)
    state = optimizer.init(x)
    for _ in range(8):
        updates, state = optimizer.update(jax.grad(graph.f)(x), state, x)
        x = optax.apply_updates(x, updates)

    _, host = solve("transformation", graph, maxiter=8, transformation=optimizer)

    np.testing.assert_allclose(host.chunks[-1].last.x, x, rtol=1e-7)  # schedules are float32


def test_a_line_search_within_is_counted_and_its_state_is_kept(build, solve):
    search = optax.scale_by_backtracking_linesearch(15, store_grad=True)
    optimizer = optax.chain(optax.sgd(1.0), search)
    graph = build("bowl")

    result, host = solve("transformation", graph, transformation=optimizer, gtol=1e-3)

    assert result.status is Status.GRAD_TOL
    assert host.num_fg == graph.count > 2 * result.num_iterations
    assert (np.diff(host.losses) < 0).all()


def test_evaluations_without_a_gradient_are_counted_too(build, solve):
    graph = build("bowl")

    _, host = solve("transformation", graph, maxiter=5, transformation=asking())

    assert host.num_fg == graph.count == 1 + 5 * 3


def test_one_that_evaluates_and_does_not_tell_how_often_is_refused(build, solve):
    with pytest.raises(UnsupportedError, match=r"does not tell how often"):
        solve("transformation", build("bowl"), transformation=asking(name="secret"))


def test_updates_of_zero_are_no_iterations(build, solve):
    every_third = optax.MultiSteps(optax.sgd(1e-3), 3).gradient_transformation()
    graph = build("bowl")

    result, host = solve("transformation", graph, maxiter=4, transformation=every_third)

    assert result.num_iterations == 4
    assert host.num_fg == graph.count == 1 + 3 * 4
    assert (np.diff(host.losses) < 0).all()


def test_equal_ones_are_the_same_object():
    adam, twin = optax.adam(0.1), optax.adam(0.1)
    one = Transformation(transformation=adam)

    assert one == Transformation(transformation=adam)
    assert hash(one) == hash(Transformation(transformation=adam))
    assert one != Transformation(transformation=twin)


def test_what_is_no_transformation_is_refused():
    with pytest.raises(UnsupportedError, match=r"transformation='adam' .* optax\.chain"):
        kormos.BatchOptimizer("optax:transformation", options={"transformation": "adam"})


def test_none_at_all_is_told_before_anything_is_evaluated():
    with pytest.raises(OptionError, match=r"has no transformation\. Allowed is an optax"):
        kormos.minimize(jnp.sum, [1.0], solver="optax:transformation")


def test_random_keys_are_no_part_of_a_state(build, solve):
    def init(x):
        del x
        return {"key": jax.random.key(0)}

    def update(updates, state, params=None):
        del params
        return updates, state

    noisy = optax.GradientTransformation(init, update)
    with pytest.raises(UnsupportedError, match=r"'key' is a typed random key"):
        solve("transformation", build("bowl"), transformation=noisy)


def test_a_model_file_does_not_keep_it(tmp_path):
    optimizer = kormos.BatchOptimizer(
        "optax:transformation", options={"transformation": optax.adam(0.1)}
    )

    with pytest.raises(UnsupportedError, match=r"option transformation=.* model cannot keep"):
        optimizer.get_config()
