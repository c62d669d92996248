"""What a run's process does, in this process: traces, limits, tuning."""

from __future__ import annotations

import numpy as np
import pytest

from kormos_core.compare import find_problem
from kormos_core.compare.limits import Limits
from kormos_core.compare.solve import run_solver
from kormos_core.compare.tune import run_optimizer
from kormos_core.errors import UnsupportedError
from kormos_core.registry import installed


class Told:
    """Who is told of a run."""

    def __init__(self):
        self.begun = []
        self.rows = []

    def begin(self, what):
        self.begun.append(what)

    def row(self, row):
        self.rows.append(row)


def solve(solver, *, problem="mgh-rosenbrock", told=None, options=None, **limits):
    instance = find_problem(problem).make(seed=0, start=0, dtype="float64")
    registered = installed().resolve(solver)
    return run_solver(instance, registered, options or {}, Limits(**limits), told or Told())


def train(
    name="sgd", *, problem="least-squares-40x3", rates=(), told=None, options=None, **limits
):
    instance = find_problem(problem).make(seed=0, start=0, dtype="float64")
    limits = Limits(**limits)
    return instance, run_optimizer(
        instance, name, options or {}, rates, limits, told or Told(), seed=0
    )


def test_a_solver_that_needs_bounds_is_refused_on_a_problem_without(float64):
    told = Told()

    with pytest.raises(UnsupportedError, match=r"^scipy:direct searches a box and needs finite b"):
        solve("scipy:direct", told=told, iterations=5)
    assert told.rows == []


def test_a_global_solver_without_bounds_is_traced_as_others_are(float64):
    found = solve("scipy:basinhopping", iterations=3)

    assert [row[0] for row in found.rows] == [0, 1, 2, 3]
    assert (found.status, found.loss < 1e-9) == ("MAX_ITER", True)


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:lbfgs", "native:newton-cg"])
def test_a_trace_goes_from_the_start_to_the_end(solver, float64):
    told = Told()

    found = solve(solver, told=told, iterations=15)

    rows = np.array(found.rows)
    assert told.begun == ["solve"]
    assert told.rows == found.rows
    assert found.rows[0] == (0, 0, 0, 0.0, found.start_loss, pytest.approx(232.86768775422664))
    assert found.start_loss == pytest.approx(24.2)
    assert list(rows[:, 0]) == list(range(found.num_iterations + 1))
    assert (np.diff(rows[:, 1]) > 0).all()
    assert (np.diff(rows[:, 3]) > 0).all()
    assert rows[-1, 3] <= found.wall_time_s
    assert found.num_iterations == 15
    assert found.status == "MAX_ITER"
    assert rows[-1, 1:3] == pytest.approx([found.fg_evals, found.hessp_evals])
    assert (found.rows[-1][4], found.rows[-1][5]) == pytest.approx((found.loss, found.grad_norm))


@pytest.mark.parametrize(
    "solver", ["scipy:l-bfgs-b", "scipy:newton-cg", "native:lbfgs", "scipy:least-squares-trf"]
)
def test_evaluations_and_products_end_a_run(solver, float64):
    found = solve(solver, evals=12)

    assert found.status == "MAX_EVALS"
    # outside the graph not one more; there, what the last iteration took
    assert 12 <= found.fg_evals + found.hessp_evals <= (15 if solver.startswith("native") else 12)
    assert found.loss < found.start_loss


def test_time_ends_a_run(float64):
    found = solve("scipy:nelder-mead", time_s=1e-3)

    assert found.status == "MAX_TIME"
    assert found.num_iterations < 50


@pytest.mark.parametrize("solver", ["scipy:newton-cg", "scipy:least-squares-lm"])
def test_whatever_the_limits_nothing_is_traced_while_the_clock_runs(solver, float64, monkeypatch):
    instance = find_problem("least-squares-40x3").make(seed=0, start=0, dtype="float64")
    original, calls = instance.model.call, []
    monkeypatch.setattr(
        instance.model, "call", lambda *a, **k: (calls.append(1), original(*a, **k))[1]
    )

    class Begun(Told):
        def begin(self, what):
            self.begun.append(len(calls))

    told = Begun()
    run_solver(instance, installed().resolve(solver), {}, Limits(evals=3), told)

    assert told.begun == [len(calls)]
    assert calls


def test_options_reach_the_solver(float64):
    assert solve("scipy:l-bfgs-b", options={"gtol": 1e3}).num_iterations == 0


def test_the_same_run_gives_the_same_figures(float64):
    first, second = (solve("native:lbfgs", problem="logistic-50x4") for _ in range(2))

    assert first.loss == second.loss
    assert [row[:3] for row in first.rows] == [row[:3] for row in second.rows]


# --- Keras's optimizers ------------------------------------------------------------------


def test_epochs_of_gradient_descent_are_those_of_the_formula(float64):
    told = Told()

    instance, found = train(
        options={"learning_rate": 0.25}, told=told, batch_size=40, iterations=3
    )

    x, y = instance.data.x, instance.data.y
    start = find_problem("least-squares-40x3").make(seed=0, start=0, dtype="float64")
    w, losses = start.model.get_weights()[0], []
    for _ in range(4):
        losses.append(np.mean((x @ w - y) ** 2))
        w = w - 0.25 * 2.0 * x.T @ (x @ w - y) / len(x)
    assert [row[4] for row in found.rows] == pytest.approx(losses, rel=1e-6)
    assert [row[:3] for row in found.rows] == [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 3, 0)]
    assert (found.num_iterations, found.fg_evals, found.status) == (3, 3, "MAX_ITER")
    assert (found.tuning_runs, found.tuning_s) == (None, None)
    assert told.begun == ["solve"]


def test_each_learning_rate_is_tried_from_the_same_start_and_the_best_is_kept(float64):
    told = Told()

    instance, found = train(rates=(1e-3, 0.3, 1e3), told=told, batch_size=40, evals=20)

    starts = [row[4] for row in told.rows if row[0] == 0]
    x, y = instance.data.x, instance.data.y
    assert told.begun == ["learning rate 0.001", "learning rate 0.3", "learning rate 1000"]
    assert starts == [found.start_loss] * 3
    assert found.options == {"learning_rate": 0.3}
    assert found.status == "MAX_EVALS"
    assert found.tuning_runs == 3
    assert found.tuning_s > found.wall_time_s
    assert found.loss == pytest.approx(np.mean((instance.model(x).numpy() - y) ** 2))
    assert "Losses of the learning rates tried: 0.001: " in found.message


def test_a_loss_that_is_lost_ends_a_training(float64):
    _, found = train(options={"learning_rate": 1e300}, iterations=50)

    assert found.status == "NONFINITE"
    assert found.rows[-1][4] is None or np.isinf(found.rows[-1][4])


def test_time_ends_a_training_within_an_epoch(float64):
    _, found = train(
        "adam", problem="digits", options={"learning_rate": 1e-3}, time_s=1e-3, batch_size=8
    )

    assert (found.status, found.num_iterations) == ("MAX_TIME", 1)
    assert found.loss < found.start_loss


def test_a_long_training_is_measured_less_often_the_longer_it_is(float64):
    _, found = train(options={"learning_rate": 0.1}, batch_size=40, iterations=120)

    measured = [row[0] for row in found.rows]
    assert measured == [*range(101), *range(102, 121, 2)]
