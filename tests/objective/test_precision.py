from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import SAMPLES, Case, Subclassed, floatx, make, normal
from oracles import objective_of

from kormos_core.errors import PrecisionWarning
from kormos_core.objective import float_dtype, floatx_scope, warn_of_tolerances
from kormos_core.objective.layers import compute_dtypes

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["dense", "nested_models", "masked_tokens"])
def test_data_take_the_dtype_of_the_weights(name, dtype):
    assert float_dtype(make(name, dtype).model) == dtype


def test_a_model_that_is_not_built_yet_tells_by_its_layers():
    with floatx("float64"):
        model = Subclassed()

    assert float_dtype(model) == "float64"


def test_one_layer_of_float64_decides():
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(1, dtype="float32"), layers.Dense(1, dtype="float64")]
    )

    assert float_dtype(model) == "float64"


def test_a_model_without_weights_takes_the_floatx():
    assert float_dtype(keras.Sequential([keras.Input((2,)), layers.Flatten()])) == "float32"


def test_the_floatx_is_given_back():
    before = keras.config.floatx()

    with floatx_scope("float64"):
        inside = keras.config.floatx()

    assert (inside, keras.config.floatx()) == ("float64", before)


def test_the_floatx_is_given_back_after_an_error():
    before = keras.config.floatx()

    with pytest.raises(ZeroDivisionError, match="division"), floatx_scope("float64"):
        _ = 1 / 0

    assert keras.config.floatx() == before


def test_layers_in_float64_are_judged_as_such_whatever_their_model_hands_on():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, dtype="float64")], name="mixed"
    )

    dtypes = compute_dtypes(model)

    assert dtypes == {"float64"}


def in_policy(policy):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, dtype=policy)])
    model.compile(loss="mse", optimizer="sgd")
    return Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1))


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("mixed_float16", r"computes in float16, which has 3 digits.*float32 or float64 go"),
        ("mixed_bfloat16", r"computes in bfloat16, which has 2 digits.*batch_size of some hundr"),
    ],
)
def test_what_half_precision_costs_is_told(policy, told):
    with pytest.warns(PrecisionWarning, match=told):
        objective_of(in_policy(policy), dtype="float32")


@pytest.mark.parametrize("policy", ["float32", "float64"])
def test_nothing_is_told_of_wider_precision(policy):
    case = in_policy(policy)
    with floatx(policy):
        case.model.compile(loss="mse", optimizer="sgd")

    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        objective = objective_of(case, dtype=policy)[0]

    assert objective.dtype == policy


@pytest.mark.parametrize("name", ["tol", "gtol", "tolerance"])
def test_a_tolerance_that_float32_does_not_resolve_is_told(name):
    with pytest.warns(PrecisionWarning, match=rf"^{name}=1e-09 is out of reach.*set_floatx"):
        warn_of_tolerances("float32", {name: 1e-9})


@pytest.mark.parametrize(
    ("precision", "asked"),
    [
        ("float64", {"gtol": 1e-12}),
        ("float32", {}),
        ("float32", {"tol": None}),
        ("float32", {"gtol": 0.0}),
        ("float32", {"gtol": np.float32(1e-5)}),
        ("float32", {"ftol": 1e-12}),
    ],
    ids=str,
)
def test_a_tolerance_within_reach_is_not_remarked_on(precision, asked):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        warn_of_tolerances(precision, asked)
