"""Hessian products by differentiating a closure's gradient once more."""

from __future__ import annotations

import warnings
import weakref

import numpy as np
import pytest
import torch
from torch_problems import objective_of

from kormos_core.errors import CurvatureWarning, UnsupportedError
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")


@pytest.mark.parametrize(
    ("hvp", "close"),
    [("auto", 1e-14), ("reverse-over-reverse", 1e-14), ("finite-difference", 1e-8)],
)
def test_a_hessian_of_products_is_the_hessian(hvp, close, logistic):
    objective = objective_of(logistic.loss, logistic.module.parameters(), hvp=hvp)
    x = np.array([0.3, -0.4, 1.0, 0.2])

    hessian = objective.hessian(x)

    np.testing.assert_allclose(hessian, logistic.hessian(x), atol=close)
    assert objective.counts.hvp == 4


def test_products_at_one_point_share_one_evaluation(logistic):
    objective = objective_of(logistic.loss, logistic.module.parameters(), records=True)
    x = np.array([0.3, -0.4, 1.0, 0.2])
    objective.hvp(x, np.ones(4))  # the first product of a solve is checked
    objective.value_and_grad(x)
    before = objective.counts.fg

    for v in np.eye(4):
        objective.hvp(x, v)

    assert objective.counts.fg == before


def test_a_product_at_an_earlier_point_is_not_taken_from_the_latest(logistic):
    objective = objective_of(logistic.loss, logistic.module.parameters())
    x, v = np.array([0.3, -0.4, 1.0, 0.2]), np.array([1.0, 2.0, -1.0, 0.5])

    objective.hvp(x, v)
    objective.value_and_grad(x + 1.0)
    again = objective.hvp(x, v)

    np.testing.assert_allclose(again, logistic.hessian(x) @ v, atol=1e-14)


def test_the_product_of_a_linear_loss_is_zero():
    w = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    objective = objective_of(lambda: 2.0 * w.sum(), [w])

    assert not objective.hvp(np.ones(3), np.array([1.0, 2.0, 3.0])).any()


class _Slope(torch.autograd.Function):
    """The slope of a square, which says that it has no derivative."""

    @staticmethod
    def forward(_, x, slope):
        return 2.0 * x * slope

    @staticmethod
    def backward(*_):
        raise RuntimeError("no second derivative\nand more lines")


class _Once(torch.autograd.Function):
    """A square whose gradient cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return _Slope.apply(x, slope)


class _Wrong(torch.autograd.Function):
    """A square whose gradient is right and whose second derivative is none."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2.0 * x.detach() * slope


@pytest.mark.parametrize(
    ("square", "match"),
    [
        (_Once, "RuntimeError: no second derivative. Taken"),
        (_Wrong, "it disagrees with differences of the gradient"),
    ],
)
def test_products_that_are_wrong_or_missing_are_replaced_and_told(square, match):
    w = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    scale = torch.tensor([1.0, 10.0], dtype=torch.float64)
    optimizer = SolverOptimizer([w], "scipy:trust-ncg")

    with pytest.warns(CurvatureWarning, match=match):
        optimizer.step(lambda: torch.sqrt(1.0 + scale * square.apply(w - 1.0)).sum())

    np.testing.assert_allclose(w.detach(), 1.0, atol=1e-5)


def test_a_kind_that_is_asked_for_by_name_is_not_checked():
    w = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = SolverOptimizer([w], "scipy:newton-cg", hvp="finite-difference")

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        optimizer.step(lambda: _Wrong.apply(w - 1.0).sum())

    assert w.item() == pytest.approx(1.0)


@pytest.mark.parametrize("with_backward", [False, True])
def test_no_graph_is_kept_alive_by_a_step(with_backward, logistic):
    graphs = []

    def closure():
        loss = logistic.loss()
        graphs.append(weakref.ref(loss))
        if with_backward:
            loss.backward()
        return loss

    optimizer = SolverOptimizer(logistic.module.parameters(), "scipy:newton-cg")
    optimizer.step(closure)

    assert not [graph for graph in graphs if graph() is not None]


def test_an_unknown_kind_is_refused():
    w = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(UnsupportedError, match=r"unknown kind .* Did you mean 'reverse-over-rev"):
        SolverOptimizer([w], "scipy:newton-cg", hvp="reverse-over-forward")
    with pytest.raises(UnsupportedError, match=r"hvp='gauss-newton'.* Allowed: auto, rev"):
        SolverOptimizer([w], "scipy:newton-cg", hvp="gauss-newton")


def test_a_dense_hessian_of_many_parameters_is_refused():
    w = torch.nn.Parameter(torch.ones(2001))

    with pytest.raises(UnsupportedError, match=r"2,?000"):
        SolverOptimizer([w], "scipy:trust-exact")
