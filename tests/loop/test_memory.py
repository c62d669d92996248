"""What a solve in the graph goes on from, as named arrays."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.loop import RUNNING, Point, code_of, standing
from kormos_core.loop.memory import check_state, pack, unpack

pytestmark = pytest.mark.backends("tensorflow", "jax")

LAST = Point(np.array([1.0, 2.0]), 0.5, np.zeros(2))


def packed(status=RUNNING):
    state = {"x": keras.ops.zeros(2, "float64"), "count": keras.ops.zeros((), "int32")}
    return pack(state, (np.ones(2), np.array(0.25), np.zeros(2)), LAST, status)


def test_what_was_packed_is_unpacked():
    state, (x, f, g) = unpack(packed())

    assert {name: array.dtype.name for name, array in state.items()} == {
        "x": "float64",
        "count": "int32",
    }
    np.testing.assert_array_equal(x, np.ones(2))
    assert f == 0.25
    np.testing.assert_array_equal(g, np.zeros(2))


@pytest.mark.parametrize(("status", "runs"), [(RUNNING, True), (code_of(Status.F_TOL), False)])
def test_a_solve_that_has_ended_does_not_run(status, runs):
    found = standing(packed(status))

    assert found.runs is runs
    assert found.f == 0.5
    np.testing.assert_array_equal(found.x, LAST.x)


@pytest.mark.parametrize(
    "other",
    [{"x": np.zeros(3), "count": np.int32(0)}, {"x": np.zeros(2)}, {"x": np.zeros(2, "f4")}],
)
def test_a_state_of_another_method_is_refused(other):
    state, _ = unpack(packed())

    with pytest.raises(
        UnsupportedError, match=r"the saved state does not fit Other.*resume=False"
    ):
        check_state(state, other, "Other")
