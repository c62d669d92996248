"""Solvers written in `keras.ops` on plain torch modules, where Keras's backend is torch."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from torch_problems import Logistic, objective_of

from kormos_core.errors import UnsupportedError
from kormos_core.loop import ops
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("torch")

NATIVE = ("native:lbfgs", "native:lbfgs-b", "native:newton-cg", "native:trust-ncg")


class Valley:
    """Rosenbrock's function."""

    def __init__(self):
        self.w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))

    def __call__(self):
        a, b = self.w
        return 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("solver", NATIVE)
def test_a_solver_in_the_graph_finds_the_minimum(solver, dtype):
    logistic = Logistic(dtype)
    optimizer = SolverOptimizer(logistic.module.parameters(), solver)

    optimizer.step(logistic.loss)

    close = 1e-4 if dtype is torch.float64 else 5e-3  # gtol of 1e-5; where float32 hides losses
    np.testing.assert_allclose(logistic.weights, logistic.solution(), atol=close)
    left = torch.cat([p.grad.ravel() for p in logistic.module.parameters()])
    assert float(torch.linalg.norm(left)) == pytest.approx(optimizer.result.grad_norm, rel=1e-5)


@pytest.mark.parametrize("hvp", ["auto", "finite-difference"])
def test_products_in_the_graph_are_those_outside(hvp):
    found = {}
    for name in ("native:trust-ncg", "scipy:trust-ncg"):
        logistic = Logistic()
        SolverOptimizer(logistic.module.parameters(), name, hvp=hvp, tol=1e-8).step(logistic.loss)
        found[name] = logistic.weights

    np.testing.assert_allclose(*found.values(), atol=1e-7)  # gtol over the curvature


def test_bounds_hold_in_the_graph():
    logistic = Logistic()
    bounds = [(-0.5, 0.5)] * 4

    SolverOptimizer(logistic.module.parameters(), "native:lbfgs-b", bounds=(-0.5, 0.5)).step(
        logistic.loss
    )

    np.testing.assert_allclose(logistic.weights, logistic.solution(bounds), atol=1e-4)


def test_steps_go_on_where_the_last_one_left_off():
    whole, parts = Valley(), Valley()
    SolverOptimizer([whole.w], "native:lbfgs", maxiter=12).step(whole)

    optimizer = SolverOptimizer([parts.w], "native:lbfgs", maxiter=4)
    for _ in range(3):
        optimizer.step(parts)

    np.testing.assert_array_equal(parts.w.tolist(), whole.w.tolist())


@pytest.mark.parametrize("uses_keras", [True, False])
def test_what_runs_on_a_closure_computes_in_float64(uses_keras):
    namespace = keras.ops if uses_keras else ops

    def product(graph, matrix):
        return namespace.matmul(matrix, graph.value_and_grad(matrix[0])[1])

    product.uses_keras = uses_keras
    valley, matrix = Valley(), np.array([[0.1, 0.3], [-1.2, 1.0]])
    objective = objective_of(valley, [valley.w])

    found = objective.compile(product, "product")(torch.tensor(matrix))

    _, g = objective.value_and_grad(matrix[0])
    np.testing.assert_allclose(found.numpy(), matrix @ g, rtol=1e-14)


def test_a_loaded_state_goes_on_where_it_was_saved():
    whole, first, second = Valley(), Valley(), Valley()
    SolverOptimizer([whole.w], "native:lbfgs", maxiter=8).step(whole)
    saved = SolverOptimizer([first.w], "native:lbfgs", maxiter=4)
    saved.step(first)

    loaded = SolverOptimizer([second.w])
    loaded.load_state_dict(saved.state_dict())
    with torch.no_grad():
        second.w.copy_(first.w)
    loaded.step(second)

    np.testing.assert_array_equal(second.w.tolist(), whole.w.tolist())


def test_parameters_that_were_moved_start_a_solve_afresh():
    moved, fresh = Valley(), Valley()
    optimizer = SolverOptimizer([moved.w], "native:lbfgs", maxiter=4)
    optimizer.step(moved)
    for valley in (moved, fresh):
        with torch.no_grad():
            valley.w.copy_(torch.tensor([2.0, -1.0]))

    optimizer.step(moved)
    SolverOptimizer([fresh.w], "native:lbfgs", maxiter=4).step(fresh)

    np.testing.assert_array_equal(moved.w.tolist(), fresh.w.tolist())


def test_a_callback_sees_each_iterate_of_the_graph():
    valley, seen = Valley(), []
    optimizer = SolverOptimizer(
        [valley.w], "native:lbfgs", maxiter=9, callback=lambda it: seen.append(valley.w.tolist())
    )

    optimizer.step(valley)

    assert len(seen) == len({tuple(point) for point in seen}) == 9
    assert seen[-1] == valley.w.tolist()


def test_parts_of_the_samples_are_refused():
    valley = Valley()
    optimizer = SolverOptimizer([valley.w], "native:newton-cg", options={"hvp_fraction": 0.5})

    with pytest.raises(UnsupportedError, match="a closure has its data to itself"):
        optimizer.step(valley)

    assert valley.w.tolist() == [-1.2, 1.0]


def test_an_exception_where_a_solve_would_go_on_leaves_the_parameters_as_they_were():
    valley = Valley()
    optimizer = SolverOptimizer([valley.w], "native:lbfgs", maxiter=4)
    optimizer.step(valley)
    before = valley.w.tolist()

    def fail():
        raise OSError("no data")

    with pytest.raises(OSError, match="no data"):
        optimizer.step(fail)

    assert valley.w.tolist() == before
