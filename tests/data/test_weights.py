from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kormos_core.data import adapt
from kormos_core.data.weights import class_to_sample_weight
from kormos_core.errors import DataError

WEIGHTS = {0: 0.5, 2: 4.0}
LABELS = np.array([0, 1, 2, 2, 0])
EXPECTED = [0.5, 1.0, 4.0, 4.0, 0.5]


@pytest.mark.parametrize(
    "y",
    [
        pytest.param(LABELS, id="indices"),
        pytest.param(LABELS[:, None], id="column"),
        pytest.param(LABELS.astype("float32"), id="floats"),
        pytest.param(np.eye(3)[LABELS], id="one-hot"),
        pytest.param(0.1 + 0.7 * np.eye(3)[LABELS], id="soft labels"),
        pytest.param(tf.constant(LABELS), id="tensor"),
    ],
)
def test_each_sample_weighs_what_its_class_does(y):
    weights = class_to_sample_weight(y, WEIGHTS, "float64")

    assert weights.tolist() == EXPECTED
    assert weights.dtype == np.float64


def test_classes_that_are_left_out_weigh_one():
    assert class_to_sample_weight(LABELS, {}, "float32").tolist() == [1.0] * 5


@pytest.mark.parametrize("y", [None, [LABELS, LABELS], {"a": LABELS}])
def test_class_weights_need_one_target(y):
    with pytest.raises(DataError, match=r"class_weight needs exactly one target.*sample_weight"):
        class_to_sample_weight(y, WEIGHTS, "float32")


def test_class_weights_and_sample_weights_exclude_each_other():
    with pytest.raises(DataError, match="class_weight and sample_weight exclude each other"):
        adapt(np.zeros((5, 1)), LABELS, np.ones(5), class_weight=WEIGHTS)


def test_class_weights_of_arrays_become_sample_weights():
    batches = adapt(np.zeros((5, 1)), LABELS, batch_size=3, class_weight=WEIGHTS)

    assert np.concatenate([batch.sample_weight for batch in batches]).tolist() == EXPECTED


@pytest.mark.parametrize(
    "weights",
    [[0.5, 1.0], 3.0, {0: "a"}, {"a": 1.0}, {0.5: 1.0}, {0: None}, {0: True}],
    ids=str,
)
def test_class_weights_that_would_weigh_nothing_are_refused(weights):
    with pytest.raises(
        DataError, match=r"class_weight is not usable: .* Allowed is a mapping from class"
    ):
        adapt(np.zeros((5, 1)), LABELS, class_weight=weights)


def test_class_weights_may_be_of_any_numeric_type():
    batches = adapt(np.zeros((5, 1)), LABELS, class_weight={np.int64(0): np.float32(0.5), 2.0: 4})

    assert np.array(next(iter(batches)).sample_weight).tolist() == EXPECTED
