"""One run in a process of its own; the processes here are tiny scripts."""

from __future__ import annotations

import os
import re
import sys
import threading
import time

import psutil
import pytest

from kormos_core.compare.limits import Limits
from kormos_core.compare.plan import Job
from kormos_core.compare.process import Supervisor

HEAD = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
def say(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + chr(10))
    sys.stdout.flush()
say("started")
"""
BEGUN = (
    HEAD
    + """
say("begin", what="solve")
say("row", row=[0, 0, 0, 0.0, 4.0, 8.0])
say("row", row=[3, 5, 2, 0.25, 1.5, 0.5])
"""
)


def job(**fields):
    asked = {
        "problem": "p",
        "problem_set": "s",
        "solver": "a:b",
        "solver_name": "a:b",
        "options": {"k": 1},
        "rates": (),
        "dtype": "float64",
        "seed": 2,
        "start": 1,
        "budget": Limits(time_s=0.1).as_dict(),
    }
    return Job(**(asked | fields))


def run(script, *, grace_s=30.0, **fields):
    supervisor = Supervisor(command=[sys.executable, "-c", script], grace_s=grace_s)
    return supervisor.run(job(**fields))


def has_ended(pid):
    """Tell whether a process ends within ten seconds; a zombie has ended."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_what_a_process_says_at_its_end_becomes_a_run_and_its_trace():
    script = (
        BEGUN
        + """
fields = {"status": "F_TOL", "message": job["problem"], "loss": 0.5, "num_samples": 7}
say("end", fields=fields, rows=[[0, 0, 0, 0.0, 4.0, 8.0], [1, 2, 0, 0.1, 0.5, 0.0]])
"""
    )

    record, trace = run(script)

    assert (record.status, record.message, record.loss) == ("F_TOL", "p", 0.5)
    assert (record.problem_set, record.seed, record.start) == ("s", 2, 1)
    assert record.options == {"k": 1}
    assert record.run_id == job().run_id
    assert [(row.iteration, row.fg_evals, row.loss) for row in trace] == [(0, 0, 4.0), (1, 2, 0.5)]
    assert {row.run_id for row in trace} == {record.run_id}


@pytest.mark.parametrize(
    ("death", "said"),
    [
        ("os._exit(3)", r"ended with status 3, without a result. Last words: none"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"ended by signal 11 \(SIGSEGV\)"),
        ("raise SystemExit('out of luck')", r"status 1.* Last words: out of luck"),
    ],
)
def test_a_process_that_dies_leaves_a_row_with_its_reason_and_what_was_known(death, said):
    record, trace = run(BEGUN + death)

    assert record.status == "CRASHED"
    assert re.search(said, record.message)
    assert (record.start_loss, record.loss, record.num_iterations) == (4.0, 1.5, 3)
    assert (record.fg_evals, record.hessp_evals, record.wall_time_s) == (5, 2, 0.25)
    assert len(trace) == 2


def test_a_process_that_dies_before_it_begins_leaves_a_row():
    record, trace = run("raise SystemExit(4)")

    assert (record.status, record.loss, trace) == ("CRASHED", None, [])


def test_a_process_that_does_not_stop_is_killed_after_its_grace():
    begun = time.monotonic()

    record, trace = run(BEGUN + "time.sleep(60)", grace_s=0.2)

    assert time.monotonic() - begun < 30.0
    assert record.status == "TIMEOUT"
    assert record.message == "Killed: it had not stopped 0.2 s after its limit of 0.1 s."
    assert (record.loss, len(trace)) == (1.5, 2)


def test_another_learning_rate_has_the_time_anew_and_a_trace_of_its_own():
    script = (
        BEGUN
        + """
time.sleep(0.5)
say("begin", what="learning rate 0.1")
say("row", row=[0, 0, 0, 0.0, 4.0, 8.0])
time.sleep(0.5)
os._exit(1)
"""
    )

    record, trace = run(script, grace_s=0.7)

    assert record.status == "CRASHED"
    assert [row.iteration for row in trace] == [0]


def test_without_a_limit_of_time_nothing_is_killed():
    script = (
        BEGUN + "time.sleep(0.5)" + chr(10) + 'say("end", fields={"status": "F_TOL"}, rows=[])'
    )

    record, trace = run(script, grace_s=0.0, budget=Limits(evals=5).as_dict())

    assert (record.status, len(trace)) == ("F_TOL", 2)


def test_who_gives_up_gets_nothing_and_waits_for_nothing():
    supervisor = Supervisor(command=[sys.executable, "-c", BEGUN + "time.sleep(60)"])
    supervisor.give_up()
    begun = time.monotonic()

    assert supervisor.run(job()) is None
    assert time.monotonic() - begun < 30.0


def test_who_gives_up_while_a_process_runs_has_it_killed():
    supervisor = Supervisor(command=[sys.executable, "-c", BEGUN + "time.sleep(60)"])
    threading.Timer(0.5, supervisor.give_up).start()
    begun = time.monotonic()

    assert supervisor.run(job(budget=Limits(evals=5).as_dict())) is None
    assert time.monotonic() - begun < 30.0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes have no groups here")
def test_what_a_process_has_started_ends_with_it(tmp_path):
    script = (
        BEGUN
        + """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
say("end", fields={"status": str(child.pid)}, rows=[])
time.sleep(60)
"""
    )

    record, _ = run(script)

    assert has_ended(int(record.status))


@pytest.mark.parametrize(("num_parallel", "threads"), [(1, None), (10**6, "1")])
def test_runs_at_once_share_the_cores(num_parallel, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    script = (
        HEAD + 'say("end", fields={"status": str(os.environ.get("OMP_NUM_THREADS"))}, rows=[])'
    )
    supervisor = Supervisor(num_parallel, command=[sys.executable, "-c", script])

    record, _ = supervisor.run(job())

    assert record.status == str(threads)
