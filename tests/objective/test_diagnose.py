from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, Case, floatx, make, normal, regression
from oracles import RAGGED, objective_of, point_of

from kormos_core.objective.diagnose import blame_batch

pytestmark = pytest.mark.backends("tensorflow", "torch")

SPOILED = 7  # a sample of the second batch


def diagnose(case, x=None, **settings):
    objective = objective_of(case, RAGGED, eager=True, **settings)[0]
    return objective.diagnose(point_of(objective) if x is None else x)


def spoil(array, value=np.nan):
    spoiled = np.array(array, float)
    spoiled[SPOILED] = value
    return spoiled


def test_nothing_is_found_where_all_is_finite():
    assert diagnose(make("dense")) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_input_is_named_with_its_batch(value):
    case = make("two_in_two_out")
    case.x = case.x | {"b": spoil(case.x["b"], value)}

    found = diagnose(case)

    assert found == "the input 'b' has 3 NaN or infinite values (batch 1)"


def test_a_single_input_has_the_name_it_was_given():
    model = keras.Sequential([keras.Input((3,), name="age"), layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")

    found = diagnose(Case(model, spoil(normal(SAMPLES, 3)), normal(SAMPLES, 1)), dtype="float32")

    assert found == "the input 'age' has 3 NaN or infinite values (batch 1)"


def test_a_single_input_without_a_name_has_none():
    case = make("dense")
    case.x = spoil(case.x)

    assert diagnose(case) == "the input has 3 NaN or infinite values (batch 1)"


def test_an_input_of_a_list_is_named_by_its_place():
    case = make("shared_layer")
    case.x = [case.x[0], spoil(case.x[1])]

    assert diagnose(case) == "the input '1' has 2 NaN or infinite values (batch 1)"


def test_a_target_is_named():
    case = make("two_in_two_out")
    case.y = case.y | {"price": spoil(case.y["price"])}

    assert diagnose(case) == "the target 'price' has 1 NaN or infinite values (batch 1)"


def test_a_single_target_has_no_name():
    case = make("dense")
    case.y = spoil(case.y)

    assert diagnose(case) == "the target has 1 NaN or infinite values (batch 1)"


def test_a_sample_weight_is_named():
    case = make("dense")
    case.sample_weight = spoil(np.ones(SAMPLES))

    assert diagnose(case) == "the sample weight has 1 NaN or infinite values (batch 1)"


def test_integers_are_finite():
    case = make("masked_tokens")
    objective = objective_of(case, eager=True)[0]
    x = np.full(objective.size, np.inf)

    assert "embedding" in objective.diagnose(x)


def test_a_weight_is_named():
    case = make("dense")
    objective = objective_of(case, eager=True)[0]
    x = point_of(objective)
    x[objective.program.layout.slices()[1].start] = np.nan

    assert objective.diagnose(x).startswith("the weight 'sequential")
    assert "dense" in objective.diagnose(x)


def logarithm(x):
    return ops.log(x)


def test_a_layer_is_named():
    with floatx("float64"):
        case = regression(layers.Dense(2), layers.Lambda(logarithm, name="log"), layers.Dense(2))

    assert diagnose(case) == "the output of layer 'log' is not finite (batch 0)"


def test_a_layer_of_a_subclassed_model_stays_unnamed():
    class Bad(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1)

        def call(self, x):
            return ops.log(self.out(x))

    model = Bad()
    model.compile(loss="mse", optimizer="sgd")

    assert diagnose(Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1)), dtype="float32") == ""


def test_a_loss_is_blamed_where_all_layers_are_finite():
    with floatx("float64"):
        case = regression()
        case.model.compile(loss=lambda y, y_pred: ops.log(y - y), optimizer="sgd")

    found = diagnose(case)

    assert found == "all layers' outputs are finite, so it arises in the loss itself"


@pytest.mark.backends("tensorflow")
def test_a_gradient_is_blamed_where_the_loss_is_finite():
    def root(x):
        return ops.sqrt(ops.relu(x))

    with floatx("float64"):
        case = regression(
            layers.Dense(2, name="before", kernel_initializer="zeros"), layers.Lambda(root)
        )
    objective = objective_of(case, eager=True)[0]
    x = objective.program.layout.read()

    found = objective.diagnose(x)

    assert np.isfinite(objective.value(x))
    assert found.startswith("the gradient of '")
    assert "before/kernel" in found
    assert found.endswith("is not finite")


def test_a_diagnosis_changes_nothing():
    case = make("batch_normalization")
    case.x = spoil(case.x)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in case.model.variables]

    diagnose(case)

    after = [keras.ops.convert_to_numpy(v) for v in case.model.variables]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        keras.losses.sparse_categorical_crossentropy,
    ],
    ids=["string", "class", "function"],
)
def test_a_class_index_without_an_output_is_named(loss, float64):
    case = make("convolution")
    case.model.compile(loss=loss, optimizer="sgd")
    objective = objective_of(case, RAGGED)[0]
    case.y[[SPOILED, SPOILED + 1]] = 7, -1
    spoiled = objective_of(case, RAGGED)[0]
    inputs = [batch for _, batch in spoiled.inputs()]

    found = blame_batch(objective.program, point_of(objective), inputs[1], 1)

    assert found == ("the target has class indices outside of 0 to 2: 2 of 5, such as 7 (batch 1)")


def test_a_class_that_the_loss_ignores_is_no_fault(float64):
    case = make("ignored_class")
    case.model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    )
    case.y[0] = -1
    objective = objective_of(case)[0]
    (inputs,) = [batch for _, batch in objective.inputs()]

    found = blame_batch(objective.program, point_of(objective), inputs, 0)

    assert found == "all layers' outputs are finite, so it arises in the loss itself"
