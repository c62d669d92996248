from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core.registry.discovery import discover, first_copies
from kormos_core.registry.plugin import canonical

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def write_metadata(folder: Path, name: str, entry_points: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_distributions_whose_entry_points_cannot_be_read_hurt_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path, "healthy", "[kormos]\nhealthy = json\n")
    write_metadata(tmp_path, "mangled", "[kormos]\nno equals sign here\n")
    write_metadata(tmp_path, "stranger", "[console_scripts]\nno equals sign either\n")
    monkeypatch.syspath_prepend(tmp_path)

    found, unreadable = discover()

    assert "healthy" in [entry_point.name for entry_point in found]
    (plugin,) = unreadable
    assert (plugin.label, plugin.status) == ("mangled 1.0", "broken")
    assert "its entry_points.txt cannot be read" in plugin.reason


def test_the_group_is_found_among_well_formed_distributions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path, "healthy", "[kormos]\nhealthy = json\n[other]\nx = y\n")
    monkeypatch.syspath_prepend(tmp_path)

    found, unreadable = discover()

    assert ("healthy", "json") in [(point.name, point.value) for point in found]
    assert "x" not in [point.name for point in found]
    assert unreadable == []


def test_a_second_copy_of_a_distribution_on_the_path_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path / "a", "some_plugin", "[kormos]\nsome = new\nelse = new_too\n")
    write_metadata(tmp_path / "b", "Some.Plugin", "[kormos]\nsome = old\n")
    monkeypatch.syspath_prepend(tmp_path / "b")
    monkeypatch.syspath_prepend(tmp_path / "a")

    found = [point for point in discover()[0] if point.name in {"some", "else"}]

    assert sorted(point.value for point in first_copies(found)) == ["new", "new_too"]


def test_names_of_distributions_are_compared_as_packaging_tools_do() -> None:
    assert canonical("Kormos__Sci.Py") == "kormos-sci-py"
