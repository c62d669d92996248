from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from typer.testing import CliRunner

from kormos_core.cli.app import app, main
from kormos_core.cli.plugins import write_plugins

if TYPE_CHECKING:
    from typer.testing import Result

    from kormos_core.registry import Registry


@pytest.fixture(autouse=True)
def only_these(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kormos_core.cli.plugins.find_plugins", lambda _: registry.plugins())


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["plugins", *arguments], env=environ)


def test_the_table_tells_what_loaded_and_how_many_solvers() -> None:
    rows = [line.split() for line in run().stdout.splitlines()]

    assert ["scipy", "kormos-scipy", "1.0", "loaded", "2"] in rows
    assert ["bad", "kormos-bad", "2.0", "broken", "-"] in rows


def test_below_the_table_stands_what_failed_and_where() -> None:
    text = run().stdout

    assert "bad (kormos-bad 2.0): ImportError: [no] luck\n" in text
    assert '  File "plugin.py", line 3, in <module>\n' in text
    assert "Traceback" not in text
    assert "--verbose shows whole tracebacks." in text


def test_verbose_shows_the_whole_traceback() -> None:
    text = run("--verbose").stdout

    assert "Traceback:\n" in text
    assert "<frozen importlib>" in text
    assert "--verbose" not in text


def test_what_is_skipped_and_what_is_ambiguous_is_told() -> None:
    text = run().stdout

    assert "scipy:later (kormos-scipy 1.0) is skipped: it is written for plugin inter" in text
    assert "alias 'both' is claimed by scipy:trust-krylov (kormos-scipy 1.0) and scipy:n" in text


def test_json_holds_everything() -> None:
    result = run("--json")

    found = json.loads(result.stdout)
    bad, good = found["plugins"]
    assert result.exit_code == 0
    assert (bad["status"], bad["reason"]) == ("broken", "ImportError: [no] luck")
    assert bad["traceback"].startswith("Traceback")
    assert (good["solvers"], good["skipped"]) == (["trust-krylov", "newton"], {"later": 9})
    assert found["ambiguous_aliases"] == {"both": ["scipy:trust-krylov", "scipy:newton"]}


@pytest.mark.parametrize(("strict", "exit_code"), [("0", 0), ("1", 1)])
def test_strict_makes_a_fault_the_exit_status(strict: str, exit_code: int) -> None:
    result = run(KORMOS_STRICT_PLUGINS=strict)

    assert result.exit_code == exit_code
    assert "ImportError: [no] luck" in result.stdout


def test_a_terminal_of_80_columns_shows_the_table_whole(registry: Registry) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=80, color_system=None)
    write_plugins(registry, console, verbose=False)

    assert isinstance(console.file, StringIO)
    table = console.file.getvalue().split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table


def test_without_any_plugin_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kormos_core.cli.plugins.find_plugins", lambda _: ())

    assert run().stdout == "No plugin is installed. Install one: pip install kormos-scipy\n"


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])

    assert result.exit_code == 0
    assert result.stdout.startswith("kormos ")


def test_a_misuse_ends_with_its_message_and_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KORMOS_STRICT_PLUGINS", "maybe")
    monkeypatch.setattr("sys.argv", ["kormos", "plugins"])

    with pytest.raises(SystemExit, match="1"):
        main()

    assert (
        capsys.readouterr().err == "kormos: KORMOS_STRICT_PLUGINS is 'maybe'. It takes 1 or 0.\n"
    )
