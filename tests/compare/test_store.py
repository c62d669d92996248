from __future__ import annotations

import dataclasses
import math
import sqlite3
import subprocess
import sys

import pytest

from kormos_core.compare.store import RunRecord, Store, StoreError, TraceRow

RUN = RunRecord(
    run_id="a",
    problem="digits",
    problem_set="classic",
    solver="adam",
    options={"learning_rate": 0.1},
    dtype="float64",
    seed=1,
    start=2,
    budget={"time_s": 3.0, "evals": None},
    status="GRAD_TOL",
    message="It is done.",
    num_parameters=4,
    num_samples=5,
    num_iterations=6,
    fg_evals=7,
    hessp_evals=8,
    first_call_s=0.5,
    wall_time_s=0.25,
    start_loss=2.0,
    loss=1.0,
    grad_norm=1e-9,
    f_min=0.5,
    metric="accuracy",
    metric_value=0.75,
    peak_memory_bytes=2**33,
    tuning_runs=4,
    tuning_s=1.5,
    versions={"python": "3.11"},
    finished_at="2026-01-01T00:00:00+00:00",
)
TRACE = [
    TraceRow(
        run_id="a",
        iteration=k,
        fg_evals=k + 1,
        hessp_evals=0,
        seconds=0.1 * k,
        loss=2.0 - k,
        grad_norm=1.0,
    )
    for k in range(2)
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


def test_a_run_comes_back_as_it_was_added(path):
    with Store(path) as store:
        store.add(RUN, TRACE)

    with Store(path) as again:
        assert again.runs() == [RUN]
        assert again.trace("a") == TRACE
        assert again.done() == {"a"}


def test_a_run_that_is_added_again_takes_the_place_of_the_earlier_one(path):
    with Store(path) as store:
        store.add(RUN, TRACE)
        store.add(dataclasses.replace(RUN, status="MAX_TIME"), TRACE[:1])

        assert [run.status for run in store.runs()] == ["MAX_TIME"]
        assert store.trace("a") == TRACE[:1]


def test_what_is_not_a_number_is_none_and_infinity_stays(path):
    with Store(path) as store:
        store.add(dataclasses.replace(RUN, loss=math.nan, start_loss=math.inf))

        (run,) = store.runs()

    assert (run.loss, run.start_loss) == (None, math.inf)


def test_a_trace_of_another_run_is_refused_and_nothing_is_kept(path):
    with Store(path) as store:
        with pytest.raises(ValueError, match=r"has rows of others: \['b'\]"):
            store.add(RUN, [TraceRow(run_id="b", iteration=0)])

        assert store.runs() == []


def test_a_transaction_that_fails_leaves_the_store_as_it_was(path):
    with Store(path) as store:
        store.add(RUN, TRACE)
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            store.add(dataclasses.replace(RUN, status="F_TOL"), [TRACE[0], TRACE[0]])

        assert store.runs() == [RUN]
        assert store.trace("a") == TRACE


def test_a_file_of_another_kind_is_refused_and_left_alone(path):
    path.write_text("not a data base, but long enough for its head to be read as one" * 20)

    with pytest.raises(StoreError, match=r"holds no comparison.*Name another file"):
        Store(path)

    assert path.read_text().startswith("not a data base")


def test_a_data_base_of_another_kind_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs(x)")
    connection.close()

    with pytest.raises(StoreError, match="its tables are not a comparison's"):
        Store(path)


def test_a_store_of_a_later_version_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 0x6B6F726D")
        connection.execute("PRAGMA user_version = 2")
    connection.close()

    with pytest.raises(StoreError, match=r"has version 2. Allowed is 1"):
        Store(path)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreError, match=r"cannot be opened.*Make the folder"):
        Store(tmp_path / "none" / "runs.sqlite")


def test_a_store_that_another_process_writes_to_for_long_is_told(path, monkeypatch):
    monkeypatch.setattr("kormos_core.compare.store._WAIT_S", 0.05)
    with Store(path) as store, sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match=r"cannot be used: database is locked.*End whatever"):
            store.add(RUN, TRACE)

        other.execute("ROLLBACK")
        store.add(RUN, TRACE)
        assert store.done() == {"a"}
    other.close()


def test_a_writer_that_is_killed_loses_what_was_not_added_and_no_more(path):
    script = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from kormos_core.compare.store import Store, RunRecord, TraceRow\n"
        "store = Store(sys.argv[1])\n"
        "fields = dict(problem='p', problem_set='', solver='s', options={}, dtype='float64',"
        " seed=0, start=0, budget={}, status='F_TOL')\n"
        "store.add(RunRecord(run_id='a', **fields), [TraceRow(run_id='a', iteration=0)])\n"
        "store._connection.execute('BEGIN IMMEDIATE')\n"
        "store._connection.execute(\"INSERT INTO runs(run_id) VALUES ('b')\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = __file__.rsplit("/tests/", maxsplit=1)[0]

    killed = subprocess.run([sys.executable, "-c", script, str(path), root], check=False)

    assert killed.returncode == -9
    with Store(path) as store:
        assert store.done() == {"a"}
        assert len(store.trace("a")) == 1
