from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from kormos_core.compare.report import (
    Measure,
    convergence_curves,
    performance_profiles,
    read_study,
)
from kormos_core.compare.report.plots import draw_curves, draw_performance_profiles
from kormos_core.compare.report.style import looks
from kormos_core.compare.report.svg import INK

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("native:lbfgs", "scipy:l-bfgs-b (maxcor=25) & <more>")


def draw(title="Profiles & <more>"):
    profiles = performance_profiles([[1.0, 2.0], [3.0, 1.0]], NAMES)
    return draw_performance_profiles({Measure.SECONDS: profiles}, looks(NAMES), title=title)


@pytest.fixture(scope="module")
def drawn():
    return draw()


def test_a_picture_is_the_same_each_time_and_names_nothing_as_another_does(drawn):
    names = [set(re.findall(r' id="([^"]+)"', text)) for text in (drawn, draw("Others"))]

    assert draw() == drawn
    assert all(names)
    assert not names[0] & names[1]


def test_a_picture_is_one_svg_element_with_its_text_as_text(drawn):
    root = ET.fromstring(drawn)  # noqa: S314 - our own text

    texts = {"".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")}

    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") == "Profiles & <more>"
    assert {*NAMES, "1", "2", "100 %", "seconds, multiple of the best"} <= texts


def test_a_picture_takes_the_ink_of_its_page_and_no_background(drawn):
    assert INK not in drawn
    assert "currentColor" in drawn
    assert "#ffffff" not in drawn


def test_a_solver_looks_the_same_in_every_picture(store, drawn):
    study = read_study(store)
    look = looks(["a", "b", "adam"])
    curves = convergence_curves(study, study.instances[:1], measure=Measure.SECONDS)

    picture = draw_curves({Measure.SECONDS: curves}, look, title="Curves")

    assert look["a"] == looks(NAMES)[NAMES[0]]
    assert look["a"].color in drawn
    assert all(look[solver].color in picture for solver in study.solvers)


def test_no_two_of_many_solvers_look_alike():
    names = [str(number) for number in range(440)]

    assert len({(look.color, look.line, look.marker) for look in looks(names).values()}) == 440


def test_a_curve_down_to_rounding_says_so(store):
    study = read_study(store, problems=["valley"])
    curves = convergence_curves(study, study.instances, measure=Measure.SECONDS)

    picture = draw_curves({Measure.SECONDS: curves}, looks(study.solvers), title="Curves")

    assert re.search(r">\s*rounding\s*<", picture)


def test_drawing_leaves_no_trace_in_matplotlibs_settings_or_among_its_figures():
    script = (
        "import matplotlib\n"
        "from kormos_core.compare.report import Measure, performance_profiles\n"
        "from kormos_core.compare.report.plots import draw_performance_profiles\n"
        "from kormos_core.compare.report.style import looks\n"
        "before = dict(matplotlib.rcParams)\n"
        "profiles = {Measure.SECONDS: performance_profiles([[1.0]], 'a')}\n"
        "draw_performance_profiles(profiles, looks('a'), title='x')\n"
        "assert dict(matplotlib.rcParams) == before\n"
        "from matplotlib import pyplot\n"
        "assert pyplot.get_fignums() == []\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_reports_loads_neither_matplotlib_nor_a_backend():
    script = (
        "import sys\n"
        "import kormos_core.compare.report\n"
        "assert not {'matplotlib', 'keras', 'tensorflow'} & set(sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
