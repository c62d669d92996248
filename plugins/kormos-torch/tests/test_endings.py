"""How a step ends: limits, NaN, exceptions, Ctrl-C, callbacks; where it leaves the parameters."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

from kormos_core import Status, StopSolve
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")


class Valley:
    """Rosenbrock's function with an incident at some evaluation, and all points seen."""

    def __init__(self, incident=lambda: None, at=None):
        self.w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
        self.incident, self.at = incident, at
        self.losses = []

    def __call__(self):
        a, b = self.w
        loss = 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2
        self.losses.append(loss.item())
        if len(self.losses) == self.at:
            replaced = self.incident()
            return loss if replaced is None else replaced * loss
        return loss

    @property
    def loss(self):
        a, b = self.w.tolist()
        return 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2


def best_of(solver, *, before):
    """Return the best loss of a solve whose evaluations end before some number."""
    valley = Valley()
    seen = []
    optimizer = SolverOptimizer([valley.w], solver, callback=lambda it: seen.append(it.loss))

    def closure():
        if len(valley.losses) + 1 == before:
            raise StopSolve(Status.MAX_TIME)
        return valley()

    optimizer.step(closure)
    return min([24.2, *seen])  # the loss at the start


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "scipy:bfgs", "scipy:trust-ncg"])
def test_an_exception_of_the_closure_passes_and_leaves_the_best_point(solver):
    def fail():
        raise OSError("the disk is full")

    valley = Valley(fail, at=12)
    optimizer = SolverOptimizer([valley.w], solver)

    with pytest.raises(OSError, match="the disk is full"):
        optimizer.step(valley)

    assert valley.loss == pytest.approx(best_of(solver, before=12), rel=1e-12)
    assert valley.loss < 24.2
    assert optimizer.result is None


def test_an_exception_at_the_start_leaves_the_parameters_as_they_were():
    def fail():
        raise OSError("no data")

    valley = Valley(fail, at=1)

    with pytest.raises(OSError, match="no data"):
        SolverOptimizer([valley.w]).step(valley)

    assert valley.w.tolist() == [-1.2, 1.0]


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "scipy:bfgs"])
def test_a_nan_ends_a_step_at_the_best_point_and_is_told(solver):
    valley = Valley(lambda: float("nan"), at=12)
    optimizer = SolverOptimizer([valley.w], solver)

    with pytest.warns(RuntimeWarning, match="The loss is nan"):
        loss = optimizer.step(valley)

    assert optimizer.result.status is Status.NONFINITE
    assert float(loss) == pytest.approx(best_of(solver, before=12), rel=1e-12)
    assert valley.loss == float(loss)
    assert torch.isfinite(valley.w.grad).all()


def test_a_nan_at_the_start_leaves_the_parameters_as_they_were():
    w = torch.nn.Parameter(torch.tensor([2.0, -1.0]))
    optimizer = SolverOptimizer([w])

    with pytest.warns(RuntimeWarning, match="at the starting point"):
        optimizer.step(lambda: torch.log(w).sum())

    assert optimizer.result.status is Status.NONFINITE
    assert w.tolist() == [2.0, -1.0]


def test_a_gradient_that_is_not_finite_is_told_with_its_parameter():
    fine, bad = (torch.nn.Parameter(torch.tensor([[value]])) for value in (1.0, 0.0))

    with pytest.warns(RuntimeWarning, match=r"that of parameter 1, of shape \(1, 1\)"):
        SolverOptimizer([fine, bad]).step(lambda: (fine**2).sum() + torch.sqrt(bad).sum())


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "scipy:newton-cg", "scipy:nelder-mead"])
def test_ctrl_c_ends_a_step_at_the_best_point(solver):
    before = signal.getsignal(signal.SIGINT)
    valley, accepted = Valley(lambda: os.kill(os.getpid(), signal.SIGINT), at=9), [24.2]
    optimizer = SolverOptimizer(
        [valley.w], solver, callback=lambda iterate: accepted.append(iterate.loss)
    )

    loss = optimizer.step(valley)

    assert optimizer.result.status is Status.INTERRUPTED
    assert float(loss) == pytest.approx(min(accepted), rel=1e-12)
    assert 8 < len(valley.losses) < 12
    assert valley.loss == float(loss)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_really_stops():
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    valley = Valley(twice, at=9)

    with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
        SolverOptimizer([valley.w]).step(valley)

    assert valley.loss <= min(valley.losses[:8])


