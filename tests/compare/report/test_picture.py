from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from kormos_core.compare.report import EmptyStudyError, ReportFileError, write_profiles


def texts(path):
    return [text.strip() for text in ET.parse(path).getroot().itertext() if text.strip()]  # noqa: S314 - our own


def test_the_picture_has_a_panel_for_each_measure_and_names_every_solver(store, tmp_path):
    write_profiles(store, tmp_path / "profiles.svg")

    told = texts(tmp_path / "profiles.svg")
    assert {"a", "b", "adam"} <= set(told)
    assert {
        f"{what}, multiple of the best" for what in ("evaluations", "seconds", "iterations")
    } <= set(told)


def test_it_can_be_read_on_a_dark_page(store, tmp_path):
    write_profiles(store, tmp_path / "profiles.svg")

    style = ET.parse(tmp_path / "profiles.svg").getroot().get("style")  # noqa: S314 - our own
    assert style == "color:#1c1e21;background:#ffffff"


def test_the_same_runs_make_the_same_file(store, tmp_path):
    for name in ("one.svg", "other.svg"):
        write_profiles(store, tmp_path / name)

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_one_solver_alone_has_no_profile(store, tmp_path):
    with pytest.raises(EmptyStudyError, match=r"profile of 1 solvers.*Allowed are two solvers"):
        write_profiles(store, tmp_path / "profiles.svg", solvers=["a"])


def test_a_folder_that_is_not_there_is_told_before_anything_is_drawn(store, tmp_path):
    with pytest.raises(ReportFileError, match="there is no folder"):
        write_profiles(store, tmp_path / "none" / "profiles.svg")
