from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from kormos_core.compare.report import ReportFileError, ToleranceError, write_html
from kormos_core.errors import UnsupportedError

VOID = {"meta", "br", "hr", "img", "link", "input"}
CITED = {"https://doi.org/10.1007/s101070100263", "https://doi.org/10.1137/080724083"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and collects what a test looks at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.tags, self.ids = [], [], Counter(), []
        self.references, self.text, self.rows = [], [], []
        self.feed(text)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "data", "action"}:
                self.references.append((tag, value))
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"/{tag}")

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data

    def row(self, *start):
        """Return the one row that begins with some cells."""
        found = [row for row in self.rows if tuple(row[: len(start)]) == start]
        assert len(found) == 1, found
        return found[0]


@pytest.fixture(scope="module")
def written(store, tmp_path_factory):
    """Return the page of the made-up store."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(store, path, tau=1e-3, taus=[1e-1, 1e-3])
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def words(page):
    return " ".join(" ".join(page.text).split())


def test_the_page_is_well_formed(page, written):
    assert page.faults == []
    assert written.startswith("<!DOCTYPE html>")
    assert page.tags["svg"] == 6  # two kinds of profiles at two tolerances, two problems


def test_no_name_inside_a_picture_is_that_of_another(page):
    assert max(Counter(page.ids).values()) == 1


def test_the_page_loads_nothing_from_anywhere(page, written):
    outside = {value for _, value in page.references if not value.startswith("#")}

    assert outside == CITED
    assert {tag for tag, value in page.references if value in CITED} == {"a"}
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert not re.search(r"@import|url\((?!#)", written)


def test_references_inside_pictures_have_what_they_refer_to(page, written):
    wanted = set(re.findall(r"url\(#([\w-]+)\)", written))
    wanted |= {value[1:] for _, value in page.references if value.startswith("#")}

    assert wanted <= set(page.ids)


def test_what_comes_from_the_store_is_escaped(page, written):
    assert "<script>no" not in written
    assert page.row("adam", "valley")[4] == "ValueError: <script>no & luck</script>"


def test_the_head_tells_what_was_run(page):
    text = words(page)

    assert "Problems: 2. Solvers: 3." in text
    assert "Runs: 6, finished from 2026-01-02T03:04:05Z" in text
    assert "Budget of a run: iterations=100, time_s=10." in text
    assert "Made with: keras 3.12.0, python 3.11.9." in text
    assert "learning_rate=0.01" in text


def test_outcomes_are_those_computed_by_hand(page):
    # solved, evaluations, seconds, gap, final loss, gradient, memory, reason
    bowl, valley = [row for row in page.rows if row[0] == "b" and len(row) == 9]

    assert bowl[1:6] == ["1/1", "21", "0.5", "1.0e-05", "0.00100000"]
    assert valley[1:6] == ["0/1", "-", "-", "5.0e-01", "7.00000"]
    assert valley[-1] == "GRAD_TOL"


def test_the_summary_is_that_computed_by_hand(page):
    rows = [row for row in page.rows if row[0] in {"a", "b", "adam"} and len(row) == 6]

    assert rows[:3] == [
        ["a", "2/2", "100%", "1.00 ×", "3.00 ×", "1.0"],  # noqa: RUF001 - the sign is meant
        ["b", "1/2", "50%", "-", "-", "2.2"],
        ["adam", "0/2", "0%", "-", "-", "2.8"],
    ]


def test_the_page_tells_what_tuning_cost(page):
    text = words(page)

    assert "adam was tuned: of 4 runs, each with the full budget, the best is shown" in text
    assert "took 3 s, 8.00 times what the runs shown took" in text
    assert page.row("adam", "bowl")[2:] == ["4", "3", "0.375", "8.00 ×"]  # noqa: RUF001


def test_the_page_tells_which_runs_failed(page):
    assert "Ended with an error: adam (1)." in words(page)
    assert page.row("adam", "valley")[3] == "FAILED"


def test_the_page_says_that_a_worse_local_minimum_is_no_solution(page):
    assert "ends in a worse local minimum has not solved the problem" in words(page)


def test_missing_runs_are_told(empty, fill, make, tmp_path):
    runs = [
        (make("bowl", "a"), (100.0, 1.0)),
        (make("bowl", "b"), (100.0, 1.0)),
        (make("valley", "a"), (12.0, 2.0)),
        (make("flat", "a", start_loss=math.inf, loss=None), ()),
        (make("flat", "b", start_loss=math.inf, loss=None), ()),
    ]
    write_html(fill(empty, *runs), tmp_path / "report.html", taus=[])

    text = words(Page((tmp_path / "report.html").read_text(encoding="utf-8")))

    assert "leave out 1 of 3 instances, since runs are missing: b on 1." in text
    assert "Not judged" in text
    assert "flat (float64, seed 0, start 0)" in text
    assert "Over 1 instances." in text


def test_a_page_of_one_solver_has_no_performance_profile(store, tmp_path):
    write_html(store, tmp_path / "report.html", taus=[], solvers=["a"], problems=["bowl"])

    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    assert page.faults == []
    assert page.tags["svg"] == 2


def test_solvers_that_share_no_instance_have_no_profiles(empty, fill, make, tmp_path):
    runs = [(make("bowl", "a"), (100.0, 1.0)), (make("valley", "b"), (12.0, 2.0))]
    write_html(fill(empty, *runs), tmp_path / "report.html", taus=[])

    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    assert "There is no instance that every solver ran on" in words(page)
    assert page.tags["svg"] == 2


def test_a_tolerance_out_of_range_is_refused_before_a_file_is_written(store, tmp_path):
    with pytest.raises(ToleranceError, match=r"tau is 2\.0"):
        write_html(store, tmp_path / "report.html", taus=[2.0])

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "match"),
    [("absent/report.html", "there is no folder '.*absent'"), (".", "it is a folder")],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_drawn(
    store, tmp_path, monkeypatch, name, match
):
    monkeypatch.setattr(importlib, "import_module", None)

    with pytest.raises(ReportFileError, match=match):
        write_html(store, tmp_path / name)


def test_without_matplotlib_the_error_says_how_to_get_it(store, tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)

    with pytest.raises(UnsupportedError, match=r"pip install 'kormos\[compare\]'"):
        write_html(store, tmp_path / "report.html")
