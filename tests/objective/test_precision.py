from __future__ import annotations

import keras
import pytest
from keras import layers
from models import Subclassed, floatx, make

from kormos_core.objective import float_dtype, floatx_scope
from kormos_core.objective.layers import compute_dtypes


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
