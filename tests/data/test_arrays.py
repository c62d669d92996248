from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kormos_core.data import (
    DEFAULT_BATCH_SIZE,
    ArrayBatches,
    adapt,
    count_samples,
    is_arrays,
    normalize,
    split_off_validation,
)
from kormos_core.errors import DataError

N = 7
X = np.arange(2.0 * N).reshape(N, 2)
Y = np.arange(1.0 * N)[:, None]
W = np.linspace(0.5, 2.0, N)


def joined(batches, part):
    """Put the batches of one role together again."""
    parts = [getattr(batch, part) for batch in batches]
    if parts[0] is None:
        return None
    return keras.tree.map_structure(
        lambda *leaves: np.concatenate([keras.ops.convert_to_numpy(leaf) for leaf in leaves]),
        *parts,
    )


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(None, [7]), (7, [7]), (100, [7]), (3, [3, 3, 1]), (1, [1] * 7), (6, [6, 1])],
)
def test_arrays_are_cut_into_slices_with_a_shorter_last_one(batch_size, sizes):
    batches = adapt(X, Y, W, batch_size=batch_size, float_dtype="float64")

    assert isinstance(batches, ArrayBatches)
    assert batches.num_batches == len(sizes)
    assert [batch.num_samples for batch in batches] == sizes
    assert (joined(batches, "x") == X).all()
    assert (joined(batches, "y") == Y).all()
    assert (joined(batches, "sample_weight") == W).all()


def test_many_samples_are_cut_into_equal_slices_without_being_asked():
    samples = DEFAULT_BATCH_SIZE + 10

    batches = adapt(np.zeros((samples, 1), np.int8), np.zeros((samples, 1), np.int8))

    assert [batch.num_samples for batch in batches] == [samples // 2] * 2


def test_slices_lie_on_the_device_once():
    batches = adapt(X, Y, batch_size=3)

    slices = list(batches)

    assert all(keras.ops.is_tensor(leaf) for leaf in batches.arrays[:2])
    assert [batch.num_samples for batch in slices] == [3] * (len(X) // 3) + [len(X) % 3] * (
        len(X) % 3 > 0
    )
    assert np.concatenate([batch.x for batch in slices]).tolist() == X.tolist()


def test_later_changes_of_an_array_are_not_seen():
    x = X.copy()
    batches = adapt(x, Y, float_dtype="float64")

    x[:] = -1.0

    assert (joined(batches, "x") == X).all()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda a: a, id="numpy"),
        pytest.param(tf.constant, id="tensor"),
        pytest.param(tf.Variable, id="variable"),
        pytest.param(pd.DataFrame, id="frame"),
        pytest.param(lambda a: pd.DataFrame(a, index=list("gfedcba")), id="frame with an index"),
        pytest.param(lambda a: a.astype("float32"), id="other precision"),
        pytest.param(np.asfortranarray, id="Fortran order"),
        pytest.param(lambda a: a[::1], id="view"),
    ],
)
def test_every_kind_of_array_gives_the_same_batches(make):
    batches = adapt(make(X), make(Y), batch_size=3, float_dtype="float64")

    assert (joined(batches, "x") == X).all()
    assert (joined(batches, "y") == Y).all()
    assert keras.backend.standardize_dtype(next(iter(batches)).x.dtype) == "float64"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda a, b: {"a": a, "b": b}, id="dict"),
        pytest.param(lambda a, b: [a, b], id="list"),
        pytest.param(lambda a, b: (a, b), id="tuple"),
        pytest.param(lambda a, b: {"a": [a], "b": {"c": (b,)}}, id="nested"),
        pytest.param(lambda a, b: {"a": pd.Series(a[:, 0]), "b": tf.constant(b)}, id="mixed"),
    ],
)
def test_structures_of_arrays_are_kept(make):
    structure = make(X, Y)

    batches = adapt(structure, Y, batch_size=3, float_dtype="float64")

    keras.tree.assert_same_structure(next(iter(batches)).x, structure)
    leaves = keras.tree.flatten(joined(batches, "x"))
    assert (leaves[0] == X[:, : leaves[0].shape[1]]).all()
    assert (leaves[1] == Y).all()


def test_a_series_becomes_a_column():
    batches = adapt(pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}), pd.Series(Y[:, 0]))

    assert tuple(next(iter(batches)).x.shape) == (N, 2)
    assert tuple(next(iter(batches)).y.shape) == (N, 1)


