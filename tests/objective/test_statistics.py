from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, Case, floatx, make, normal, regression, two_in_two_out
from oracles import KERAS, RAGGED, objective_of, point_of, state_of, value_of

pytestmark = pytest.mark.backends("tensorflow", "jax")

ROUNDING = 1e-12  # of averages in float64


@pytest.fixture(autouse=True)
def _reproducible(float64):
    keras.utils.set_random_seed(3)


def normalizing(*layer, mean=0.0, **options):
    """Normalize the raw input, so that its statistics are those of the data."""
    case = regression(*(layer or (layers.BatchNormalization(**options),)))
    case.x = 2.0 * case.x + mean
    return case


def update(case, batch_size=None, **options):
    eager = keras.config.backend() == "tensorflow"  # nothing is traced; elsewhere Keras rounds
    objective, statistics = objective_of(case, batch_size, eager=eager, **options)
    statistics.update_moving(objective, objective.program.layout.read())


@pytest.mark.parametrize("batch_size", [1, RAGGED, SAMPLES])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 0.999])
def test_moving_statistics_become_the_mean_and_variance_of_the_data(batch_size, momentum):
    case = normalizing(momentum=momentum)
    layer = case.model.layers[0]

    update(case, batch_size)

    assert value_of(layer.moving_mean) == pytest.approx(case.x.mean(axis=0), rel=ROUNDING)
    assert value_of(layer.moving_variance) == pytest.approx(case.x.var(axis=0), rel=ROUNDING)


def test_moving_statistics_do_not_depend_on_what_they_were():
    case = normalizing()
    layer = case.model.layers[0]
    layer.moving_mean.assign([1e3, -1e3, 7.0])
    layer.moving_variance.assign([1e3, 1e-3, 7.0])

    update(case, RAGGED)

    assert value_of(layer.moving_mean) == pytest.approx(case.x.mean(axis=0), rel=ROUNDING)
    assert value_of(layer.moving_variance) == pytest.approx(case.x.var(axis=0), rel=ROUNDING)


def test_moving_statistics_of_float32_hold_far_from_zero():
    with floatx("float32"):
        case = normalizing(mean=1e3)
        layer = case.model.layers[0]

        update(case, RAGGED, dtype="float32")

    # a mean of 1e3 in float32 is right to 1e-4, a variance of 4 about it to 1e-3
    assert value_of(layer.moving_mean) == pytest.approx(case.x.mean(axis=0), abs=5e-4)
    assert value_of(layer.moving_variance) == pytest.approx(case.x.var(axis=0), rel=1e-3)


def test_after_an_update_inference_gives_the_training_loss_of_one_batch():
    case = make("batch_normalization")
    objective, statistics = objective_of(case)
    x = point_of(objective)
    objective.program.layout.write(x)

    statistics.update_moving(objective, x)

    loss = case.model.evaluate(case.x, case.y, batch_size=SAMPLES, verbose=0)
    assert loss == pytest.approx(objective.value(x), rel=max(1e-10, KERAS))


def test_two_calls_of_a_shared_layer_weigh_nearly_the_same():
    shared = layers.BatchNormalization()
    one, two = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([one, two], layers.Dot(1)([shared(one), shared(two)]))
    model.compile(loss="mse", optimizer="sgd")
    x = [normal(SAMPLES, 3), 5.0 + normal(SAMPLES, 3, seed=1)]

    update(Case(model, x, normal(SAMPLES, 1)), RAGGED)

    # The second call is weighed 1 to 0.99, as in Keras itself: a shift of 5 * 0.0025.
    assert value_of(shared.moving_mean) == pytest.approx(np.mean(x, axis=(0, 1)), abs=0.02)


@pytest.mark.parametrize("frozen", ["layer", "model"])
def test_a_frozen_layer_keeps_its_moving_statistics(frozen):
    case = normalizing(layers.BatchNormalization(), layers.Dense(2), layers.BatchNormalization())
    first, _, second, _ = case.model.layers
    first.trainable = False
    before = state_of(first)

    update(case, RAGGED)

    assert state_of(first) == before
    assert value_of(second.moving_mean).any()


class Block(layers.Layer):
    """A custom layer that hides a batch normalization."""

    def __init__(self):
        super().__init__()
        self.parts = {"normalize": [layers.BatchNormalization()]}

    def build(self, shape):
        self.parts["normalize"][0].build(shape)

    def call(self, x, training=False):
        return self.parts["normalize"][0](x, training=training)


@pytest.mark.parametrize(
    "layer",
    [
        Block,
        lambda: keras.Sequential([layers.BatchNormalization()]),
        lambda: keras.Sequential(
            [
                layers.Reshape((3, 1)),
                layers.TimeDistributed(layers.BatchNormalization()),
                layers.Flatten(),
            ]
        ),
    ],
    ids=["custom layer", "nested model", "wrapper"],
)
def test_batch_normalization_is_found_wherever_it_hides(layer):
    case = normalizing(layer())

    update(case, RAGGED)

    moving = [v for v in case.model.non_trainable_variables if v.name == "moving_mean"]
    expected = case.x.mean(axis=0) if moving[0].shape == (3,) else [case.x.mean()]
    # TimeDistributed calls its layer thrice, and later calls weigh up to 2 % more, as in Keras.
    assert value_of(moving[0]) == pytest.approx(expected, rel=0.02)


