"""Reports of runs that solvers made, told by callbacks."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest
from keras import ops

import kormos
from kormos_core.compare.report import Measure, measure_costs, read_study, write_html
from kormos_core.compare.store import RunRecord, Store, TraceRow

SOLVERS = ("scipy:l-bfgs-b", "scipy:newton-cg")


def parabola(x):
    return 7.0 + ops.sum(ops.convert_to_tensor([1.0, 10.0, 100.0], "float64") * ops.square(x - 1))


def rosenbrock(x):
    return 100.0 * ops.square(x[1] - ops.square(x[0])) + ops.square(1.0 - x[0])


PROBLEMS = {"parabola": (parabola, np.zeros(3), 7.0), "rosenbrock": (rosenbrock, [-1.2, 1], None)}


class Recorder(keras.callbacks.Callback):
    """Keeps a row of the trace for each accepted iterate."""

    def __init__(self, run_id, start_loss):
        super().__init__()
        self.run_id, self.began = run_id, time.perf_counter()
        self.rows = [
            TraceRow(
                run_id=run_id,
                iteration=0,
                fg_evals=1,
                hessp_evals=0,
                seconds=0.0,
                loss=start_loss,
            )
        ]

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(
            TraceRow(
                run_id=self.run_id,
                iteration=epoch + 1,
                fg_evals=int(logs["fg_evals"]),
                hessp_evals=int(logs["hessp_evals"]),
                seconds=time.perf_counter() - self.began,
                loss=float(logs["loss"]),
            )
        )


def solve(store, problem, solver):
    fun, x0, f_min = PROBLEMS[problem]
    start_loss = float(fun(ops.convert_to_tensor(x0, "float64")))
    recorder = Recorder(f"{problem}/{solver}", start_loss)
    result = kormos.minimize(fun, np.asarray(x0, float), solver=solver, callbacks=[recorder])
    record = RunRecord(
        run_id=recorder.run_id,
        problem=problem,
        problem_set="",
        solver=solver,
        options={},
        dtype="float64",
        seed=0,
        start=0,
        budget={},
        status=result.status.name,
        num_iterations=result.num_iterations,
        fg_evals=result.fg_evals,
        hessp_evals=result.hessp_evals,
        wall_time_s=result.wall_time_s,
        start_loss=start_loss,
        loss=result.loss,
        grad_norm=result.grad_norm,
        f_min=f_min,
    )
    store.add(record, recorder.rows)
    return result


@pytest.fixture(scope="module")
def solved_store():
    """Return a store, and what the solvers returned."""
    with Store(":memory:") as store:
        results = {
            (problem, solver): solve(store, problem, solver)
            for problem in PROBLEMS
            for solver in SOLVERS
        }
        yield store, results


def test_both_solvers_solve_both_problems_within_what_they_spent(solved_store):
    store, results = solved_store
    study = read_study(store)

    costs = measure_costs(study, measure=Measure.EVALUATIONS, tau=1e-3)

    for instance, row in zip(costs.instances, costs.values, strict=True):
        for solver, cost in zip(costs.solvers, row, strict=True):
            result = results[instance.problem, solver]
            assert 1 < cost <= result.fg_evals + result.hessp_evals


def test_the_declared_minimum_or_the_best_solver_is_the_aim(solved_store):
    store, results = solved_store
    study = read_study(store)
    parabola_, rosenbrock_ = (study.targets[instance] for instance in study.instances)

    assert (parabola_.f_best, parabola_.source) == (7.0, "known minimum")
    assert rosenbrock_.f_best == min(results["rosenbrock", solver].loss for solver in SOLVERS)
    assert rosenbrock_.f_start == pytest.approx(24.2)  # of the paper


def test_a_page_of_real_runs_is_written(solved_store, tmp_path):
    write_html(solved_store[0], tmp_path / "report.html", taus=[])

    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "parabola: solved every time by 2 of 2 solvers" in text
    assert text.count("<svg") == 4
