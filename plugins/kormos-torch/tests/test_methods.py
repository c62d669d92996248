"""Every method of `scipy.optimize.minimize` on a torch module, in float32 and float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_problems import Logistic

from kormos_core.registry import installed
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")

METHODS = [
    solver.name
    for solver in installed().solvers()
    if solver.namespace == "scipy" and solver.spec.kind == "batch"
]
# in float64 to the methods' own tolerances, of the loss for SLSQP and the simplex; in float32
# to where rounding of the loss, 1e-7, hides its curvature: the root of it, and more for methods
# that see nothing but the loss
CLOSE = {torch.float64: 2e-3, torch.float32: 6e-3}
COARSE = {
    ("scipy:nelder-mead", torch.float32): 0.2,
    ("scipy:powell", torch.float32): 0.02,
    ("scipy:powell", torch.float64): 0.01,
}


def test_the_methods_are_those_of_pytorch_minimize_and_more():
    names = {name.removeprefix("scipy:") for name in METHODS}

    assert names >= {"cg", "bfgs", "l-bfgs-b", "slsqp", "tnc", "newton-cg", "trust-ncg"}
    assert names >= {"trust-krylov", "trust-exact", "trust-constr", "dogleg"}
    assert names >= {"nelder-mead", "powell", "cobyla", "cobyqa"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_finds_the_minimum(method, dtype):
    logistic = Logistic(dtype)
    optimizer = SolverOptimizer(logistic.module.parameters(), method)

    loss = optimizer.step(logistic.loss)

    solution = logistic.solution()
    close = COARSE.get((method, dtype), CLOSE[dtype])
    np.testing.assert_allclose(logistic.weights, solution, atol=close)
    assert float(loss) == pytest.approx(logistic.oracle(solution)[0], abs=close**2)
    assert optimizer.result.solver == method
    assert {p.dtype for p in logistic.module.parameters()} == {dtype}


@pytest.mark.parametrize("name", ["L-BFGS-B", "Newton-CG", "CG", "trust-constr", "scipy"])
def test_scipy_s_own_names_are_taken_in_any_case(name, logistic):
    optimizer = SolverOptimizer(logistic.module.parameters(), name)

    optimizer.step(logistic.loss)

    np.testing.assert_allclose(logistic.weights, logistic.solution(), atol=1e-3)  # their gtol


def test_constraints_are_scipy_s_on_the_flat_vector(logistic):
    import scipy.optimize

    # the sum of the weights, which is about -0.5 without
    sums = scipy.optimize.LinearConstraint([1.0, 1.0, 1.0, 0.0], 0.5, 0.5)
    optimizer = SolverOptimizer(logistic.module.parameters(), "scipy:slsqp", constraints=sums)

    optimizer.step(logistic.loss)

    assert logistic.weights[:3].sum() == pytest.approx(0.5, abs=1e-9)  # SLSQP keeps equalities
    expected = scipy.optimize.minimize(
        logistic.oracle, np.zeros(4), jac=True, constraints=sums, method="SLSQP"
    )
    np.testing.assert_allclose(logistic.weights, expected.x, atol=1e-3)  # its ftol, 1e-6
