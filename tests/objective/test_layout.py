from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from models import make

from kormos_core.objective import Layout

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


@pytest.fixture
def variables(float64):
    return [keras.Variable(np.full(shape, 1.0)) for shape in [(2, 3), (), (4,)]]


def test_variables_lie_one_after_the_other(variables):
    layout = Layout.of(variables)

    assert layout.size == 6 + 1 + 4
    assert layout.slices() == [slice(0, 6), slice(6, 7), slice(7, 11)]


def test_reading_and_writing_are_inverse(variables):
    layout = Layout.of(variables)
    x = np.arange(11.0)

    layout.write(x)

    assert layout.read().tobytes() == x.tobytes()
    assert (ops.convert_to_numpy(variables[0]) == x[:6].reshape(2, 3)).all()  # C order


def test_a_split_has_the_shapes_of_the_variables(variables):
    layout = Layout.of(variables)
    x = np.arange(11.0)

    parts = layout.split(ops.convert_to_tensor(x))

    assert [tuple(part.shape) for part in parts] == [(2, 3), (), (4,)]
    assert np.concatenate([np.ravel(part) for part in parts]).tobytes() == x.tobytes()


def test_a_split_of_one_variable_is_the_whole_vector(variables):
    layout = Layout.of(variables[:1])

    (part,) = layout.split(ops.convert_to_tensor(np.arange(6.0)))

    assert (ops.convert_to_numpy(part) == np.arange(6.0).reshape(2, 3)).all()


def test_a_vector_read_is_a_copy(variables):
    layout = Layout.of(variables)
    x = layout.read()

    x[:] = 9.0

    assert layout.read()[0] == 1.0


@pytest.mark.parametrize(
    ("dtypes", "dtype"),
    [
        (["float32", "float32"], "float32"),
        (["float32", "float64"], "float64"),
        (["float64"], "float64"),
        (["bfloat16"], "bfloat16"),
    ],
)
def test_the_dtype_is_the_widest(dtypes, dtype):
    layout = Layout.of([keras.Variable([1.0], dtype=each) for each in dtypes])

    assert layout.dtype == dtype


def test_each_part_has_the_dtype_of_its_variable():
    layout = Layout.of([keras.Variable([1.0], dtype=each) for each in ("float32", "float64")])

    parts = layout.split(ops.convert_to_tensor(np.ones(2)))

    assert [keras.backend.standardize_dtype(part.dtype) for part in parts] == [
        "float32",
        "float64",
    ]


def test_no_variables_make_an_empty_vector():
    layout = Layout.of([])

    assert layout.size == 0
    assert layout.read().shape == (0,)


def test_the_order_is_that_of_the_model():
    model = make("two_in_two_out").model

    layout = Layout.of(model.trainable_variables)

    assert [v.path for v in layout.variables] == [v.path for v in model.trainable_variables]
