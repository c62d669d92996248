from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import sparse

from kormos_core.data import adapt
from kormos_core.data.leaves import as_array
from kormos_core.errors import DataError

X = np.arange(6.0).reshape(3, 2)


class Thing:
    """No number at all."""


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (sparse.csr_array(X), r"is sparse: csr_array.*x\.toarray\(\)"),
        (tf.sparse.from_dense(X), r"is sparse: SparseTensor.*to_dense"),
        (tf.RaggedTensor.from_tensor(X), r"is ragged: RaggedTensor.*x\.to_tensor\(\)"),
        (np.ma.masked_less(X, 2.0), r"is masked: 2 of 6 entries are hidden.*x\.filled"),
        (np.array(["2026-01-01"], "datetime64[D]"), r"dtype datetime64\[D\].*such as days"),
        (np.array([3], "timedelta64[h]"), r"dtype timedelta64\[h\]"),
        (np.array([[Thing(), 1]]), "holds objects: Thing, int"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]}), "holds objects: float, str.*a dict"),
        (np.array([1, pd.NA], dtype=object), "objects: NAType, int.*is missing"),
        (
            pd.DataFrame({"a": pd.Categorical(["u", "v"]), "b": [1, 2]}),
            "holds objects: int, str",
        ),
        (
            pd.DataFrame({"a": pd.date_range("2026", periods=2), "b": [1.0, 2.0]}),
            "objects: Timestamp, float.*dates into numbers",
        ),
        (np.array(["u", None], dtype=object), "holds objects: NoneType, str"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_is_no_dense_array_of_one_kind_is_refused(leaf, message):
    with pytest.raises(DataError, match=message):
        as_array(leaf, "float32")


def test_it_is_refused_in_batches_as_well():
    with pytest.raises(DataError, match="is sparse: csr_array"):
        next(iter(adapt([sparse.csr_array(X)].__iter__())))


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (np.array([[1, 2.5], [True, None]], dtype=object), [[1.0, 2.5], [1.0, np.nan]]),
        (np.ma.masked_less(X, -1.0), X.tolist()),
        (np.array(["u", "v"], dtype=object), ["u", "v"]),
        (pd.DataFrame({"a": pd.array([1, 2], "Int64")}), [[1.0], [2.0]]),
        (np.array([1j]), [1j]),
    ],
    ids=["objects", "nothing masked", "strings", "nullable integers", "complex"],
)
def test_what_is_of_one_kind_is_taken(leaf, expected):
    np.testing.assert_array_equal(as_array(leaf, None), np.array(expected))
