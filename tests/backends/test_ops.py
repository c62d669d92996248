"""What loops are written in is the same as Keras's functions on every backend."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kormos_core.backends import current_backend
from kormos_core.loop import ops
from kormos_core.loop.operations import NAMES

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

random = np.random.default_rng(0)
A, B = random.normal(size=(2, 4)) * 3.0
SQUARE = random.normal(size=(4, 4))
POSITIVE = SQUARE @ SQUARE.T + np.eye(4)
UPPER = np.triu(POSITIVE)
YES = np.array([True, False, True, True])
WORDS = np.array([5, 3, 12, 7], dtype="int64")
ORDER = np.array([2, 0, 3, 1], dtype="int32")
HOLES = np.array([1.0, np.nan, np.inf, -1.0])

CALLS = {
    "abs": (A,),
    "all": (YES,),
    "any": (YES,),
    "arange": (4,),
    "argmax": (YES,),
    "argsort": (A,),
    "bitwise_and": (WORDS, 6),
    "bitwise_xor": (WORDS, WORDS[::-1].copy()),
    "cast": (YES, "float64"),
    "cholesky": (POSITIVE,),
    "clip": (A, -1.0, 0.5),
    "convert_to_tensor": (A,),
    "diagonal": (SQUARE,),
    "equal": (ORDER, 3),
    "expand_dims": (A, 1),
    "eye": (3,),
    "full": ((), 2, "int32"),
    "isfinite": (HOLES,),
    "isnan": (HOLES,),
    "logical_and": (YES, ~YES),
    "logical_not": (YES,),
    "logical_or": (YES, A > 0.0),
    "matmul": (SQUARE, A),
    "max": (HOLES[:2],),
    "maximum": (A, B),
    "minimum": (1.0, A),
    "ones": ((2,), "int32"),
    "ones_like": (A,),
    "qr": (POSITIVE,),
    "reshape": (SQUARE, (2, 8)),
    "right_shift": (WORDS, 1),
    "rsqrt": (A**2,),
    "sign": (A,),
    "sqrt": (A**2,),
    "square": (A,),
    "sum": (YES,),
    "take": (A, ORDER),
    "transpose": (SQUARE,),
    "vdot": (A, B),
    "where": (YES, A, 0.0),
    "zeros": ((), "int32"),
    "zeros_like": (A,),
}
FURTHER = {
    "all": ((SQUARE > 0.0,), {"axis": 0}),
    "any": ((SQUARE > 0.0,), {"axis": 1}),
    "arange": ((1, 4), {"dtype": "int64"}),
    "cast": ((A, "int32"), {}),
    "cumsum": ((SQUARE,), {"axis": 0}),
    "eye": ((3,), {"dtype": "float64"}),
    "flip": ((SQUARE,), {"axis": 0}),
    "logical_and": ((YES, True), {}),
    "max": ((SQUARE,), {"axis": 1}),
    "maximum": ((A, 0.5), {}),
    "minimum": ((A, B), {}),
    "solve_triangular": ((UPPER, SQUARE), {}),
    "sum": ((SQUARE,), {"axis": 0}),
    "take": ((SQUARE, np.array(2, dtype="int32")), {"axis": 1}),
    "where": ((YES, A, B), {}),
}
NUMBERS = np.array([2**31, 5])
STACKED = np.stack([POSITIVE, -POSITIVE, 2.0 * POSITIVE])
OTHERWISE = [
    ("argmax", (SQUARE,), {"axis": 1}),
    ("cast", (3, "float64"), {}),
    ("cast", (ORDER, "int16"), {}),
    ("cholesky", (STACKED[::2].copy(),), {}),
    ("clip", (A,), {"x_min": -1, "x_max": 1}),
    ("concatenate", ([A, ORDER],), {}),
    ("cumsum", (ORDER,), {}),
    ("diagonal", (SQUARE,), {"offset": 1}),
    ("equal", (ORDER, 0.5), {}),
    ("expand_dims", (A, (0, 1)), {}),
    ("logical_and", (True, YES), {}),
    ("max", (SQUARE,), {"axis": (0, 1)}),
    ("max", (SQUARE,), {"axis": 0, "keepdims": True}),
    ("maximum", (ORDER, 0.5), {}),
    ("maximum", (ORDER, A), {}),
    ("ones_like", (A,), {"dtype": "int32"}),
    ("reshape", (SQUARE, -1), {}),
    ("sign", (YES,), {}),
    ("solve_triangular", (UPPER, A), {}),
    ("sqrt", (ORDER,), {}),
    ("stack", ([A, 0.0 * ORDER],), {"axis": 1}),
    ("sum", (NUMBERS,), {}),
    ("sum", (SQUARE,), {"axis": 1, "keepdims": True}),
    ("take", (SQUARE, ORDER), {}),
    ("take", (SQUARE, ORDER.reshape(2, 2)), {"axis": 0}),
    ("take", (SQUARE, -ORDER), {"axis": 1}),
    ("take", (SQUARE, ORDER), {"axis": -1}),
    ("take", (A, 2), {}),
    ("transpose", (STACKED,), {}),
    ("transpose", (STACKED,), {"axes": (1, 0, 2)}),
    ("transpose", (A,), {}),
    ("where", (YES, ORDER, 0.5), {}),
    ("where", (YES, 1, 2), {}),
    ("where", (YES, 1, 0.5), {}),
    ("zeros_like", (A,), {"dtype": "int32"}),
]
LOWER = {"solve_triangular": ((UPPER.T.copy(), SQUARE), {"lower": True})}
OTHERS = {"concatenate", "cond", "slice", "slice_update", "stack", "unstack", "while_loop"}


def given(arguments):
    """Turn arrays into tensors, which keep their dtypes."""
    return keras.tree.map_structure(
        lambda a: keras.ops.convert_to_tensor(a) if isinstance(a, np.ndarray) else a,
        list(arguments),
    )


def assert_same(name, arguments, keywords):
    """Compare with what Keras gives where it is kept from rounding."""
    ours = getattr(ops, name)(*given(arguments), **keywords)
    with current_backend().computing_in("float64"):
        theirs = getattr(keras.ops, name)(*given(arguments), **keywords)
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other), rtol=1e-14
        )
        assert keras.backend.standardize_dtype(one.dtype) == keras.backend.standardize_dtype(
            other.dtype
        )


@pytest.mark.parametrize("name", CALLS)
def test_a_function_is_keras_s(name):
    assert_same(name, CALLS[name], {})


@pytest.mark.parametrize("name", FURTHER)
def test_a_function_is_keras_s_with_its_keywords(name):
    assert_same(name, *FURTHER[name])


@pytest.mark.backends("torch")  # elsewhere these are Keras's own
@pytest.mark.parametrize(("name", "arguments", "keywords"), OTHERWISE)
def test_what_is_asked_for_seldom_is_keras_s_too(name, arguments, keywords):
    assert_same(name, arguments, keywords)


@pytest.mark.parametrize("name", LOWER)
def test_a_triangle_may_be_the_lower_one(name):
    assert_same(name, *LOWER[name])


def test_tensors_are_put_together_and_taken_apart():
    a, b = given([A, B])
    both = ops.stack([a, b], axis=1)

    np.testing.assert_array_equal(keras.ops.convert_to_numpy(both), np.stack([A, B], axis=1))
    for one, other in zip(ops.unstack(ops.stack([a, b]), 2), [A, B], strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), other)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(ops.concatenate([a, b], axis=0)), np.concatenate([A, B])
    )


def test_a_slice_is_changed_in_a_copy():
    before, new = given([SQUARE, np.zeros((1, 4))])
    corner = (keras.ops.convert_to_tensor(2, dtype="int32"), np.int32(0))
    wanted = SQUARE.copy()
    wanted[2] = 0.0

    after = ops.slice_update(before, corner, new)

    np.testing.assert_array_equal(keras.ops.convert_to_numpy(after), wanted)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(before), SQUARE)
    cut = ops.slice(before, corner, (1, 4))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(cut), SQUARE[2:3])


def test_a_branch_and_a_loop_are_taken():
    count, total = given([np.array(0, dtype="int32"), np.array(0.0)])

    count, total = ops.while_loop(
        lambda count, _: count < 5,
        lambda count, total: (count + 1, total + ops.cast(count, "float64")),
        (count, total),
    )
    chosen = ops.cond(total > 9.0, lambda: total, lambda: -total)

    assert (int(count), float(total), float(chosen)) == (5, 10.0, 10.0)


@pytest.mark.backends("torch")  # elsewhere that is so in compiled functions alone, or not at all
def test_a_matrix_without_a_cholesky_factor_gives_nan():
    (matrices,) = given([STACKED])

    factors = keras.ops.convert_to_numpy(ops.cholesky(matrices))

    assert np.isnan(factors[1]).any()
    np.testing.assert_allclose(factors[::2], np.linalg.cholesky(STACKED[::2]), rtol=1e-12)


def test_every_function_is_there_and_compared():
    assert set(CALLS) | set(FURTHER) | OTHERS == NAMES
    assert {name for name in NAMES if hasattr(current_backend().ops, name)} == NAMES


def test_another_function_is_refused_on_every_backend():
    with pytest.raises(AttributeError, match=r"has no 'norm'\. It has abs, .* Use these"):
        _ = ops.norm
