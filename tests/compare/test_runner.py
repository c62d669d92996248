from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kormos_core.compare import find_problem, runner
from kormos_core.compare.contestants import find_contestants
from kormos_core.compare.runner import Budget, compare, train
from kormos_core.compare.trial import prepare
from kormos_core.objective import floatx_scope
from kormos_core.optimizer import BatchOptimizer
from kormos_core.registry import installed
from kormos_core.training import fit

SOLVERS = ["scipy:l-bfgs-b", "scipy:newton-cg", "scipy:trust-ncg"]
L2 = float(np.float32(1e-3))  # Keras holds the factor in single precision


def ridge_loss(x, y, *, bias):
    """Least value of mean((x w + b - y)²) + L2 |w|², from its normal equations."""
    if bias:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    n = len(x)
    w = np.linalg.solve(x.T @ x / n + L2 * np.eye(x.shape[1]), x.T @ y / n)
    return float(np.mean((x @ w - y) ** 2) + L2 * np.sum(w**2))


@pytest.mark.parametrize(("name", "bias"), [("linear", False), ("diabetes", True)])
def test_all_solvers_agree_with_the_normal_equations(name, bias, request):
    trial = request.getfixturevalue(name)

    comparison = compare(trial, find_contestants(SOLVERS), Budget())

    expected = ridge_loss(trial.data.x, trial.data.y, bias=bias)
    assert [row.solver for row in comparison.outcomes] == SOLVERS
    for row in comparison.outcomes:
        # at their default tolerances the solvers leave up to about 1e-7 of the loss
        assert row.loss == pytest.approx(expected, rel=1e-6), row.solver
        assert row.notes == ()
    assert comparison.best.loss == min(row.loss for row in comparison.outcomes)


def test_every_solver_starts_from_the_same_weights(diabetes):
    optimizers = BatchOptimizer("scipy:cg"), keras.optimizers.Adam()

    with floatx_scope("float64"):
        first, second = (diabetes.make_model(optimizer) for optimizer in optimizers)

    assert first is not second
    for one, other, start in zip(
        first.get_weights(), second.get_weights(), diabetes.weights, strict=True
    ):
        assert np.array_equal(one, other)
        assert np.array_equal(one, start)


def test_the_seed_decides_the_initial_weights(diabetes):
    same, other = (prepare(find_problem("diabetes"), dtype="float64", seed=k) for k in (0, 1))

    assert same.start_loss == diabetes.start_loss
    assert other.start_loss != diabetes.start_loss


def test_the_first_call_leaves_nothing_for_the_solver_to_trace(diabetes):
    (contestant,) = find_contestants(["scipy:newton-cg"])

    with floatx_scope("float64"):
        model = diabetes.make_model(BatchOptimizer(contestant.name))
        objective = diabetes.make_objective(model)
        runner._trace(objective, contestant.registered)
        traced = objective.program.num_traces
        fit(model, diabetes.data.x, diabetes.data.y, verbose=0)

    assert objective.program.num_traces == traced


def test_the_iteration_that_compiles_a_loop_is_undone_before_the_solve(diabetes):
    (contestant,) = find_contestants(["native:lbfgs"])

    row = train(diabetes, contestant, Budget(epochs=3))

    with floatx_scope("float64"):
        model = diabetes.make_model(BatchOptimizer(contestant.name))
        result = fit(model, diabetes.data.x, diabetes.data.y, epochs=3, verbose=0).result
    assert (row.loss, row.num_iterations) == (result.loss, 3)
    assert row.fg_evals == result.fg_evals


def test_keras_optimizers_are_counted_in_epochs_and_measured_by_the_same_objective(diabetes):
    (contestant,) = find_contestants(["adam"])

    row = train(diabetes, contestant, Budget(epochs=3, batch_size=100))

    assert row.reason == "Epochs used up."
    assert (row.num_iterations, row.fg_evals, row.hessp_evals) == (3, 3, 0)
    assert row.num_steps == 3 * math.ceil(331 / 100)
    assert row.loss < diabetes.start_loss
    assert row.grad_norm > 0


