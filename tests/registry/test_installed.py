"""What a user meets in an environment of real distributions, good and bad."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import RunPython, Zoo

RESOLVE = """
import json, sys
from kormos_core.errors import KormosError
from kormos_core.registry import installed
answers = {}
for name in sys.argv[1:]:
    try:
        answers[name] = str(installed().create(name))
    except KormosError as error:
        answers[name] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""

EXPECTED = {
    "good:steep": "Steep(rate=0.1)",
    "good": "Steep(rate=0.1)",
    "good:obsolete": "UnknownSolverError: unknown solver 'good:obsolete'.",
    "rival:one": "PluginError: solver rival:one (kormos-rival 1.0) cannot be imported from "
    "'nowhere.at_all:One': ModuleNotFoundError: No module named 'nowhere'.",
    "BOTH": "AmbiguousNameError: solver name 'BOTH' is ambiguous: it is claimed by "
    "good:other (kormos-good 1.0) and rival:one (kormos-rival 1.0).",
    "shared:x": "AmbiguousNameError: solver name 'shared:x' is ambiguous: the namespace 'shared' "
    "is claimed by kormos-first 1.0 and kormos-second 1.0.",
    "common": "AmbiguousNameError: solver name 'common' is ambiguous: the namespace 'shared'",
    "missing:x": "PluginError: plugin missing (kormos-missing 1.0) is broken: "
    "ModuleNotFoundError: No module named 'a_module_that_nobody_has'.",
    "exiting": "PluginError: plugin exiting (kormos-exiting 1.0) is broken: SystemExit: bye.",
    "late:later": "PluginError: solver 'late:later' of kormos-late 1.0 is written for plugin "
    "interface 99. This kormos speaks 1.",
    "tomorrow": "PluginError: solver 'tomorrow' of kormos-late 1.0 is written for plugin",
    "optimistix:bfgs": "UnknownSolverError: unknown solver 'optimistix:bfgs'. Its plugin is not "
    "installed: pip install kormos-optimistix brings 'optimistix'.",
}


@pytest.fixture(scope="session")
def answers(zoo: Zoo, run_python: RunPython) -> dict[str, str]:
    done = run_python("-c", RESOLVE, *EXPECTED, path=(zoo.new, zoo.old))
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def plugins(zoo: Zoo, run_python: RunPython) -> dict[str, Any]:
    done = run_python("-m", "kormos_core.cli", "plugins", "--json", path=(zoo.new, zoo.old))
    assert done.returncode == 0, done.stderr
    return {record["package"]: record for record in json.loads(done.stdout)["plugins"]}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_name_gets_its_solver_or_its_reason(answers: dict[str, str], name: str) -> None:
    assert answers[name].startswith(EXPECTED[name])


@pytest.mark.parametrize(
    ("package", "status"),
    [
        ("kormos-good", "loaded"),
        ("kormos-rival", "loaded"),
        ("kormos-late", "loaded"),
        ("kormos-ahead", "loaded"),
        ("kormos-missing", "broken"),
        ("kormos-misspelled", "broken"),
        ("kormos-first", "conflict"),
        ("kormos-second", "conflict"),
    ],
)
def test_the_command_plugins_tells_what_became_of_each(
    plugins: dict[str, Any], package: str, status: str
) -> None:
    assert plugins[package]["status"] == status
    assert plugins[package]["version"] == "1.0"
    assert bool(plugins[package]["traceback"]) is (status == "broken")


def test_the_command_plugins_names_what_is_skipped_as_too_new(plugins: dict[str, Any]) -> None:
    assert plugins["kormos-late"]["skipped"] == {"later": 99}
    assert plugins["kormos-ahead"]["skipped"] == {"kind": 99, "valley": 98}


def test_the_command_solvers_lists_what_works_and_counts_what_does_not(
    zoo: Zoo, run_python: RunPython
) -> None:
    done = run_python("-m", "kormos_core.cli", "solvers", "--json", path=(zoo.new,))

    names = [record["name"] for record in json.loads(done.stdout)]
    assert done.returncode == 0
    assert {"good:steep", "good:other", "rival:one", "late:now"} <= set(names)
    assert "shared:x" not in names
    assert "`kormos plugins` says why" in done.stderr


def test_strict_stops_at_a_broken_plugin(zoo: Zoo, run_python: RunPython) -> None:
    done = run_python(
        "-m", "kormos_core.cli", "solvers", path=(zoo.new,), KORMOS_STRICT_PLUGINS="1"
    )

    assert done.returncode == 1
    assert done.stderr.startswith("kormos: plugin ")
    assert done.stdout == ""


def test_strict_is_content_where_only_good_plugins_may_load(
    zoo: Zoo, run_python: RunPython
) -> None:
    environ = {"KORMOS_STRICT_PLUGINS": "1", "KORMOS_LOAD_PLUGINS": "good,kormos-rival"}

    done = run_python("-m", "kormos_core.cli", "solvers", path=(zoo.new,), **environ)

    assert done.returncode == 0, done.stderr
    assert "rival:one" in done.stdout


def test_an_unknown_name_in_the_environment_is_refused(zoo: Zoo, run_python: RunPython) -> None:
    done = run_python(
        "-m", "kormos_core.cli", "solvers", path=(zoo.new,), KORMOS_LOAD_PLUGINS="goood"
    )

    assert done.returncode == 1
    assert "KORMOS_LOAD_PLUGINS names 'goood'" in done.stderr


def test_all_plugins_can_be_disabled(zoo: Zoo, run_python: RunPython) -> None:
    done = run_python(
        "-m", "kormos_core.cli", "solvers", path=(zoo.new,), KORMOS_DISABLE_PLUGINS="1"
    )

    assert done.returncode == 0
    assert done.stdout.startswith("No solver is installed.")
