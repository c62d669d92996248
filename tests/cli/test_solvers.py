from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from typer.testing import CliRunner

from kormos_core.cli.app import app
from kormos_core.cli.solvers import write_solvers
from kormos_core.registry import Registry

if TYPE_CHECKING:
    from typer.testing import Result

HEAVY = ("numpy", "keras", "tensorflow", "scipy", "jax", "torch", "sklearn", "pandas")


@pytest.fixture(autouse=True)
def only_these(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kormos_core.cli.solvers.installed", lambda: registry)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["solvers", *arguments])


def in_terminal(registry: Registry, width: int) -> list[str]:
    console = Console(
        file=StringIO(), force_terminal=True, width=width, color_system=None, highlight=False
    )
    write_solvers(registry, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_json_holds_what_each_solver_declares() -> None:
    result = run("--json")

    records = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [record["name"] for record in records] == ["scipy:trust-krylov", "scipy:newton"]
    assert records[0]["needs"] == ["value", "grad", "hvp"]
    assert records[0]["supports"] == ["bounds", "constraints", "stop"]
    assert records[0]["aliases"] == ["trust-krylov", "both"]
    assert (records[0]["package"], records[0]["version"]) == ("kormos-scipy", "1.0")
    assert records[1]["backends"] == ["jax", "tensorflow"]
    assert (records[1]["kind"], records[1]["max_parameters"]) == ("least-squares", 1000)
    assert [record["requires_bounds"] for record in records] == [False, False]


def test_a_pipe_gets_one_line_a_solver_with_its_summary() -> None:
    lines = run().stdout.splitlines()

    (line,) = [line for line in lines if line.startswith("scipy:trust-krylov")]
    assert "bounds constraints stop" in line
    assert "summary is long enough to be wrapped in every terminal there is." in line
    assert "scipy alone means scipy:trust-krylov." in lines


def test_what_is_left_out_is_told_on_standard_error() -> None:
    result = run()

    assert "2 faulty; `kormos plugins` says why" in result.stderr
    assert "faulty" not in result.stdout


@pytest.mark.parametrize("width", [40, 80, 100, 160, 200])
def test_a_terminal_gets_whole_words_within_its_width(registry: Registry, width: int) -> None:
    lines = in_terminal(registry, width)

    text = "\n".join(lines)
    assert "…" not in text
    assert max(map(len, lines)) <= width
    assert "scipy:trust-krylov" in text
    assert "least-squares" in text


def test_a_terminal_of_80_columns_has_all_but_aliases_and_summary(registry: Registry) -> None:
    lines = in_terminal(registry, 80)

    headings = ["solver", "kind", "needs", "supports", "backends", "package"]
    assert lines[0].split() == headings
    assert "constraints" in "\n".join(lines)
    assert "kormos-scipy" in "\n".join(lines)
    assert "A wider terminal or --json also shows: aliases, summary." in lines


def test_a_terminal_that_is_too_narrow_says_which_columns_it_lacks(registry: Registry) -> None:
    text = " ".join(" ".join(in_terminal(registry, 34)).split())

    assert "also shows: needs, supports, backends, package, aliases, summary." in text


def test_a_wide_terminal_shows_aliases_and_summaries(registry: Registry) -> None:
    lines = in_terminal(registry, 200)

    assert "aliases" in lines[0]
    assert "summary" in lines[0]


def test_without_any_solver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kormos_core.cli.solvers.installed", lambda: Registry([]))

    result = run()

    assert result.exit_code == 0
    assert result.stdout == "No solver is installed. Install some: pip install kormos-scipy\n"


def test_listing_imports_no_backend_and_no_numerical_library() -> None:
    code = (
        "import sys\n"
        "from kormos_core.cli import main\n"
        "sys.argv = ['kormos', 'solvers', '--json']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines()[-1] == "[]"