def test_the_first_epoch_that_compiles_is_undone_before_training(diabetes):
    (contestant,) = find_contestants(["sgd"])
    x, y = diabetes.data.x, diabetes.data.y
    kernel, bias = (weight.copy() for weight in diabetes.weights)

    row = train(diabetes, contestant, Budget(epochs=2, batch_size=len(x)))

    for _ in range(2):  # full batches: two steps of gradient descent at Keras's rate 0.01
        residual = x @ kernel + bias - y
        kernel, bias = (
            kernel - 0.01 * (2 * x.T @ residual / len(x) + 2 * L2 * kernel),
            bias - 0.01 * 2 * residual.mean(axis=0),
        )
    expected = np.mean((x @ kernel + bias - y) ** 2) + L2 * np.sum(kernel**2)
    # Keras holds the learning rate in single precision
    assert row.loss == pytest.approx(expected, rel=1e-7)


def test_the_iteration_limit_is_told_as_the_reason(linear):
    (contestant,) = find_contestants(["scipy:cg"])

    row = train(linear, contestant, Budget(epochs=2))

    assert (row.num_iterations, row.status) == (2, "MAX_ITER")
    assert row.reason == "The iteration limit was reached."


def broken(error):
    def minimize(self, objective, x0, *, maxiter, callback):
        raise error

    return minimize


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ValueError("the matrix is singular. Tell nobody."),
            "ValueError: the matrix is singular.",
        ),
        (ZeroDivisionError(), "ZeroDivisionError."),
    ],
)
def test_a_solver_that_raises_leaves_a_row_and_the_others_go_on(
    diabetes, monkeypatch, error, reason
):
    monkeypatch.setattr(installed().resolve("scipy:cg").load(), "minimize", broken(error))

    comparison = compare(diabetes, find_contestants(["scipy:cg", "scipy:l-bfgs-b"]), Budget())

    failed, finished = comparison.outcomes
    assert (failed.solver, failed.failed, failed.reason) == ("scipy:cg", True, reason)
    assert (failed.loss, failed.status, failed.message) == (None, None, str(error))
    assert not finished.failed
    assert comparison.best is finished


def test_a_solver_whose_memory_would_not_fit_leaves_a_row(diabetes, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100))

    row = train(diabetes, find_contestants(["scipy:bfgs"])[0], Budget())

    assert row.failed
    assert row.reason.startswith("scipy:bfgs keeps ")
    assert "Use a solver of linear memory" in row.message


def test_a_warning_of_a_solver_becomes_a_note(diabetes, monkeypatch):
    solver = installed().resolve("scipy:cg").load()
    minimize = solver.minimize

    def warn(self, *arguments, **options):
        warnings.warn("rough ground", RuntimeWarning, stacklevel=1)
        return minimize(self, *arguments, **options)

    monkeypatch.setattr(solver, "minimize", warn)

    row = train(diabetes, find_contestants(["scipy:cg"])[0], Budget(epochs=1))

    assert row.notes == ("rough ground",)


@pytest.mark.parametrize("interrupted", ["scipy:cg", "adam"])
def test_an_interrupt_ends_the_comparison_and_keeps_what_was_finished(
    diabetes, monkeypatch, interrupted
):
    monkeypatch.setattr(
        installed().resolve("scipy:cg").load(), "minimize", broken(KeyboardInterrupt())
    )
    monkeypatch.setattr(runner, "_train_by_keras", broken_training)

    names = ["scipy:l-bfgs-b", interrupted, "scipy:newton-cg"]
    comparison = compare(diabetes, find_contestants(names), Budget(epochs=2))

    assert comparison.interrupted
    solvers = [row.solver for row in comparison.outcomes if row.status != "INTERRUPTED"]
    assert solvers == ["scipy:l-bfgs-b"]


def broken_training(trial, contestant, budget):
    raise KeyboardInterrupt
