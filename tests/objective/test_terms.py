"""How batches' losses add up: every reduction, weights, masks, added losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import (
    SAMPLES,
    Adding,
    Case,
    Subclassed,
    added,
    classes,
    make,
    masked_and_plain,
    masked_tokens,
    normal,
    regression,
    two_in_two_out,
)
from oracles import naive_value_and_grad, objective_of, point_of, relative

from kormos_core.errors import UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "torch")

BATCHES = 1e-10  # law 1's own figure
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"]
RNG = np.random.default_rng(11)
FLAT = RNG.uniform(0.2, 3.0, SAMPLES)
TEMPORAL = RNG.uniform(0.2, 3.0, (SAMPLES, 4))
ONE_SAMPLE = np.eye(SAMPLES)[2]


@pytest.fixture(autouse=True)
def _reproducible(float64):
    keras.utils.set_random_seed(3)


def assert_batches_add_up(case, batch_size, **settings):
    """Hold value and gradient against a naive full batch; eager, as nothing is repeated."""
    objective = objective_of(case, batch_size, eager=True, **settings)[0]
    x = point_of(objective)
    expected_f, expected_g = naive_value_and_grad(case, x, **settings)

    f, g = objective.value_and_grad(x)

    assert f == pytest.approx(expected_f, rel=BATCHES)
    assert relative(g, expected_g) < BATCHES


@pytest.mark.parametrize("batch_size", [1, 5, 13])
@pytest.mark.parametrize(
    "sample_weight",
    [
        pytest.param(None, id="unweighted"),
        pytest.param(FLAT, id="flat"),
        pytest.param(FLAT[:, None], id="column"),
        pytest.param(ONE_SAMPLE, id="all-but-one-zero"),
    ],
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_gives_the_loss_of_one_full_batch(reduction, sample_weight, batch_size):
    case = regression(layers.Dense(2, "tanh", kernel_regularizer="l2"))
    case.model.compile(loss=keras.losses.MeanSquaredError(reduction=reduction), optimizer="sgd")
    case.sample_weight = sample_weight

    assert_batches_add_up(case, batch_size)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("sample_weight", [None, TEMPORAL], ids=["unweighted", "temporal"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_masks_and_temporal_weights_count_as_in_one_full_batch(
    reduction, sample_weight, batch_size
):
    case = masked_tokens(sample_weight, reduction=reduction)

    assert_batches_add_up(case, batch_size)


@pytest.mark.parametrize("sample_weight", [None, TEMPORAL], ids=["unweighted", "temporal"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_class_that_the_loss_ignores_counts_as_in_one_full_batch(reduction, sample_weight):
    case = masked_tokens(sample_weight, reduction=reduction, ignore_class=1)

    assert_batches_add_up(case, 5)


@pytest.mark.parametrize("weighted", ["both", "one", "none"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_each_output_has_a_reduction_and_weights_of_its_own(reduction, weighted):
    kind = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    case = two_in_two_out(loss={"price": "mae", "kind": kind})
    weights = {"price": FLAT[::-1].copy(), "kind": FLAT}
    case.sample_weight = {
        "both": weights,
        "one": weights | {"price": None},
        "none": None,
    }[weighted]

    assert_batches_add_up(case, 5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_masked_output_and_a_plain_one_each_take_their_share(reduction):
    case = masked_and_plain()
    token = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    case.model.compile(loss=[token, "mse"], loss_weights=[0.3, 2.0], optimizer="sgd")
    case.sample_weight = [TEMPORAL, FLAT]

    assert_batches_add_up(case, 5)


@pytest.mark.parametrize("class_weight", [{0: 0.5, 2: 3.0}, {1: 0.0}])
@pytest.mark.parametrize("one_hot", [False, True])
def test_class_weights_are_sample_weights_of_the_classes(class_weight, one_hot):
    case = regression(layers.Dense(3, "softmax"))
    model = keras.Sequential(case.model.layers[:-1])
    labels = classes()
    y = np.eye(3)[labels] if one_hot else labels
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    model.compile(loss=loss, optimizer="sgd")
    case = Case(model, case.x, y)
    objective = objective_of(case, 5, class_weight=class_weight, eager=True)[0]
    x = point_of(objective)
    case.sample_weight = np.array([class_weight.get(label, 1.0) for label in labels])
    expected_f, expected_g = naive_value_and_grad(case, x)

    f, g = objective.value_and_grad(x)

    assert f == pytest.approx(expected_f, rel=BATCHES)
    assert relative(g, expected_g) < BATCHES


@pytest.mark.parametrize("batch_size", [1, 5, 13])
def test_regularization_counts_once_whatever_the_batch_size(batch_size):
    kernel = normal(3, 1)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.5)),
        ]
    )
    model.compile(loss="mse", optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1, seed=1))
    objective = objective_of(case, batch_size, eager=True)[0]
    residual = case.x @ kernel - case.y

    f, g = objective.value_and_grad(kernel.ravel())

    gradient = 2.0 * case.x.T @ residual / SAMPLES + 2.0 * 0.5 * kernel
    assert f == pytest.approx(np.mean(residual**2) + 0.5 * np.sum(kernel**2), rel=BATCHES)
    assert relative(g, gradient.ravel()) < BATCHES


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dense", "mean"),
        ("convolution", "mean"),
        ("batch_normalization", "mean"),
        ("subclassed", "mean"),
        ("nested_models", "mean"),
        ("own_mean_loss", "mean"),
        ("own_sum_loss", "sum"),
        ("added_mean", "mean"),
        ("added_sum", "split"),
        ("masked_tokens", "split"),
        ("hidden_mask", "split"),
        ("ignored_class", "split"),
        ("masked_and_plain", "split"),
    ],
)
def test_the_plan_is_the_simplest_that_is_right(name, kind):
    case = make(name)

    whole, ragged = objective_of(case)[0], objective_of(case, 5, eager=True)[0]

    assert whole.program.plan.kind == "whole"
    assert ragged.program.plan.kind == kind


@pytest.mark.parametrize("batch_size", [5, 13])
def test_a_loss_without_a_reduction_is_refused(batch_size):
    case = regression()
    case.model.compile(loss=keras.losses.MeanSquaredError(reduction=None), optimizer="sgd")

    with pytest.raises(UnsupportedError, match=r"reduction=None.*Allowed are sum_over_batch_size"):
        objective_of(case, batch_size)


class AddsInTraining(Adding):
    """Adds its loss in training mode only."""

    def call(self, x, training=False):
        return super().call(x) if training else x


@pytest.mark.parametrize("layer", [Adding, AddsInTraining])
@pytest.mark.parametrize("reduce", [ops.mean, ops.sum], ids=["mean", "sum"])
@pytest.mark.parametrize("kernel", ["zeros", "glorot_uniform"])
def test_an_added_loss_is_a_mean_or_a_sum_wherever_it_is_added(layer, reduce, kernel):
    hidden = layers.Dense(2, kernel_initializer=kernel)
    case = regression(hidden, layer(lambda x: reduce(ops.square(x))))

    assert_batches_add_up(case, 5)


def test_an_added_loss_that_is_neither_mean_nor_sum_is_refused():
    case = added(lambda x: ops.sqrt(ops.sum(ops.square(x))))

    with pytest.raises(UnsupportedError, match="an added loss is neither a mean nor a sum"):
        objective_of(case, 5)


class SumAndPenalty(Subclassed):
    """Computes a sum over samples and a term without data."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        penalty = 0.01 * ops.sum(ops.square(self.hidden.kernel))  # under 1 % of the total
        return ops.sum(ops.square(y - y_pred)) + penalty


