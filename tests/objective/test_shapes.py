from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, Case, OwnLoss, Subclassed, classes, normal, two_in_two_out
from oracles import objective_of

from kormos_core.errors import DataError, UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "torch")


def linear(*units, loss="mse"):
    model = keras.Sequential([keras.Input((3,)), *(layers.Dense(unit) for unit in units)])
    model.compile(loss=loss, optimizer="sgd")
    return model


def build(model, y, x=None):
    x = normal(SAMPLES, 3) if x is None else x
    return objective_of(Case(model, x, y), dtype="float32")[0]


@pytest.mark.parametrize(
    ("units", "shape"),
    [(1, (2,)), (2, (1,)), (3, (3, 3)), (SAMPLES, ()), (2, ())],
    ids=["too wide", "too narrow", "too deep", "as wide as samples", "flat"],
)
@pytest.mark.parametrize(
    "loss",
    ["mse", "MeanAbsoluteError", keras.losses.Huber(), keras.losses.log_cosh],
    ids=["string", "name", "instance", "function"],
)
def test_targets_that_would_be_broadcast_are_refused(loss, units, shape):
    with pytest.raises(
        DataError, match=rf"^targets of shape \(13.* outputs of shape \(13, {units}\)"
    ):
        build(linear(units, loss=loss), normal(SAMPLES, *shape))


@pytest.mark.parametrize(
    ("units", "shape", "loss"),
    [
        (1, (), "mse"),
        (1, (1,), "mse"),
        (1, (1, 1), "mse"),
        (2, (2,), "binary_crossentropy"),
        (1, (2,), lambda y, p: ops.mean(ops.square(y - p), axis=-1)),
    ],
)
def test_targets_of_the_outputs_shape_and_a_users_own_losses_are_taken(units, shape, loss):
    y = (normal(SAMPLES, *shape) > 0.0).astype("float32")

    assert build(linear(units, loss=loss), y).size == 4 * units


@pytest.mark.parametrize("shape", [(), (1,)])
def test_class_indices_need_no_more_than_one_entry(shape):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    assert build(linear(3, loss=loss), classes(*shape)).size == 12


def test_each_output_is_compared_with_its_own_target():
    case = two_in_two_out()
    case.y = case.y | {"price": normal(SAMPLES, 2)}

    with pytest.raises(
        DataError, match=r"targets of shape \(13, 2\) .* outputs of shape \(13, 1\)"
    ):
        objective_of(case, dtype="float32")


def test_complex_inputs_of_a_real_model_are_refused():
    with pytest.raises(DataError, match=r"inputs are complex \(complex128\).*side by side"):
        build(linear(1), normal(SAMPLES, 1), normal(SAMPLES, 3) + 1j)


@pytest.mark.backends("tensorflow")  # Keras does not infer such shapes on torch
def test_complex_inputs_of_a_model_for_them_are_taken():
    inputs = keras.Input((3,), dtype="complex128")
    parts = layers.Lambda(lambda x: ops.concatenate([ops.real(x), ops.imag(x)], axis=-1))(inputs)
    model = keras.Model(inputs, layers.Dense(1)(parts))
    model.compile(loss="mse", optimizer="sgd")

    assert build(model, normal(SAMPLES, 1), normal(SAMPLES, 3) + 1j).size == 7


@pytest.mark.parametrize(
    ("reduce", "what"),
    [
        (lambda e: e, r"shape \(\d+, 1\)"),
        (lambda e: ops.mean(e, axis=-1), r"shape \(\d+,\)"),
        (lambda e: ops.reshape(ops.mean(e), (1,)), r"shape \(1,\)"),
        (lambda e: None, "a NoneType"),
        (lambda e: 3.0, "a float"),
    ],
    ids=["entries", "samples", "one", "nothing", "number"],
)
@pytest.mark.parametrize("batch_size", [None, 5])
def test_an_own_loss_that_is_no_single_number_is_refused(batch_size, reduce, what):
    model = OwnLoss(reduce)
    model.compile(optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1))

    with pytest.raises(
        UnsupportedError, match=rf"compute_loss of 'own_loss.*not usable: {what}\."
    ):
        objective_of(case, batch_size, dtype="float32")


@pytest.mark.parametrize("reduction", ["none", None])
def test_a_loss_without_a_reduction_is_blamed_by_its_name(reduction):
    model = linear(1, loss=keras.losses.MeanSquaredError(reduction=reduction))

    with pytest.raises(
        UnsupportedError, match=rf"'mean_squared_error' has reduction={reduction!r}"
    ):
        build(model, normal(SAMPLES, 1))


class OwnMean(Subclassed):
    """A model that reduces its compiled loss itself."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(self.loss(y, y_pred))


@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_loss_that_an_own_compute_loss_reduces_is_taken(batch_size):
    model = OwnMean()
    model.compile(loss=keras.losses.MeanSquaredError(reduction="none"), optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1))
    objective = objective_of(case, batch_size, dtype="float32")[0]

    f = objective.value(objective.program.layout.read())

    predicted = model.predict(normal(SAMPLES, 3), verbose=0)
    # float32
    assert f == pytest.approx(np.mean((predicted - normal(SAMPLES, 1)) ** 2), rel=1e-5)


def test_losses_by_name_need_outputs_with_names():
    with pytest.raises(
        UnsupportedError, match=r"given by name, \['dense'\], and outputs .* have no names"
    ):
        build(linear(1, loss={"dense": "mse"}), normal(SAMPLES, 1))