def test_the_iteration_limit_is_that_of_one_step():
    valley = Valley()
    optimizer = SolverOptimizer([valley.w], "scipy:bfgs", maxiter=3)

    optimizer.step(valley)
    optimizer.step(valley)

    assert optimizer.result.status is Status.MAX_ITER
    assert optimizer.result.num_iterations == 3
    assert optimizer.counts["steps"] == 2
    assert optimizer.counts["num_iterations"] == 6
    assert optimizer.counts["fg_evals"] == len(valley.losses)


def test_evaluations_are_counted_as_they_are_made(logistic):
    calls = []

    def closure():
        calls.append(1)
        return logistic.loss()

    for solver in ("scipy:l-bfgs-b", "scipy:cobyqa", "scipy:newton-cg", "scipy:trust-exact"):
        logistic.reset()
        calls.clear()
        optimizer = SolverOptimizer(logistic.module.parameters(), solver)

        optimizer.step(closure)

        assert optimizer.result.fg_evals == len(calls)


def test_a_step_begins_where_the_user_has_put_the_parameters():
    w, starts = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64)), []

    def closure():
        starts.append(w.item())
        return ((w - 1.0) ** 2).sum()

    optimizer = SolverOptimizer([w])
    optimizer.step(closure)
    with torch.no_grad():
        w.fill_(-8.0)
    starts.clear()
    optimizer.step(closure)

    assert starts[0] == -8.0
    assert w.item() == pytest.approx(1.0)


def test_a_callback_sees_each_iterate_in_the_parameters():
    valley, told = Valley(), []

    def callback(iterate):
        assert valley.w.tolist() == iterate.x.tolist()
        assert iterate.loss == pytest.approx(valley.loss, rel=1e-12)
        told.append((iterate.number, iterate.fg_evals, iterate.grad_norm))

    optimizer = SolverOptimizer([valley.w], "scipy:newton-cg", callback=callback)
    optimizer.step(valley)

    assert [number for number, _, _ in told] == [*range(1, optimizer.result.num_iterations + 1)]
    assert told[-1][2] == pytest.approx(optimizer.result.grad_norm)


def say_true(iterate):
    return iterate.number == 3


def raise_stop_iteration(iterate):
    if iterate.number == 3:
        raise StopIteration


def raise_stop_solve(iterate):
    if iterate.number == 3:
        raise StopSolve(Status.STOPPED_BY_CALLBACK)


@pytest.mark.parametrize("callback", [say_true, raise_stop_iteration, raise_stop_solve])
@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "scipy:tnc", "torch:lbfgs"])
def test_a_callback_may_end_a_step(solver, callback):
    valley = Valley()
    optimizer = SolverOptimizer([valley.w], solver, callback=callback)

    optimizer.step(valley)

    assert optimizer.result.status is Status.STOPPED_BY_CALLBACK
    assert optimizer.result.num_iterations == 3


def test_a_callback_that_moves_parameters_changes_nothing_about_the_solve():
    def meddle(iterate):
        with torch.no_grad():
            meddled.w.fill_(77.0)

    plain, meddled = Valley(), Valley()
    SolverOptimizer([plain.w], "scipy:newton-cg").step(plain)
    SolverOptimizer([meddled.w], "scipy:newton-cg", callback=meddle).step(meddled)

    np.testing.assert_array_equal(meddled.w.tolist(), plain.w.tolist())


def test_a_callback_that_writes_back_what_was_there_costs_an_evaluation_and_no_more(logistic):
    def touch(iterate):
        with torch.no_grad():
            logistic.module.weight.mul_(1.0)

    optimizer = SolverOptimizer(logistic.module.parameters(), "scipy:newton-cg", callback=touch)
    optimizer.step(logistic.loss)

    np.testing.assert_allclose(logistic.weights, logistic.solution(), atol=1e-6)


def test_a_warning_points_to_the_step():
    w = torch.nn.Parameter(torch.tensor([-1.0]))

    with pytest.warns(RuntimeWarning, match="at the starting point") as caught:
        SolverOptimizer([w]).step(lambda: torch.log(w).sum())

    assert caught[0].filename == __file__


def test_a_callback_may_differentiate():
    valley, slopes = Valley(), []

    def callback(iterate):
        (slope,) = torch.autograd.grad((valley.w**2).sum(), valley.w)
        slopes.append(slope)

    SolverOptimizer([valley.w], "scipy:newton-cg", maxiter=3, callback=callback).step(valley)

    assert len(slopes) == 3