def test_an_own_loss_that_is_neither_mean_nor_sum_is_refused():
    model = SumAndPenalty()
    model.compile(optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1))

    with pytest.raises(UnsupportedError, match="compute_loss is neither a mean nor a sum"):
        objective_of(case, 5)


def dice():
    return keras.losses.Dice()


def scalar_sum():
    return lambda y, y_pred: ops.sum(ops.square(y - y_pred))


@pytest.mark.parametrize("loss", [dice, scalar_sum])
def test_a_loss_that_batches_do_not_add_up_to_is_refused(loss):
    case = regression()
    case.model.compile(loss=loss(), optimizer="sgd")

    with pytest.raises(UnsupportedError, match="batches cannot be added up"):
        objective_of(case, 5)


@pytest.mark.parametrize("loss", [dice, scalar_sum])
def test_a_loss_that_batches_do_not_add_up_to_is_right_in_one_batch(loss):
    case = regression()
    case.model.compile(loss=loss(), optimizer="sgd")

    assert_batches_add_up(case, 13)


class Sampling(layers.Layer):
    """Adds noise in every mode, as a variational autoencoder does, and a loss of it."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(3)

    def call(self, x):
        noisy = x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seed, dtype=x.dtype)
        self.add_loss(ops.mean(ops.square(noisy)))
        return noisy


def test_noise_is_not_taken_for_a_loss_that_does_not_add_up():
    case = regression(layers.Dense(2), Sampling())

    objective = objective_of(case, 5, eager=True)[0]

    assert objective.program.plan.kind == "mean"


def test_a_model_for_batches_of_one_size_is_swept_in_them():
    model = keras.Sequential([keras.Input(batch_shape=(5, 3)), layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")
    case = Case(model, normal(10, 3), normal(10, 1))
    objective = objective_of(case, 5, eager=True)[0]
    x = point_of(objective)
    kernel, bias = x[:3, None], x[3]

    f = objective.value(x)

    assert f == pytest.approx(np.mean((case.x @ kernel + bias - case.y) ** 2), rel=BATCHES)


def test_inference_mode_adds_up_with_batch_normalization_too():
    case = make("batch_normalization")

    assert_batches_add_up(case, 5, training=False)


def test_equal_batches_give_batch_normalization_the_value_of_one():
    case = make("batch_normalization")
    whole = objective_of(case, eager=True)[0]
    x = point_of(whole)
    twice = Case(case.model, np.concatenate([case.x] * 2), np.concatenate([case.y] * 2))

    f, g = objective_of(twice, SAMPLES, eager=True)[0].value_and_grad(x)

    expected_f, expected_g = whole.value_and_grad(x)
    assert f == pytest.approx(expected_f, rel=BATCHES)
    assert relative(g, expected_g) < BATCHES
