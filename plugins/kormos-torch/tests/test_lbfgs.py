"""`torch:lbfgs` is torch's own, iterate for iterate, with honest counts and endings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kormos_core import Counts, Status
from kormos_core.errors import UnsupportedError
from kormos_torch.lbfgs import LBFGS

pytestmark = pytest.mark.backends("tensorflow", "torch")

X0 = np.array([-1.2, 1.0, -0.5, 0.7])


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


class Objective:
    """A function of a torch vector, with counts."""

    bounds, constraints = None, ()

    def __init__(self, function=rosenbrock):
        self.function, self.counts = function, Counts()

    def value_and_grad(self, x):
        self.counts.value_and_grad += 1
        z = torch.tensor(x, requires_grad=True)
        f = self.function(z)
        (g,) = torch.autograd.grad(f, z)
        return f.item(), g.numpy()


def solve(maxiter=500, function=rosenbrock, x0=X0, **options):
    """Return result, objective and accepted iterates."""
    objective, accepted = Objective(function), []
    result = LBFGS(**options).minimize(
        objective, x0, maxiter=maxiter, callback=lambda x: accepted.append(x.copy())
    )
    return result, objective, accepted


def by_torch(maxiter, x0=X0, **options):
    """Return the point and the evaluations of torch's own optimizer in one step."""
    x = torch.tensor(x0, requires_grad=True)
    options = {"tolerance_grad": 1e-7, "line_search_fn": "strong_wolfe", **options}
    optimizer = torch.optim.LBFGS([x], max_iter=maxiter, **options)

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    return x.detach().numpy(), optimizer.state[x]["func_evals"]


OPTIONS = [
    {},
    {"history_size": 3},
    {"lr": 0.5},
    {"tolerance_grad": 1e-2},
    {"tolerance_change": 1e-3},
    {"max_eval": 9},
    {"line_search_fn": None, "lr": 1e-3},
]


@pytest.mark.parametrize("maxiter", [1, 2, 7, 30, 200])
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_the_iterates_are_torch_s_bit_for_bit(options, maxiter):
    result, objective, accepted = solve(maxiter, **options)

    x, num_evals = by_torch(maxiter, **options)
    np.testing.assert_array_equal(result.x, x)
    if options.get("line_search_fn", True):  # else torch leaves the last point unevaluated
        assert objective.counts.fg == num_evals
    assert len(accepted) == result.num_iterations <= maxiter


def test_it_converges_where_torch_s_defaults_let_it():
    result, _, accepted = solve()

    assert result.converged
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)  # where the loss changes by 1e-9
    np.testing.assert_array_equal(accepted[-1], result.x)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"tolerance_grad": 1e-3, "tolerance_change": 0.0}, Status.GRAD_TOL),
        ({"tolerance_grad": 0.0, "tolerance_change": 1e-2}, Status.X_TOL),
        ({"tolerance_grad": 0.0, "tolerance_change": 1e-2, "maxiter": 4}, Status.MAX_ITER),
        ({"max_eval": 12}, Status.MAX_EVALS),
    ],
)
def test_why_it_ended_is_told(options, status):
    result, *_ = solve(**options)

    assert result.status is status


def test_a_change_that_is_below_the_tolerance_is_told():
    result, *_ = solve(
        function=lambda x: 1e-6 * (x**2).sum(), x0=np.ones(1) * 0.01, tolerance_grad=0.0
    )

    assert result.status is Status.F_TOL


def test_a_change_for_the_worse_is_no_convergence():
    # steps of fixed length around a kink, with a loss that rises by next to nothing
    result, *_ = solve(
        function=lambda x: 1e-12 * x.abs().sum(),
        x0=np.array([1e-3]),
        tolerance_grad=0.0,
        line_search_fn=None,
        lr=1e15,
        tolerance_change=1e-11,
    )

    assert result.status is not Status.GRAD_TOL
    assert not (result.converged and result.loss > 1e-15)


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        ({"tol": 1e-3}, 1e-3),
        ({"tol": 1e-3, "tolerance_grad": 1e-5}, 1e-5),
        ({}, 1e-7),
    ],
)
def test_tol_is_that_of_the_gradient_unless_one_is_given(options, holds):
    result, objective, accepted = solve(tolerance_change=0.0, **options)

    largest = [np.abs(objective.value_and_grad(x)[1]).max() for x in accepted]
    assert result.status is Status.GRAD_TOL
    assert largest[-1] <= holds < min(largest[:-1])


def test_a_start_at_the_minimum_takes_no_iteration():
    result, objective, accepted = solve(x0=np.ones(4))

    assert (result.status, result.num_iterations, accepted) == (Status.GRAD_TOL, 0, [])
    assert objective.counts.fg == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": 0.0}, "option lr=0.0"),
        ({"history_size": 0}, "option history_size=0"),
        ({"line_search_fn": "armijo"}, "Allowed: one of 'strong_wolfe', or None"),
        ({"tolerance_change": -1.0}, "option tolerance_change=-1.0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, match):
    with pytest.raises(UnsupportedError, match=match):
        LBFGS(**options)
