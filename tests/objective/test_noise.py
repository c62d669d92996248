from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, Case, floatx, make, normal, regression
from oracles import differences, objective_of, point_of, quiet_hvp, relative

from kormos_core.objective.noise import FrozenNoise, seed_variables

pytestmark = pytest.mark.backends("tensorflow", "torch")

NOISES = {
    "dropout": lambda: layers.Dropout(0.5),
    "gaussian noise": lambda: layers.GaussianNoise(0.5),
    "spatial dropout": lambda: keras.Sequential(
        [layers.Reshape((4, 4)), layers.SpatialDropout1D(0.5), layers.Flatten()]
    ),
    "wrapped dropout": lambda: keras.Sequential(
        [layers.Reshape((4, 4)), layers.TimeDistributed(layers.Dropout(0.5)), layers.Flatten()]
    ),
}


def noisy(name="dropout"):
    """Make a model with noise, always with the same weights and seeds."""
    with floatx("float64"):
        keras.utils.set_random_seed(7)
        return regression(layers.Dense(16, "tanh"), NOISES[name](), layers.Dense(2, "tanh"))


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("batch_size", [5, 13])
def test_a_noisy_model_gives_the_same_bits_at_the_same_point(name, batch_size):
    objective = objective_of(noisy(name), batch_size)[0]
    x = point_of(objective)

    seen = [objective.value_and_grad(x) for _ in range(3)]

    assert len({(f, g.tobytes()) for f, g in seen}) == 1


def test_other_points_in_between_leave_the_noise_alone():
    objective = objective_of(noisy(), 5)[0]
    x = point_of(objective)
    first = objective.value_and_grad(x)[0]

    objective.value_and_grad(2.0 * x)
    objective.hvp(x, x)

    assert objective.value_and_grad(x)[0] == first


def test_the_gradient_is_that_of_the_noisy_value():
    objective = objective_of(noisy(), 5)[0]
    x = point_of(objective)
    v = np.random.default_rng(2).normal(size=x.size)

    slope = (objective.value(x + 1e-6 * v) - objective.value(x - 1e-6 * v)) / 2e-6

    # rounding of 1e-16 over the step
    assert objective.value_and_grad(x)[1] @ v == pytest.approx(slope, rel=1e-7)


def test_the_hessian_is_that_of_the_noisy_value():
    objective = objective_of(noisy(), 5)[0]
    x = point_of(objective)
    v = np.random.default_rng(2).normal(size=x.size)

    hv = quiet_hvp(objective, x, v)

    assert objective.hvp_kind == "forward-over-reverse"
    assert relative(hv, differences(objective, x, v)) < 1e-6  # rounding of |g| over the step


@pytest.mark.parametrize("name", NOISES)
def test_two_batches_of_the_same_rows_draw_different_noise(name):
    case = noisy(name)
    twice = Case(case.model, np.concatenate([case.x] * 2), np.concatenate([case.y] * 2))
    objective = objective_of(twice, SAMPLES)[0]
    x = point_of(objective)

    parts = [objective.program.value(x, inputs) for _, inputs in objective.inputs()]

    assert parts[0] != parts[1]


class Watch(layers.Layer):
    """Passes its input on and keeps what it saw of it, where it runs eagerly."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x):
        if hasattr(x, "numpy"):
            self.seen.append(ops.convert_to_numpy(x) == 0.0)
        return x


@pytest.mark.backends("tensorflow")
def test_the_masks_of_two_batches_of_the_same_rows_differ():
    watch = Watch()
    case = regression(layers.Dropout(0.5), watch)
    twice = Case(case.model, np.concatenate([case.x] * 2), np.concatenate([case.y] * 2))
    objective = objective_of(twice, SAMPLES, eager=True, dtype="float32")[0]
    watch.seen.clear()

    objective.value(objective.program.layout.read())

    one, other = watch.seen
    assert one.any()
    assert (one != other).any()


@pytest.mark.backends("tensorflow")
def test_two_noisy_layers_draw_different_noise():
    one, other = Watch(), Watch()
    inputs = keras.Input((8,))
    branches = [watch(layers.Dropout(0.5)(inputs)) for watch in (one, other)]
    model = keras.Model(inputs, layers.Dense(1)(layers.Add()(branches)))
    model.compile(loss="mse", optimizer="sgd")
    case = Case(model, normal(SAMPLES, 8), normal(SAMPLES, 1))
    objective = objective_of(case, eager=True, dtype="float32")[0]

    objective.value(objective.program.layout.read())

    assert (one.seen[-1] != other.seen[-1]).any()


def test_the_next_fit_draws_other_noise():
    case = noisy()
    first, second = objective_of(case)[0], objective_of(case)[0]
    x = point_of(first)

    assert first.value(x) != second.value(x)


def test_an_objective_keeps_its_noise_when_the_next_one_draws():
    case = noisy()
    first = objective_of(case)[0]
    x = point_of(first)
    before = first.value(x)

    objective_of(case)

    assert first.value(x) == before


def test_the_random_seed_reproduces_the_noise_of_a_fit():
    values = []
    for _ in range(2):
        objective = objective_of(noisy(), 5)[0]
        values.append(objective.value(point_of(objective)))

    assert values[0] == values[1]


@pytest.mark.parametrize("name", NOISES)
def test_inference_mode_has_no_noise(name):
    case = noisy(name)
    one, other = (objective_of(case, 5, training=False)[0] for _ in range(2))
    x = point_of(one)

    assert one.value(x) == other.value(x)


def test_a_model_without_noise_has_no_seeds():
    model = make("dense").model

    assert seed_variables(model) == []
    assert FrozenNoise.draw(model).for_batch(0) == ()


def test_drawing_moves_the_generators_on_and_changes_nothing_else():
    model = noisy().model
    before = [np.array(ops.convert_to_numpy(variable)) for variable in model.weights]
    seeds = [np.array(ops.convert_to_numpy(variable)) for variable in seed_variables(model)]

    FrozenNoise.draw(model)

    after = [ops.convert_to_numpy(variable) for variable in model.weights]
    moved = [ops.convert_to_numpy(variable) for variable in seed_variables(model)]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert all((a != b).any() for a, b in zip(seeds, moved, strict=True))