def test_a_layer_that_is_not_called_keeps_its_moving_statistics():
    class Skips(Block):
        def call(self, x, training=False):
            return x

    case = normalizing(Skips())
    before = state_of(case.model)

    update(case)

    assert state_of(case.model) == before


def test_an_update_changes_nothing_but_moving_statistics():
    case = make("batch_normalization")
    weights = [value_of(v) for v in case.model.trainable_variables]

    update(case, RAGGED)

    after = [value_of(v) for v in case.model.trainable_variables]
    assert all((a == b).all() for a, b in zip(weights, after, strict=True))


@pytest.mark.parametrize(("name", "training"), [("dense", True), ("batch_normalization", False)])
def test_there_is_nothing_to_update_without_batch_statistics(name, training):
    case = make(name)
    objective, statistics = objective_of(case, training=training, eager=True)
    before = state_of(case.model)

    statistics.update_moving(objective, objective.program.layout.read())

    assert not statistics.has_moving
    assert state_of(case.model) == before


def test_moving_statistics_follow_the_parameters_they_are_taken_at():
    case = make("batch_normalization")
    eager = keras.config.backend() == "tensorflow"  # as in `update`
    objective, statistics = objective_of(case, eager=eager)
    x = point_of(objective)
    kernel, bias = x[:6].reshape(3, 2), x[6:8]

    statistics.update_moving(objective, x)

    expected = (case.x @ kernel + bias).mean(axis=0)
    assert value_of(case.model.layers[1].moving_mean) == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("batch_size", [RAGGED, SAMPLES])
def test_metrics_are_those_that_evaluate_reports_of_one_batch(batch_size):
    metrics = {"price": ["mse", keras.metrics.RootMeanSquaredError()], "kind": ["accuracy"]}
    case = two_in_two_out(metrics=metrics, weighted_metrics={"price": ["mae"], "kind": []})
    case.sample_weight = {
        "price": np.linspace(0.5, 2.0, SAMPLES),
        "kind": np.linspace(2.0, 0.5, SAMPLES),
    }
    objective, statistics = objective_of(case, batch_size)
    expected = case.model.evaluate(
        case.x,
        case.y,
        sample_weight=case.sample_weight,
        batch_size=SAMPLES,
        verbose=0,
        return_dict=True,
    )

    found = statistics.metrics(objective, objective.program.layout.read())

    # Keras's own metrics compute in float32
    assert found == pytest.approx({k: v for k, v in expected.items() if k != "loss"}, rel=1e-6)


def test_metrics_start_anew_each_time_and_leave_the_model_alone():
    case = make("convolution")
    objective, statistics = objective_of(case, RAGGED)
    x = objective.program.layout.read()
    before = state_of(case.model)

    seen = [statistics.metrics(objective, x) for _ in range(3)]

    assert seen[0] == seen[1] == seen[2]
    assert state_of(case.model) == before


def test_metrics_are_taken_at_the_given_parameters():
    case = regression()
    case.model.compile(loss="mse", metrics=["mae"], optimizer="sgd")
    objective, statistics = objective_of(case, RAGGED)
    x = point_of(objective)

    found = statistics.metrics(objective, x)

    expected = np.abs(case.x @ x[:3, None] + x[3] - case.y).mean()
    assert found == {"mae": pytest.approx(expected, rel=1e-6)}  # metrics compute in float32


def test_metrics_see_the_noise_of_the_objective():
    case = regression(layers.Dropout(0.5))
    case.model.compile(loss="mse", metrics=["mse"], optimizer="sgd")
    objective, statistics = objective_of(case)
    x = point_of(objective)

    found = statistics.metrics(objective, x)

    assert found == {"mse": pytest.approx(objective.value(x), rel=1e-6)}


class Doubled(keras.metrics.Metric):
    """A metric with a state of its own."""

    def __init__(self):
        super().__init__(name="doubled")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y, y_pred, sample_weight=None):
        self.total.assign_add(2.0 * ops.sum(ops.cast(y, self.total.dtype)))

    def result(self):
        return self.total


def test_own_metrics_are_summed_over_the_batches():
    case = regression()
    case.model.compile(loss="mse", metrics=[Doubled()], optimizer="sgd")
    objective, statistics = objective_of(case, RAGGED)

    found = statistics.metrics(objective, objective.program.layout.read())

    assert found == {"doubled": pytest.approx(2.0 * case.y.sum(), rel=1e-6)}


def test_a_metric_with_a_number_for_each_class_gives_an_array():
    case = make("convolution")
    case.y = np.eye(3)[case.y]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    case.model.compile(loss=loss, metrics=[keras.metrics.F1Score()], optimizer="sgd")
    objective, statistics = objective_of(case, RAGGED)

    found = statistics.metrics(objective, objective.program.layout.read())

    assert found["f1_score"].shape == (3,)
