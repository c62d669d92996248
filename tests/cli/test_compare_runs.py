"""`kormos compare` on many problems: options, progress, endings; nothing is solved here."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from kormos_core.cli.app import app
from kormos_core.compare import engine
from kormos_core.compare.report.files import checked_file
from kormos_core.compare.store import RunRecord, Store

SOLVERS = ("--solvers", "scipy:cg,adam")


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *arguments])


class Fake:
    """A supervisor whose runs end at once."""

    status, loss = "F_TOL", 0.5
    ran: list[str]
    interrupts = False

    def __init__(self, num_parallel=1):
        self.num_parallel = num_parallel

    def run(self, job):
        type(self).ran.append(job.title)
        known = {name: getattr(job, name) for name in ("run_id", "problem", "problem_set")}
        known |= {name: getattr(job, name) for name in ("solver", "dtype", "seed", "start")}
        record = RunRecord(
            **known, options={}, budget=job.budget, status=self.status, loss=self.loss
        )
        return record, []

    def give_up(self):
        pass


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Solve nothing, and print the number of runs where the report would be."""
    made = type("Own", (Fake,), {"ran": []})
    monkeypatch.setattr(engine, "Supervisor", made)
    report = SimpleNamespace(
        print_table=lambda store, console: console.print(f"{len(store.runs())} runs"),
        write_html=lambda store, path: path.write_text("html"),
        write_csv=lambda store, path: path.write_text("csv"),
        checked_file=checked_file,
        load_matplotlib=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "kormos_core.compare.report", report)
    return made


def test_several_problems_are_run_and_told_line_by_line(fake):
    result = run("linear", "mgh-wood", *SOLVERS)

    assert result.exit_code == 0
    assert result.stdout == "4 runs\n"
    assert sorted(fake.ran) == sorted(
        f"{problem}, {solver}"
        for problem in ("linear", "mgh-wood")
        for solver in ("scipy:cg", "adam")
    )
    lines = result.stderr.splitlines()
    assert lines[0].startswith("1/4 linear, scipy:cg: F_TOL, loss 0.5, ")
    assert lines[-1] == "4/4 mgh-wood, adam: F_TOL, loss 0.5"


def test_the_same_command_goes_on_where_it_was(fake, tmp_path):
    out = tmp_path / "runs.sqlite"
    run("linear", *SOLVERS, "--out", str(out))
    fake.ran.clear()

    result = run("linear", "mgh-wood", *SOLVERS, "--out", str(out))

    assert fake.ran == ["mgh-wood, scipy:cg", "mgh-wood, adam"]
    assert "2 of 4 runs are in the store already" in result.stderr
    with Store(out) as store:
        assert len(store.runs()) == 4


@pytest.mark.parametrize(("option", "again"), [((), 0), (("--retry",), 2)])
def test_what_had_failed_is_run_again_if_asked_for(fake, tmp_path, option, again):
    out = ("--out", str(tmp_path / "runs.sqlite"))
    fake.status, fake.loss = "CRASHED", None
    run("linear", *SOLVERS, *out)
    fake.ran.clear()

    run("linear", *SOLVERS, *out, *option)

    assert len(fake.ran) == again


def test_options_reach_the_runs(tmp_path):
    result = run(
        *("--set", "nist", "--solvers", "adam", "--json", "--seeds", "2", "--seed", "3"),
        *(
            "--starts",
            "2",
            "--time",
            "5",
            "--evals",
            "7",
            "--iterations",
            "9",
            "--batch-size",
            "4",
        ),
        *("--dtype", "float32", "--rates", "0.5,0.1", "--jobs", "2"),
        *("--html", str(tmp_path / "a.html"), "--csv", str(tmp_path / "a.csv")),
    )

    found = json.loads(result.stdout)
    assert len(found) == 27 * 2 * 2
    assert {run["seed"] for run in found} == {3, 4}
    assert {run["dtype"] for run in found} == {"float32"}
    assert found[0]["budget"] == {"time_s": 5.0, "evals": 7, "iterations": 9, "batch_size": 4}
    assert (tmp_path / "a.html").read_text() == "html"
    assert (tmp_path / "a.csv").read_text() == "csv"


def test_if_no_run_has_a_result_the_status_is_one(fake):
    fake.status, fake.loss = "FAILED", None

    assert run("linear", "mgh-wood", *SOLVERS).exit_code == 1


@pytest.mark.parametrize(
    ("out", "said"),
    [(True, "the same command goes on"), (False, "nothing is kept, without --out")],
)
def test_an_interrupt_tells_what_is_kept(fake, tmp_path, monkeypatch, out, said):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("kormos_core.compare.harness.run_jobs", interrupt)
    files = ("--out", str(tmp_path / "runs.sqlite")) if out else ()

    result = run("linear", "mgh-wood", *SOLVERS, *files)

    assert result.exit_code == 130
    assert f"Interrupted after 0 of 0 runs; {said}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "clasick"), "unknown set of problems 'clasick'. Did you mean 'classic'?"),
        (("linear", "mgh-wod"), "unknown problem 'mgh-wod'. Did you mean 'mgh-wood'?"),
        (("--set", "nist", "--solvers", "scipy:lbfgs"), "Did you mean 'scipy:l-bfgs-b'?"),
        (("linear", "--time", "-1"), "time_s=-1.0 of the budget cannot be kept"),
        (("linear", "--time", "0"), "time_s=0.0 of the budget cannot be kept"),
        (("linear", "--html", "nowhere/a.html"), "there is no folder 'nowhere'"),
        (("linear", "--csv", "nowhere/a.csv"), "there is no folder 'nowhere'"),
        (("linear", "--rates", "fast"), "--rates 'fast' cannot be read"),
        (("linear", "--evals", "0"), "--evals"),
        ((), "there is no problem to compare on"),
    ],
)
def test_a_misuse_ends_with_status_two_before_anything_is_run(fake, arguments, said):
    result = run(*arguments)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert fake.ran == []


def test_problems_and_sets_are_named():
    result = run("--list")

    assert result.exit_code == 0
    assert result.stdout.startswith("classic (8): digits, breast-cancer")
    assert "nist-misra1a" in result.stdout
    assert "matrix-factorization, each with -ROWSxCOLUMNS" in " ".join(result.stdout.split())
