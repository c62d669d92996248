"""A closure may be written in any way that torch's users write it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kormos_core.errors import CurvatureWarning, UnsupportedError
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")


def returns_the_loss(problem, optimizer):
    return problem.loss


def as_for_torch(problem, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = problem.loss()
        loss.backward()
        return loss

    return closure


def without_zero_grad(problem, optimizer):
    def closure():
        loss = problem.loss()
        loss.backward()
        return loss

    return closure


def with_zeros_for_gradients(problem, optimizer):
    def closure():
        optimizer.zero_grad(set_to_none=False)
        loss = problem.loss()
        loss.backward()
        return loss

    return closure


def returns_a_number(problem, optimizer):
    def closure():
        loss = problem.loss()
        loss.backward()
        return loss.item()

    return closure


def in_two_batches(problem, optimizer):
    """Gradients of two batches add up, as the losses do."""

    def closure():
        total = 0.0
        penalty = 0.01 * sum((p**2).sum() for p in problem.module.parameters())
        for part in (slice(0, 30), slice(30, 80)):
            logits = problem.module(problem.inputs[part])[:, 0]
            fit = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, problem.targets[part], reduction="sum"
            )
            loss = fit / 80 + (penalty if part.start == 0 else 0.0)
            loss.backward()
            total += loss.detach()
        return total

    return closure


CLOSURES = [
    returns_the_loss,
    as_for_torch,
    without_zero_grad,
    with_zeros_for_gradients,
    returns_a_number,
    in_two_batches,
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "scipy:newton-cg", "scipy:cobyqa"])
@pytest.mark.parametrize("make", CLOSURES)
def test_a_closure_may_be_written_in_any_way(make, solver, logistic):
    optimizer = SolverOptimizer(logistic.module.parameters(), solver, tol=1e-9)

    loss = optimizer.step(make(logistic, optimizer))

    solution = logistic.solution()
    np.testing.assert_allclose(logistic.weights, solution, atol=1e-6)  # tol over the curvature
    assert float(loss) == pytest.approx(logistic.oracle(solution)[0], rel=1e-10)


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "scipy:trust-exact", "scipy:cobyqa"])
@pytest.mark.parametrize("make", CLOSURES)
def test_a_step_leaves_the_gradient_at_the_final_point(make, solver, logistic):
    optimizer = SolverOptimizer(logistic.module.parameters(), solver, maxiter=3)

    optimizer.step(make(logistic, optimizer))

    left = torch.cat([p.grad.ravel() for p in logistic.module.parameters()])
    np.testing.assert_allclose(left, logistic.oracle(logistic.weights)[1], atol=1e-14)
    assert not left.requires_grad
    assert float(torch.linalg.norm(left)) == pytest.approx(optimizer.result.grad_norm)


def test_a_step_returns_the_final_loss_as_a_tensor_of_the_closure_s_dtype():
    w = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float32))

    loss = SolverOptimizer([w]).step(lambda: (w**2).sum() + 1.0)

    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert loss.item() == 1.0
    assert not loss.requires_grad


def test_a_parameter_that_the_loss_does_not_depend_on_stays_where_it_is():
    w, idle = (torch.nn.Parameter(torch.tensor([value])) for value in (3.0, 5.0))

    SolverOptimizer([w, idle], "scipy:newton-cg").step(lambda: 2.0 * (w**2).sum())

    assert idle.item() == 5.0
    assert w.item() == pytest.approx(0.0, abs=1e-6)


def test_dropout_is_the_same_at_every_point_of_a_step_and_another_in_the_next():
    w = torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))
    masks = []

    def closure():
        kept = torch.nn.functional.dropout(torch.ones(40, dtype=torch.float64), 0.5)
        masks.append(kept)
        return ((kept * w - 1.0) ** 2).mean() + 1e-3 * (w**2).sum()

    optimizer = SolverOptimizer([w], maxiter=4)
    optimizer.step(closure)
    in_first = len(masks)
    optimizer.step(closure)

    assert in_first >= 3
    assert all(torch.equal(mask, masks[0]) for mask in masks[:in_first])
    assert not torch.equal(masks[0], masks[-1])


def test_noise_may_be_left_free():
    w, drawn = torch.nn.Parameter(torch.ones(2)), []

    def closure():
        drawn.append(torch.rand(()).item())
        return (w**2).sum()

    SolverOptimizer([w], maxiter=2, freeze_noise=False).step(closure)

    assert len(set(drawn)) == len(drawn) > 1


def test_a_gradient_that_cannot_be_differentiated_again_is_replaced_and_told(logistic):
    def closure():
        loss = logistic.loss()
        torch.autograd.backward(loss)
        return loss

    optimizer = SolverOptimizer(logistic.module.parameters(), "scipy:newton-cg")
    with pytest.warns(CurvatureWarning, match=r"other than by loss.backward\(\)"):
        optimizer.step(closure)

    np.testing.assert_allclose(logistic.weights, logistic.solution(), atol=1e-4)


@pytest.mark.parametrize(
    ("closure", "match"),
    [
        (lambda: None, "the closure returned None"),
        (lambda: torch.ones(2, requires_grad=True), r"a tensor of shape \(2,\)"),
        (lambda: torch.tensor(1.0), "loss has no gradient"),
        (lambda: 1.0, "loss has no gradient"),
        (lambda: torch.tensor(1j, requires_grad=True), "returned a tensor"),
    ],
)
def test_a_closure_without_a_loss_is_refused(closure, match):
    w = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(UnsupportedError, match=match):
        SolverOptimizer([w]).step(closure)


def test_a_step_without_a_closure_is_refused():
    w = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(UnsupportedError, match=r"step\(\) needs a closure and was given None"):
        SolverOptimizer([w]).step()
