"""Where a solve stands, as data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kormos_core.errors import RestartWarning
from kormos_core.state import SolverState

STATE = SolverState(
    solver="native:lbfgs",
    method="LBFGS(maxcor=10)",
    num_iterations=7,
    weights=np.arange(3.0),
    memory={"x": np.ones(3), "status": np.array(0)},
    noise=(np.array([1, 2], np.uint32),),
)


def test_a_state_comes_back_from_arrays_as_it_was():
    found = SolverState.from_arrays(STATE.to_arrays())

    assert (found.solver, found.method, found.num_iterations) == (
        "native:lbfgs",
        "LBFGS(maxcor=10)",
        7,
    )
    np.testing.assert_array_equal(found.weights, STATE.weights)
    np.testing.assert_array_equal(found.memory["x"], np.ones(3))
    assert found.memory["status"].shape == ()
    np.testing.assert_array_equal(found.noise[0], [1, 2])


def test_a_solver_that_keeps_nothing_has_no_memory():
    state = SolverState(solver="scipy:bfgs", method="", num_iterations=1, weights=np.zeros(2))

    assert SolverState.from_arrays(state.to_arrays()).memory is None


def test_other_arrays_are_no_state():
    assert SolverState.from_arrays({"0": np.zeros(3)}) is None


def test_a_state_of_another_version_is_told_and_left():
    arrays = STATE.to_arrays()
    (name,) = (name for name, array in arrays.items() if b"version" in bytes(array))
    facts = json.loads(bytes(arrays[name])) | {"version": 99}
    arrays[name] = np.frombuffer(json.dumps(facts).encode(), np.uint8)

    with pytest.warns(RestartWarning, match="version 99, and this kormos reads version 1"):
        assert SolverState.from_arrays(arrays) is None


def test_the_arrays_of_a_state_are_told_from_others():
    assert all(SolverState.owns(name) for name in STATE.to_arrays())
    assert not SolverState.owns("0")
