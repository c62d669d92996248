"""Solves by this plugin and by SciPy, and a walk along a line.

Symbols: ``f`` loss, ``slope`` derivative along a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import pytest
import scipy.optimize

from kormos_core.backends import current_backend
from kormos_core.minimize import minimize
from kormos_core.objective import FunctionObjective
from kormos_native.line_search import SEARCHING, LineSearch

# Tests are imported by their path, so helpers that they share need a path of their own.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _in_float64():
    """Let parts of methods that tests call by themselves compute as they do in a solve."""
    with current_backend().computing_in("float64"):
        yield


@pytest.fixture
def solve():
    """Minimize with a solver of this plugin, by its name in the plugin."""

    def solve_problem(fun, x0, *, name="lbfgs", jit_compile=False, **keywords):
        # without XLA, which takes longer to compile than these solves to run, where there is
        # another way
        jit = jit_compile or ("auto" if current_backend().needs_jit else False)
        return minimize(fun, x0, solver=f"native:{name}", jit_compile=jit, **keywords)

    return solve_problem


@pytest.fixture
def scipy_solve():
    """Minimize with SciPy's L-BFGS-B; the result's ``nfev`` counts evaluations."""

    def solve_problem(fun, x0, *, bounds=None, **options):
        objective = FunctionObjective(fun, len(x0))
        return scipy.optimize.minimize(
            objective.value_and_grad,
            x0,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options=options,
        )

    return solve_problem


@pytest.fixture
def walk():
    """Search along a line; `function` gives loss and slope at a step, in NumPy."""

    def search_line(function, step, *, epsilon=2.2e-16, **options):
        search = LineSearch(**options)
        state = search.start(*_tensors(*function(0.0), step))
        trials = []
        while int(state["phase"]) == SEARCHING:
            trials.append(float(state["step"]))
            state = search.judge(state, *_tensors(*function(trials[-1])), epsilon)
        return int(state["phase"]), float(state["step"]), trials

    return search_line


def _tensors(*numbers):
    return tuple(keras.ops.convert_to_tensor(number, dtype="float64") for number in numbers)
