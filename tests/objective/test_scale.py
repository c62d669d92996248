from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from models import SAMPLES, Case, normal
from oracles import RAGGED, objective_of, point_of

pytestmark = pytest.mark.backends("tensorflow", "torch")

HALF = 2e-3  # rounding of float16, of which a gradient here has two or three


def line(policy: str, weight: float) -> Case:
    """Make a line whose loss weighs little, and so has a small gradient."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, dtype=policy)])
    model.compile(loss="mse", loss_weights=weight, optimizer="sgd")
    return Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1, seed=1))


def gradient_outside(objective, x):
    return objective.value_and_grad(x)


def gradient_in_graph(objective, x):
    function = objective.compile(lambda graph, z: graph.value_and_grad(z), "gradient")
    f, g = function(keras.ops.convert_to_tensor(x))
    return float(f), np.array(g)


WAYS = {"outside": gradient_outside, "graph": gradient_in_graph}


@pytest.mark.parametrize("batch_size", [None, RAGGED])
@pytest.mark.parametrize("weight", [1.0, 1e-6, 1e-8])
@pytest.mark.parametrize("way", WAYS)
def test_small_gradients_do_not_vanish_in_float16(way, weight, batch_size):
    exact = objective_of(line("float32", 1.0), dtype="float32")[0]
    x = point_of(exact)
    expected_f, expected_g = exact.value_and_grad(x)
    objective = objective_of(line("mixed_float16", weight), batch_size, dtype="float32")[0]

    f, g = WAYS[way](objective, x)

    assert f == pytest.approx(weight * expected_f, rel=HALF)
    assert g == pytest.approx(weight * expected_g, rel=HALF, abs=HALF * weight)


@pytest.mark.parametrize("way", WAYS)
def test_large_gradients_do_not_overflow_in_float16(way):
    weight = 100.0  # times 2**15 it is beyond float16
    exact = objective_of(line("float32", 1.0), dtype="float32")[0]
    x = point_of(exact)
    expected = exact.value_and_grad(x)[1]
    objective = objective_of(line("mixed_float16", weight), dtype="float32")[0]

    g = WAYS[way](objective, x)[1]

    assert g == pytest.approx(weight * expected, rel=HALF, abs=HALF * weight)


@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_that_overflows_by_itself_is_told_as_such(way):
    objective = objective_of(line("mixed_float16", 1e6), dtype="float32")[0]

    f, g = WAYS[way](objective, point_of(objective))

    assert np.isfinite(f)
    assert not np.isfinite(g).all()


@pytest.mark.backends("tensorflow")
def test_other_precisions_are_differentiated_as_they_are():
    case = line("float32", 1e-3)
    objective = objective_of(case, dtype="float32")[0]
    x = point_of(objective)

    g = gradient_outside(objective, x)[1]

    import tensorflow as tf

    with tf.GradientTape() as tape:
        z = tf.convert_to_tensor(x)
        tape.watch(z)
        f = objective.program.loss(z, next(iter(objective.inputs()))[1])
    assert g.tolist() == np.array(tape.gradient(f, z)).tolist()
