"""Programs as pytorch-minimize's users write them, with one line changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")


@pytest.fixture
def clouds():
    """Three clouds of points that overlap a little, and their numbers."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, size=120)
    centers = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    points = centers[labels] + rng.normal(size=(120, 2))
    return torch.tensor(points, dtype=torch.float32), torch.tensor(labels)


def classifier():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LogSoftmax(dim=1))


def accuracy(model, points, labels):
    return (model(points).argmax(dim=1) == labels).float().mean().item()


@pytest.mark.parametrize("method", ["CG", "BFGS", "L-BFGS-B", "SLSQP", "TNC"])
def test_a_first_order_method_trains_a_classifier(method, clouds):
    points, labels = clouds
    model = classifier()
    minimizer_args = {"method": method, "options": {"maxiter": 100}}
    optimizer = SolverOptimizer(
        model.parameters(), minimizer_args["method"], options=minimizer_args["options"]
    )

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.nll_loss(model(points), labels)
        loss.backward()
        return loss

    loss = optimizer.step(closure)

    assert loss.item() < 0.25 < np.log(3.0)
    assert accuracy(model, points, labels) > 0.9


class Closure:
    """What pytorch-minimize asks for where a method takes Hessians: the loss of any model."""

    def __init__(self, model, optimizer, data):
        self.model, self.optimizer, self.data = model, optimizer, data

    def loss(self, model):
        points, labels = self.data
        penalty = 1e-3 * sum((p**2).sum() for p in model.parameters())
        return torch.nn.functional.nll_loss(model(points), labels) + penalty

    def __call__(self):
        self.optimizer.zero_grad()
        loss = self.loss(self.model)
        loss.backward()
        self.latest = loss.item()
        return loss


SECOND_ORDER = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "trust-constr", "dogleg"]


@pytest.mark.parametrize("method", SECOND_ORDER)
def test_a_closure_for_hessians_trains_a_classifier_without_a_copy_of_it(method, clouds):
    model = classifier()
    optimizer = SolverOptimizer(model.parameters(), method)
    first = [id(module) for module in model.modules()]

    loss = optimizer.step(Closure(model, optimizer, clouds))

    assert loss.item() < 0.25
    assert accuracy(model, *clouds) > 0.9
    assert optimizer.result.hessp_evals > 0
    assert [id(module) for module in model.modules()] == first


def test_a_step_may_be_made_again_and_stays_at_the_minimum(clouds):
    model = classifier()
    optimizer = SolverOptimizer(model.parameters(), "trust-ncg")
    closure = Closure(model, optimizer, clouds)

    first = optimizer.step(closure).item()
    second = optimizer.step(closure).item()

    assert second == pytest.approx(first, rel=1e-5)
    assert optimizer.counts["steps"] == 2
