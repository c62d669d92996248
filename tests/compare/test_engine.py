"""Which jobs are run, what is kept, and how a comparison ends; nothing is solved here."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from kormos_core.compare.contestants import find_contestants
from kormos_core.compare.engine import run_jobs
from kormos_core.compare.limits import Limits
from kormos_core.compare.plan import make_plan
from kormos_core.compare.store import RunRecord, Store, TraceRow


class Fake:
    """A supervisor whose runs end at once."""

    def __init__(self, statuses=None, error=None):
        self.statuses = statuses or {}
        self.error = error or {}
        self.ran = []
        self.has_given_up = False

    def run(self, job):
        self.ran.append(job.problem)
        if job.problem in self.error:
            raise self.error[job.problem]
        run = RunRecord(
            run_id=job.run_id,
            problem=job.problem,
            problem_set=job.problem_set,
            solver=job.solver,
            options={},
            dtype=job.dtype,
            seed=job.seed,
            start=job.start,
            budget={},
            status=self.statuses.get(job.problem, "F_TOL"),
        )
        return run, [TraceRow(run_id=job.run_id, iteration=0)]

    def give_up(self):
        self.has_given_up = True


class Seen:
    """An onlooker that remembers, and may interrupt."""

    def __init__(self, interrupt_at=None):
        self.said = []
        self.interrupt_at = interrupt_at

    def plan(self, num_jobs, num_done):
        self.said.append((num_jobs, num_done))

    def begin(self, job):
        assert threading.current_thread() is threading.main_thread()
        self.said.append(f"{job.problem} begins")

    def end(self, job, run):
        self.said.append(f"{job.problem} ends {run.status}")
        if job.problem == self.interrupt_at:
            raise KeyboardInterrupt(f"at {job.problem}")


NAMES = ("linear", "digits", "mgh-wood")


@pytest.fixture
def jobs():
    return plan(NAMES)


@pytest.fixture
def store():
    with Store(":memory:") as store:
        yield store


def plan(names, solvers=("scipy:cg",), **changes):
    settings = {"dtype": "float64", "seeds": [0], "starts": 1, "rates": (0.1,)} | changes
    limits = settings.pop("limits", Limits(evals=3))
    pairs = [(name, "") for name in names]
    return make_plan(pairs, find_contestants(solvers), limits, **settings)


def test_every_job_is_run_told_and_kept(jobs, store):
    fake, seen = Fake(), Seen()

    run_jobs(jobs, store, onlooker=seen, supervisor=fake)

    assert fake.ran == [run.problem for run in store.runs()] == list(NAMES)
    assert len(store.trace(jobs[0].run_id)) == 1
    assert seen.said[0] == (3, 0)
    assert sorted(seen.said[1:]) == sorted(
        f"{name} {what}" for name in NAMES for what in ("begins", "ends F_TOL")
    )


def test_what_is_in_the_store_is_not_run_again(jobs, store):
    run_jobs(jobs[:2], store, supervisor=Fake())
    fake, seen = Fake(), Seen()

    run_jobs(jobs, store, onlooker=seen, supervisor=fake)

    assert fake.ran == ["mgh-wood"]
    assert seen.said[0] == (3, 2)


@pytest.mark.parametrize(("retry", "again"), [(False, []), (True, ["linear", "digits"])])
def test_what_failed_is_run_again_if_asked_for(jobs, store, retry, again):
    run_jobs(jobs, store, supervisor=Fake({"linear": "CRASHED", "digits": "TIMEOUT"}))
    fake = Fake()

    run_jobs(jobs, store, retry=retry, supervisor=fake)

    assert fake.ran == again
    assert len(store.runs()) == 3


def test_an_interrupt_keeps_what_has_ended_and_stops_the_rest(jobs, store):
    fake = Fake()

    with pytest.raises(KeyboardInterrupt, match="at linear"):
        run_jobs(jobs, store, onlooker=Seen(interrupt_at="linear"), supervisor=fake)

    assert fake.has_given_up
    assert store.done() == {jobs[0].run_id}


def test_a_fault_of_the_harness_itself_is_raised(jobs, store):
    fake = Fake(error={"digits": OSError("no more processes")})

    with pytest.raises(OSError, match="no more processes"):
        run_jobs(jobs, store, supervisor=fake)

    assert fake.has_given_up


def test_several_at_once_do_every_job_once(store):
    jobs = plan(["linear"], seeds=range(20))

    run_jobs(jobs, store, num_parallel=4, supervisor=Fake())

    assert store.done() == {job.run_id for job in jobs}


# --- plans -------------------------------------------------------------------------------


def test_a_plan_has_each_problem_with_each_start_seed_and_solver():
    jobs = plan(["nist-rat42", "linear"], ["scipy:cg", "adam"], seeds=[4, 5], starts=3)

    # NIST has two starts, and the linear model of the README one
    assert [(job.problem, job.start, job.seed, job.solver) for job in jobs] == [
        (problem, start, seed, solver)
        for problem, starts in (("nist-rat42", 2), ("linear", 1))
        for start in range(starts)
        for seed in (4, 5)
        for solver in ("scipy:cg", "adam")
    ]
    assert jobs[0].problem_set == "nist"


def test_a_problem_that_two_sets_have_is_run_once():
    contestants = find_contestants(["scipy:cg"])
    settings = {"dtype": "float64", "seeds": [0], "starts": 1, "rates": ()}

    jobs = make_plan(
        [("digits", "classic"), ("digits", "sklearn")], contestants, Limits(), **settings
    )

    assert [job.problem_set for job in jobs] == ["classic"]


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float32"},
        {"seeds": [1]},
        {"limits": Limits(evals=4)},
        {"solvers": ["scipy:cg(gtol=1e-3)"]},
    ],
)
def test_whatever_is_asked_for_makes_another_run(changes):
    (first,) = plan(["linear"])
    (second,) = plan(["linear"], **changes)

    assert first.run_id != second.run_id
    assert first.run_id == replace(first, problem_set="other").run_id


def test_a_whole_number_of_seconds_is_the_same_limit():
    (first,), (second,) = (plan(["linear"], limits=Limits(time_s=time)) for time in (3, 3.0))

    assert first.run_id == second.run_id


def test_learning_rates_matter_to_those_who_try_them():
    first, second = (plan(["linear"], ["adam", "scipy:cg"], rates=(rate,)) for rate in (0.1, 0.2))

    assert first[0].run_id != second[0].run_id
    assert first[1].run_id == second[1].run_id
