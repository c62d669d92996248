from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from kormos_core.errors import SettingError
from kormos_core.registry import PluginSettings
from kormos_core.registry.loader import load_plugins

if TYPE_CHECKING:
    from pathlib import Path

    from kormos_core.registry import Plugin

    from .conftest import Zoo

BROKEN = [
    ("missing", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
    ("exiting", "SystemExit: bye"),
    ("raising", "RuntimeError: the hook gave up"),
    ("wrong", "of type dict. It gives objects of type SolverSpec alone."),
    ("silent", "kormos_solvers returned None. It returns an iterable of SolverSpec."),
    ("invalid", "ValueError: unknown kind ['magic'] of solver 'x'"),
    ("twice", "solvers are declared twice: ['x']"),
    ("defaults", "more than one solver is the default: ['x', 'y']"),
    ("hookless", "does not implement the hook 'kormos_solvers'"),
    ("misspelled", "PluginValidationError: unknown hook 'kormos_solver'"),
    ("a b", "the entry point's name 'a b' is not usable as a namespace"),
]


def entry_points_of(*folders: Path) -> list[EntryPoint]:
    return [
        entry_point
        for distribution in importlib.metadata.distributions(path=[str(f) for f in folders])
        for entry_point in distribution.entry_points
    ]


@pytest.fixture
def plugins(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> dict[str, Plugin]:
    monkeypatch.syspath_prepend(zoo.new)
    loaded = load_plugins(entry_points_of(zoo.new), PluginSettings())
    return {plugin.distribution: plugin for plugin in loaded}


def test_a_good_plugin_loads_beside_many_broken_ones(plugins: dict[str, Plugin]) -> None:
    good = plugins["kormos-good"]

    assert good.status == "loaded"
    assert [spec.name for spec in good.solvers] == ["steep", "other"]
    assert (good.namespace, good.version, good.reason) == ("good", "1.0", "")


@pytest.mark.parametrize(("namespace", "reason"), BROKEN)
def test_a_broken_plugin_is_recorded_with_its_origin_and_traceback(
    plugins: dict[str, Plugin], namespace: str, reason: str
) -> None:
    (plugin,) = [plugin for plugin in plugins.values() if plugin.namespace == namespace]

    assert plugin.status == "broken"
    assert reason in plugin.reason
    assert plugin.traceback.startswith("Traceback (most recent call last):")
    assert plugin.distribution.startswith("kormos-")
    assert plugin.version == "1.0"


def test_two_distributions_of_one_namespace_are_a_conflict_in_any_case(
    plugins: dict[str, Plugin],
) -> None:
    first, second = plugins["kormos-first"], plugins["kormos-second"]

    assert (first.status, second.status) == ("conflict", "conflict")
    assert "also claimed by kormos-second 1.0" in first.reason
    assert "also claimed by kormos-first 1.0" in second.reason


def test_a_solver_of_a_later_interface_is_skipped_and_its_neighbor_is_not(
    plugins: dict[str, Plugin],
) -> None:
    late = plugins["kormos-late"]

    assert late.status == "loaded"
    assert [spec.name for spec in late.solvers] == ["now"]
    assert [(spec.name, spec.api_version) for spec in late.skipped] == [("later", 99)]
    assert late.num_faults == 1


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_copies_of_one_distribution_the_first_counts(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    folders = (zoo.new, zoo.old) if newest_first else (zoo.old, zoo.new)
    monkeypatch.syspath_prepend(zoo.new)

    loaded = load_plugins(entry_points_of(*folders), PluginSettings())

    (good,) = [plugin for plugin in loaded if plugin.namespace == "good"]
    assert good.status == "loaded"
    assert good.version == ("1.0" if newest_first else "0.9")


@pytest.mark.parametrize("name", ["shared", "SHARED", "kormos-second", "Kormos_Second"])
def test_a_disabled_plugin_is_recorded_and_never_imported(zoo: Zoo, name: str) -> None:
    settings = PluginSettings.from_environ({"KORMOS_DISABLE_PLUGINS": name})
    entry_points = [EntryPoint("shared", "never_to_be_imported", "kormos")]
    if name.lower() != "shared":
        entry_points = [ep for ep in entry_points_of(zoo.new) if ep.value == "kormos_second"]

    (plugin,) = load_plugins(entry_points, settings)

    assert plugin.status == "disabled"
    assert plugin.reason == "disabled by KORMOS_DISABLE_PLUGINS"


def test_disabling_one_of_two_claimants_settles_the_conflict(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(zoo.new)
    settings = PluginSettings(disabled=("kormos-second",))

    loaded = load_plugins(entry_points_of(zoo.new), settings)

    statuses = {p.distribution: p.status for p in loaded if p.namespace == "shared"}
    assert statuses == {"kormos-first": "loaded", "kormos-second": "disabled"}


def test_a_setting_that_names_an_unknown_plugin_is_refused(zoo: Zoo) -> None:
    settings = PluginSettings(allowed=("god",))

    with pytest.raises(SettingError, match=r"names 'god', which is no.*Did you mean 'good'\?"):
        load_plugins(entry_points_of(zoo.new), settings)


def test_an_entry_point_without_a_distribution_is_of_unknown_origin() -> None:
    (plugin,) = load_plugins([EntryPoint("x", "json", "kormos")], PluginSettings())

    assert plugin.label == "unknown unknown"
    assert plugin.status == "broken"
