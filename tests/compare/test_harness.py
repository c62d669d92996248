"""`kormos.compare`: what is asked for, and two runs from end to end in real processes."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import kormos
from kormos_core.compare import UnknownProblemError, harness
from kormos_core.compare.harness import RunSet, compare
from kormos_core.compare.limits import BudgetError
from kormos_core.compare.store import Store
from kormos_core.errors import OptionError, UnknownSolverError, UnsupportedError


@pytest.fixture
def planned(monkeypatch):
    """Run nothing, but keep what would be run."""
    found = []
    monkeypatch.setattr(
        harness, "run_jobs", lambda plan, store, **settings: found.append((plan, settings))
    )
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One solver and one of Keras's optimizers, each in its process."""
    path = tmp_path_factory.mktemp("runs") / "runs.sqlite"
    asked = {"budget": {"evals": 30}, "rates": (0.5, 0.05), "out": path}
    first = compare(["mgh-rosenbrock"], "native:lbfgs(maxcor=5),adam", **asked)
    first.store.close()
    # goes on where it was: nothing is left to run, and no process is started
    return compare(["mgh-rosenbrock"], "native:lbfgs(maxcor=5),adam", **asked)


def test_a_solver_in_its_process_leaves_its_run_and_trace(runs):
    lbfgs, _ = runs.runs
    trace = runs.store.trace(lbfgs.run_id)

    assert (lbfgs.solver, lbfgs.problem, lbfgs.problem_set) == (
        "native:lbfgs(maxcor=5)",
        "mgh-rosenbrock",
        "mgh",
    )
    assert lbfgs.options == {"maxcor": 5}
    assert (lbfgs.status, lbfgs.num_parameters, lbfgs.num_samples) == ("MAX_EVALS", 2, 1)
    assert 30 <= lbfgs.fg_evals <= 33
    assert lbfgs.start_loss == trace[0].loss == pytest.approx(24.2)
    assert lbfgs.loss == trace[-1].loss < 1.0
    assert (lbfgs.f_min, lbfgs.tuning_runs) == (0.0, None)
    assert [row.iteration for row in trace] == list(range(lbfgs.num_iterations + 1))
    assert all(np.diff([row.seconds for row in trace]) > 0)
    assert lbfgs.first_call_s > 0
    assert 10**8 < lbfgs.peak_memory_bytes < 10**11  # a backend's hundreds of megabytes
    assert {"python", "keras", "numpy", "kormos-native"} <= lbfgs.versions.keys()


def test_an_optimizer_in_its_process_is_tuned(runs):
    _, adam = runs.runs

    assert (adam.solver, adam.status) == ("adam", "MAX_EVALS")
    assert adam.options["learning_rate"] in {0.5, 0.05}
    assert (adam.tuning_runs, adam.num_iterations, adam.fg_evals) == (2, 30, 30)
    assert adam.tuning_s > adam.wall_time_s
    assert len(runs.store.trace(adam.run_id)) == 31


def test_a_process_that_dies_leaves_a_run_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "own_crash.py").write_text(
        "import os, sys\n\n\ndef make():\n    print('noise', flush=True)\n"
        "    print('no luck', file=sys.stderr, flush=True)\n    os._exit(7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    (run,) = compare("own_crash:make", "scipy:cg").runs

    assert run.status == "CRASHED"
    assert run.message.startswith("The process ended with status 7, without a result.")
    assert run.message.endswith("no luck")
    assert (run.problem, run.loss) == ("own_crash:make", None)


# --- what is asked for -------------------------------------------------------------------


def test_a_set_stands_for_its_problems_and_starts_and_seeds_are_counted(planned):
    compare(["mgh-wood", "nist"], ["scipy:cg"], starts=2, seeds=2, seed=5, jobs=3, retry=True)

    ((plan, settings),) = planned
    assert len(plan) == 2 + 27 * 2 * 2
    assert {job.seed for job in plan} == {5, 6}
    assert plan[-1].problem_set == "nist"
    assert plan[0].budget["time_s"] == 3.0
    assert (settings["num_parallel"], settings["retry"]) == (3, True)


def test_a_mapping_gives_solvers_their_options(planned):
    kormos.compare("linear", {"adam": {"learning_rate": 0.1}, "scipy:cg": None}, budget=2.0)

    ((plan, _),) = planned
    assert [job.solver for job in plan] == ["adam(learning_rate=0.1)", "scipy:cg"]
    assert [job.rates for job in plan] == [(), ()]


def test_a_function_is_named_by_its_module(planned, tmp_path, monkeypatch):
    (tmp_path / "own_linear.py").write_text(
        "from kormos_core.compare import find_problem\n\n\n"
        "def make():\n    return find_problem('linear')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_linear

    compare(own_linear.make, ["scipy:cg"])

    ((plan, _),) = planned
    assert plan[0].problem == "own_linear:make"


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"problems": []}, UnknownProblemError, "there is no problem to compare on"),
        ({"problems": ["lineer"]}, UnknownProblemError, "Did you mean 'linear'"),
        ({"problems": [lambda: None]}, UnknownProblemError, "cannot be had by another process"),
        ({"solvers": "scipy:cgg"}, UnknownSolverError, "Did you mean 'scipy:cg'"),
        (
            {"solvers": {"scipy:cg": {"gtol": np.float32(1e-3)}}},
            OptionError,
            "cannot be handed to another process",
        ),
        ({"seeds": 0}, BudgetError, "seeds=0 is not usable. Allowed is a whole number from 1"),
        ({"starts": 1.5}, BudgetError, "starts=1.5"),
        ({"jobs": True}, BudgetError, "jobs=True"),
        ({"budget": {"epochs": 3}}, BudgetError, r"unknown limits \['epochs'\]"),
        ({"dtype": "float16"}, UnsupportedError, "dtype='float16' is not usable"),
        ({"rates": [0.1, -1.0]}, BudgetError, "rates=.*are not usable"),
        ({"rates": []}, BudgetError, r"rates=\[\] are not usable"),
        ({"rates": 0.1}, BudgetError, "rates=0.1 are not usable"),
        ({"rates": "0.1"}, BudgetError, "rates='0.1' are not usable"),
        ({"rates": [float("inf")]}, BudgetError, r"rates=\[inf\] are not usable"),
        ({"seed": -1}, BudgetError, "seed=-1 is not usable for 1 seeds. Allowed is a whole"),
        ({"seed": 1.5}, BudgetError, "seed=1.5"),
        ({"seed": 2**32 - 1, "seeds": 2}, BudgetError, "to 4294967294. Correct it"),
        ({"problems": 3}, UnknownProblemError, "problems=3 are not usable"),
        ({"solvers": 3}, OptionError, "solvers=3 are not usable: 3. Allowed are names"),
        ({"solvers": ["adam", None]}, OptionError, "are not usable: None"),
        ({"solvers": {"adam": 0.1}}, OptionError, "are not usable: 0.1"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_run(asked, error, said, planned):
    with pytest.raises(error, match=said):
        compare(**({"problems": ["linear"], "solvers": ["scipy:cg"]} | asked))

    assert planned == []


def test_reports_are_written_of_the_store(monkeypatch):
    written = []
    report = SimpleNamespace(
        write_html=lambda store, path: written.append(("html", store, path)),
        write_csv=lambda store, path: written.append(("csv", store, path)),
    )
    monkeypatch.setitem(sys.modules, "kormos_core.compare.report", report)
    with Store(":memory:") as store:
        found = RunSet(store, frozenset())

        found.html("a.html")
        found.csv("b.csv")

    assert written == [("html", store, "a.html"), ("csv", store, "b.csv")]
