"""A store of made-up runs whose every number can be checked by hand.

Two problems, three solvers. ``bowl`` has the known minimum 0, ``valley`` none.

    gap of the loss after each iteration          bowl: f_0 = 100, f_L = 0
    a    100  10  1   0.0001                      4 evaluations an iteration
    b    100  1   0.001                           2 evaluations and 8 products an iteration
    adam 100  50  25  12.5                        1 evaluation an iteration

    valley: f_0 = 12, f_L = 2
    a    12   2.5 2                               the least loss of all
    b    12   7   7                               a worse local minimum
    adam                                          raised, without a trace
"""

from __future__ import annotations

import pytest

from kormos_core.compare.store import RunRecord, Store, TraceRow

VERSIONS = {"python": "3.11.9", "keras": "3.12.0"}
LOSSES = {
    ("bowl", "a"): (100.0, 10.0, 1.0, 0.0001),
    ("bowl", "b"): (100.0, 1.0, 0.001),
    ("bowl", "adam"): (100.0, 50.0, 25.0, 12.5),
    ("valley", "a"): (12.0, 2.5, 2.0),
    ("valley", "b"): (12.0, 7.0, 7.0),
    ("valley", "adam"): (),
}
COSTS = {"a": (4, 0, 0.5), "b": (2, 8, 0.25), "adam": (1, 0, 0.125)}


def record(problem, solver, **changes):
    """Return the row of a run that is made up; `changes` take the place of its figures."""
    losses = LOSSES.get((problem, solver), ())
    fg_evals, hessp_evals, seconds = COSTS.get(solver, (1, 0, 0.1))
    last = len(losses) - 1
    figures = {
        "run_id": f"{problem}/{solver}",
        "problem": problem,
        "problem_set": "made-up",
        "solver": solver,
        "options": {},
        "dtype": "float64",
        "seed": 0,
        "start": 0,
        "budget": {"time_s": 10.0, "evals": None, "iterations": 100},
        "status": "GRAD_TOL",
        "num_parameters": 3,
        "num_samples": 1000,
        "start_loss": {"bowl": 100.0, "valley": 12.0}.get(problem, 1.0),
        "f_min": 0.0 if problem == "bowl" else None,
        "versions": VERSIONS,
        "finished_at": "2026-01-02T03:04:05Z",
    }
    if losses:
        figures |= {
            "num_iterations": last,
            "fg_evals": fg_evals * last + 1,
            "hessp_evals": hessp_evals * last,
            "wall_time_s": seconds * last,
            "loss": losses[-1],
            "grad_norm": 1e-6,
        }
    return RunRecord(**{**figures, **changes})


def trace(run, losses):
    """Return rows of a trace with the costs of the run's solver."""
    fg_evals, hessp_evals, seconds = COSTS.get(run.solver, (1, 0, 0.1))
    return [
        TraceRow(
            run_id=run.run_id,
            iteration=k,
            fg_evals=fg_evals * k + 1,
            hessp_evals=hessp_evals * k,
            seconds=seconds * k,
            loss=loss,
        )
        for k, loss in enumerate(losses)
    ]


def fill_store(store, *runs):
    """Add made-up runs to a store: pairs of a record and its losses."""
    for run, losses in runs:
        store.add(run, trace(run, losses))
    return store


@pytest.fixture
def fill():
    """Return `fill_store`."""
    return fill_store


@pytest.fixture
def make():
    """Return `record`."""
    return record


@pytest.fixture
def empty():
    """Return a store without runs."""
    with Store(":memory:") as store:
        yield store


@pytest.fixture(scope="session")
def store():
    """Return the store that the head of this file describes; nobody adds to it."""
    special = {
        ("bowl", "adam"): {
            "status": "MAX_ITER",
            "options": {"learning_rate": 0.01},
            "tuning_runs": 4,
            "tuning_s": 3.0,
        },
        ("valley", "adam"): {
            "status": "FAILED",
            "message": "ValueError: <script>no & luck</script>",
        },
    }
    runs = [(record(*key, **special.get(key, {})), losses) for key, losses in LOSSES.items()]
    with Store(":memory:") as store:
        yield fill_store(store, *runs)
