"""A report as one page of HTML that needs nothing else: no network, no scripts, no files."""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Final

from kormos_core.compare.report.files import checked_file
from kormos_core.compare.report.sections import (
    failure_section,
    head_section,
    problem_section,
    profile_section,
    reading_section,
    summary_section,
)
from kormos_core.compare.report.study import read_study
from kormos_core.compare.report.style import looks
from kormos_core.compare.report.summary import TAUS, check_tau

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    from kormos_core.compare.store import Store

__all__ = ["write_html"]

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")

_STYLE: Final = """\
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6168; --page: #ffffff;
  --line: #d9dce0; --band: #f4f5f7; --link: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --soft: #a2a9b2; --page: #15171b; --line: #353a41; --band: #1e2126;
    --link: #7ab8f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.5rem 0 0.75rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; padding-top: 0.75rem;
  border-top: 1px solid var(--line); }
p, ul { max-width: 48rem; }
ul { padding-left: 1.2rem; }
li { margin: 0.2rem 0; }
a { color: var(--link); }
.wide { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.28rem 0.6rem 0.28rem 0; text-align: left; vertical-align: top; }
th + th, td { padding-left: 0.6rem; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom;
  border-bottom: 1px solid var(--line); }
tbody th { font-weight: 500; min-width: 12rem; max-width: 18rem; overflow-wrap: anywhere; }
td:not(.n) { min-width: 6rem; max-width: 34rem; overflow-wrap: anywhere; }
td:not(.n):last-child { min-width: 11rem; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
.n { text-align: right; }
td.n { white-space: nowrap; }
tbody i { display: inline-block; width: 0.7em; height: 0.7em; margin-right: 0.55em;
  border-radius: 50%; }
details { border: 1px solid var(--line); border-radius: 6px; margin: 0.6rem 0;
  padding: 0 1rem; }
summary { cursor: pointer; padding: 0.55rem 0; font-weight: 600; }
details[open] > summary { border-bottom: 1px solid var(--line); margin-bottom: 0.75rem; }
svg { display: block; max-width: 100%; height: auto; margin: 0.75rem 0; }
@media print { details { break-inside: avoid; } }
"""


def write_html(
    store: Store,
    path: str | os.PathLike[str],
    *,
    tau: float = 1e-5,
    taus: Sequence[float] = TAUS,
    problems: Collection[str] | None = None,
    solvers: Collection[str] | None = None,
    title: str = "Comparison of solvers",
) -> None:
    """Write what a store holds as one self-contained page of HTML.

    Parameters
    ----------
    store : Store
        Where the runs are.
    path : str or os.PathLike
        The file to write; it is written over.
    tau : float
        Tolerance of the convergence test f <= f_L + tau (f_0 - f_L) of the tables, in (0, 1).
    taus : sequence of float
        Tolerances of the profiles, each in (0, 1).
    problems, solvers : collection of str or None
        Names of those to show; None shows all.
    title : str
        Heading of the page.

    Raises
    ------
    EmptyStudyError
        If there is nothing to show.
    ToleranceError
        If a tolerance is out of range.
    UnsupportedError
        If matplotlib is not installed.
    ReportFileError
        If no file can be written there.
    """
    file = checked_file(path)
    taus = tuple(dict.fromkeys(check_tau(value) for value in (*taus, check_tau(tau))))
    study = read_study(store, problems=problems, solvers=solvers)
    drawn = looks(study.solvers)
    sections = [
        head_section(study),
        summary_section(study, drawn, tau=tau),
        profile_section(study, drawn, taus=sorted(taus, reverse=True), shown=tau),
        problem_section(study, drawn, tau=tau),
        failure_section(study),
        reading_section(study, tau=tau),
    ]
    page = _PAGE.substitute(
        title=escape(title), style=_STYLE, body="\n".join(filter(None, sections))
    )
    file.write_text(page, encoding="utf-8")
