"""Solvers under either floatx: Keras makes Python integers 64 bits wide under float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from native_losses import rosenbrock

from kormos_core import Status

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

CASES = [
    ("lbfgs", {}),
    ("lbfgs-b", {}),
    ("newton-cg", {}),
    ("newton-cg", {"preconditioner": "diagonal"}),
    ("newton-cg", {"preconditioner": "lbfgs"}),
    ("trust-ncg", {}),
]


@pytest.fixture(params=["float32", "float64"])
def _floatx(request):
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield
    keras.config.set_floatx(before)


@pytest.mark.usefixtures("_floatx")
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_minimum_is_found_under_either_floatx(solve, name, options):
    result = solve(rosenbrock, np.array([-1.2, 1.0]), name=name, options=options, maxiter=200)

    assert result.status in (Status.GRAD_TOL, Status.F_TOL)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