def test_lists_of_numbers_are_arrays():
    batches = adapt([1.0, 2.0, 3.0], [0, 1, 0], batch_size=2)

    assert [batch.num_samples for batch in batches] == [2, 1]
    assert keras.backend.standardize_dtype(next(iter(batches)).y.dtype).startswith("int")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.zeros(2), "float64"),
        (np.zeros(2, "float16"), "float64"),
        (np.zeros(2, "int8"), "int8"),
        (np.zeros(2, "bool"), "bool"),
        (tf.zeros(2), "float64"),
        (tf.zeros(2, "int32"), "int32"),
        (np.array(["a", "b"]), "string"),
    ],
)
def test_only_floats_take_the_models_dtype(array, dtype):
    batch = next(iter(adapt(array, float_dtype="float64")))

    assert keras.backend.standardize_dtype(batch.x.dtype) == dtype


def test_normalizing_without_a_dtype_leaves_arrays_as_they_are():
    x = np.zeros(2, "float16")

    normalized = normalize({"x": x, "none": None}, None)

    assert normalized["x"] is x
    assert normalized["none"] is None


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (X, True),
        (None, True),
        ({"a": X, "b": None}, True),
        ([X, [X]], True),
        (pd.Series([1]), True),
        ([1.0, 2.0], True),
        (tf.data.Dataset.from_tensors(X), False),
        (iter([X]), False),
        ([object()], False),
        ("words", False),
    ],
)
def test_arrays_are_told_from_sources_of_batches(x, expected):
    assert is_arrays(x) is expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "there is no training data: x is None"),
        ((X, Y[:5]), r"differ in length: \[7, 5\] samples"),
        (({"a": X, "b": X[:5]}, Y), r"differ in length: \[7, 5, 7\] samples"),
        ((X, Y, W[:6]), r"differ in length: \[7, 7, 6\] samples"),
        ((X[:0], Y[:0]), "the training data is empty"),
        (([], None), "the training data is empty"),
        (({}, None), "the training data is empty"),
        ((np.array(1.0),), "has no sample axis"),
        ((tf.constant(1.0),), "has no sample axis"),
        ((3.0,), "the training data is not usable: float"),
        ((object(),), "the training data is not usable: object"),
    ],
)
def test_data_that_cannot_be_swept_is_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        adapt(*arguments)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "a", np.nan, [3]])
def test_a_batch_size_that_is_no_positive_integer_is_refused(batch_size):
    with pytest.raises(
        DataError, match=r"batch_size is not usable.*Allowed is a positive integer"
    ):
        adapt(X, Y, batch_size=batch_size)


def test_a_batch_size_may_be_any_kind_of_integer():
    assert adapt(X, Y, batch_size=np.int64(3)).num_batches == 3


@pytest.mark.parametrize(("steps", "samples"), [(None, 7), (3, 7), (2, 6), (1, 3)])
def test_steps_take_the_first_slices(steps, samples):
    batches = adapt(X, Y, batch_size=3, steps=steps)

    assert sum(batch.num_samples for batch in batches) == samples
    assert batches.num_batches == (steps or 3)


@pytest.mark.parametrize("steps", [0, -1, 4, 1.5, "a"])
def test_steps_that_the_data_does_not_have_are_refused(steps):
    with pytest.raises(
        DataError, match=rf"steps_per_epoch={steps!r} does not fit.* has 3 batches"
    ):
        adapt(X, Y, batch_size=3, steps=steps)


def test_counting_samples_passes_over_what_is_missing():
    assert count_samples(X, None, {"w": W, "none": None}) == N


@pytest.mark.parametrize(("fraction", "at"), [(0.5, 4), (0.2, 6), (0.85, 1), (0.01, 7)])
def test_the_last_part_is_set_apart_as_keras_does(fraction, at):
    x = np.arange(8.0)

    training, validation = split_off_validation(({"a": x}, x, None), fraction)

    assert (training[0]["a"] == x[:at]).all()
    assert (validation[0]["a"] == x[at:]).all()
    assert (validation[1] == x[at:]).all()
    assert training[2] is validation[2] is None


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, np.nan, "a"])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(DataError, match="validation_split is out of range"):
        split_off_validation((X, Y, None), fraction)


def test_a_part_may_not_be_empty():
    with pytest.raises(DataError, match=r"validation_split=0\.99 of 7 samples leaves one part"):
        split_off_validation((X, Y, None), 0.99)


def test_a_frame_with_columns_of_several_dtypes_becomes_one_array():
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})

    array = normalize(frame, "float32")

    assert array.dtype == np.float32
    assert array.tolist() == [[1.0, 0.5, 1.0], [2.0, 1.5, 0.0]]


@pytest.mark.parametrize("name", ["x", "y", "sample_weight"])
def test_nested_lists_of_numbers_are_refused_with_their_cure(name):
    arguments = {"x": X[:2], "y": Y[:2], "sample_weight": W[:2]} | {name: [[1.0], [3.0]]}

    with pytest.raises(
        DataError, match=rf"^{name} is a nested list of numbers.*np\.asarray\({name}\)"
    ):
        adapt(**arguments)
