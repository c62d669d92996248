"""Reports on several solvers as a page in Markdown."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from typing import TYPE_CHECKING, Final

from kormos_core.testing.checks import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kormos_core.testing.check import Check
    from kormos_core.testing.report import Report
    from kormos_core.testing.verdict import Outcome, Verdict

__all__ = ["make_page"]

_KNOWN: Final = "known failure"
_NEITHER: Final[tuple[Outcome, ...]] = ("does not apply", "cannot run")


def make_page(reports: Sequence[Report], command: str) -> str:
    """Write a page of reports.

    Parameters
    ----------
    reports : sequence of Report
        One for each solver.
    command : str
        What makes the page.

    Returns
    -------
    str
        A page in Markdown: the solvers, the checks, what is known to fail and what fails.
    """
    lines = [
        "# Conformance",
        "",
        f"What `{command}` found; nothing here is typed by hand. Made with {_versions()}.",
        "",
        "## Solvers",
        "",
        *_table(
            ("solver", "passed", "failed", "known failures", "does not apply"),
            (_solver_row(report) for report in reports),
        ),
        "",
        "## Checks",
        "",
        *_table(
            ("check", "law", "passed", "does not apply where"),
            (_check_row(check, reports) for check in CHECKS),
        ),
    ]
    for heading, told in (
        ("What is known to fail, and why", _told(reports, {_KNOWN})),
        ("What fails", _told(reports, {"failed", "passed unexpectedly"})),
    ):
        if told:
            lines += ["", f"## {heading}", "", *told]
    return "\n".join(lines) + "\n"


def _versions() -> str:
    from kormos_core.backends import current_backend

    kormos, keras = (importlib.metadata.version(name) for name in ("kormos", "keras"))
    return f"kormos {kormos}, Keras {keras} on {current_backend().name}"


def _solver_row(report: Report) -> tuple[str, ...]:
    verdicts = report.verdicts
    return (
        f"`{report.name}`",
        str(sum(verdict.outcome == "passed" for verdict in verdicts)),
        _names(verdict for verdict in verdicts if verdict.is_bad),
        _names(verdict for verdict in verdicts if verdict.outcome == _KNOWN),
        _names(verdict for verdict in verdicts if verdict.outcome in _NEITHER),
    )


def _check_row(check: Check, reports: Sequence[Report]) -> tuple[str, ...]:
    verdicts = [v for report in reports for v in report.verdicts if v.check is check]
    reasons = Counter(v.message for v in verdicts if v.outcome in _NEITHER)
    return (
        f"`{check.name}`",
        check.law,
        str(sum(verdict.outcome == "passed" for verdict in verdicts)),
        "; ".join(f"{why} ({number})" for why, number in reasons.items()),
    )


def _told(reports: Sequence[Report], outcomes: set[str]) -> list[str]:
    """List what became of checks, one line each."""
    return [
        f"- `{report.name}`, `{verdict.check.name}`: {_in_a_line(verdict.message)}"
        for report in reports
        for verdict in report.verdicts
        if verdict.outcome in outcomes
    ]


def _names(verdicts: Iterable[Verdict]) -> str:
    return ", ".join(f"`{verdict.check.name}`" for verdict in verdicts)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [headings, ("---",) * len(headings), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _cell(text: str) -> str:
    return _in_a_line(text).replace("|", "\\|")


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
