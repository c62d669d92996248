from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from typer.testing import CliRunner

from kormos_core.cli.app import app
from kormos_core.cli.conform import write_report
from kormos_core.registry import installed
from kormos_core.testing import Check, Verdict
from kormos_core.testing.report import Report

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from kormos_core.testing import Case

LONG = "A law. Seen: something that is long enough to be wrapped. Do this [and] that."


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["conform", *arguments])


def nothing(case: Case) -> None:
    pass


def report_of(*outcomes: str) -> Report:
    return Report(
        solver="my:solver (kormos-my 1.0)",
        verdicts=tuple(
            Verdict(
                check=Check(
                    name=f"check_{k}", law=f"Law number {k} of several laws.", run=nothing
                ),
                outcome=outcome,  # type: ignore[arg-type]
                message="" if outcome == "passed" else LONG,
                seconds=1.5,
            )
            for k, outcome in enumerate(outcomes)
        ),
    )


def written(report: Report, width: int | None = None) -> list[str]:
    console = Console(
        file=StringIO(),
        force_terminal=width is not None,
        width=width,
        color_system=None,
        highlight=False,
    )
    write_report(report, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_a_solver_that_conforms_has_status_zero_and_a_table() -> None:
    result = run("scipy:cg", "--check", "immutable", "--check", "bounds")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].split() == ["check", "outcome", "seconds", "law", "or", "reason"]
    (line,) = [line for line in lines if line.startswith("bounds")]
    assert "does not apply" in line
    assert line.rstrip().endswith("it does not declare 'bounds'")
    assert lines[-1].startswith("scipy:cg (kormos-scipy ")
    assert lines[-1].endswith("conforms: 1 passed, 1 does not apply.")


def test_a_solver_that_does_not_conform_has_status_one() -> None:
    result = run("scipy:cg", "--check", "immutable", "--known-failure", "immutable=it was once")

    assert result.exit_code == 1
    assert "immutable: known to fail (it was once), and it passes." in result.stdout
    assert "does not conform: 1 passed unexpectedly." in result.stdout


def test_json_holds_every_verdict() -> None:
    result = run("cg", "--json", "--check", "unknown-option", "--option", "gtol=1e-3")

    found = json.loads(result.stdout)
    assert (found["conforms"], len(found["checks"])) == (True, 1)
    check = found["checks"][0]
    assert (check["name"], check["outcome"], check["message"]) == ("unknown_option", "passed", "")
    assert check["seconds"] >= 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scipy:cgg",), "Did you mean 'scipy:cg'?"),
        (("scipy:cg", "--check", "bound"), "unknown check 'bound'. Did you mean 'bounds'?"),
        (("scipy:cg", "--known-failure", "bounce=why"), "unknown check 'bounce'"),
        (("scipy:cg", "--known-failure", "bounds"), "not usable: 'bounds'. Allowed is NAME=VALUE"),
        (("scipy:cg", "--option", "gtoll=1"), "unknown option 'gtoll'"),
        ((), "no solver is named. Allowed are a solver's name or --all."),
        (("scipy:cg", "--all"), "both --all and the solver 'scipy:cg' are given"),
        (("--all", "--option", "gtol=1"), "are of one solver, and --all is given"),
        (("scipy:cg", "--json", "--markdown"), "exclude each other"),
        (("scipy:cg", "--known-failures", "nowhere.toml"), "'nowhere.toml' cannot be read"),
    ],
)
def test_a_misuse_ends_with_status_two_before_anything_is_checked(
    arguments: tuple[str, ...], said: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scipy:cg]", "cannot be read: "),
        ('bounds = "why"', "is not usable at 'bounds': 'why'. Allowed are tables of reasons"),
        ('["scipy:cg"]\nbounds = 1', "is not usable at 'scipy:cg': {'bounds': 1}"),
        ('["scipy:cgg"]\nbounds = "why"', "Did you mean 'scipy:cg'?"),
        ('["scipy:cg"]\nbound = "why"', "unknown check 'bound'"),
    ],
)
def test_a_file_of_known_failures_that_is_none_is_refused(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text, encoding="utf-8")

    result = run("scipy:cg", "--check", "immutable", "--known-failures", str(path))

    assert result.exit_code == 2
    assert said in result.stderr


def test_known_failures_of_a_file_are_those_of_its_solver(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text('["scipy:bfgs"]\nimmutable = "it was once"', encoding="utf-8")
    arguments = ("--check", "immutable", "--known-failures", str(path))

    assert run("scipy:cg", *arguments).exit_code == 0
    assert run("scipy:bfgs", *arguments).exit_code == 1


def test_a_file_of_known_failures_may_name_a_solver_by_its_alias(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text('["BFGS"]\nimmutable = "it was once"', encoding="utf-8")

    result = run("scipy:bfgs", "--check", "immutable", "--known-failures", str(path))

    assert "immutable: known to fail (it was once), and it passes." in result.stdout


def test_a_reason_that_looks_like_markup_is_written_as_it_is() -> None:
    report = report_of("known failure")
    verdict = replace(report.verdicts[0], message="see [1] and [/2]")

    lines = written(replace(report, verdicts=(verdict,)))

    assert lines[2].rstrip().endswith("see [1] and [/2]")


def test_all_solvers_make_a_list_in_json_and_a_page_in_markdown() -> None:
    names = [solver.name for solver in installed().solvers()]

    listed = run("--all", "--check", "immutable", "--json")
    page = run("--all", "--check", "immutable", "--markdown")

    found = json.loads(listed.stdout)
    assert [report["solver"].partition(" ")[0] for report in found] == names
    assert {len(report["checks"]) for report in found} == {1}
    assert page.stdout.startswith("# Conformance\n")
    assert [name for name in names if f"| `{name}` | 1 |" not in page.stdout] == []


def test_what_is_wrong_is_told_in_full_below_the_table() -> None:
    lines = written(report_of("passed", "failed", "known failure"))

    (row,) = [line for line in lines if line.startswith("check_1 ")]
    assert row.rstrip().endswith("Law number 1 of several laws.")
    assert f"check_1: {LONG}" in lines
    assert f"check_2: {LONG}" not in lines
    assert lines[-1] == (
        "my:solver (kormos-my 1.0) does not conform: 1 passed, 1 failed, 1 known failure."
    )


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_whole_words_within_its_width(width: int) -> None:
    lines = written(report_of("passed", "does not apply"), width)

    assert max(map(len, lines)) <= width
    assert "enough to be" in " ".join(" ".join(lines).split())
    assert "…" not in "\n".join(lines)
