"""A comparison of many problems, as a user reads it in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kormos_core.compare.report.notes import failures, study_notes
from kormos_core.compare.report.outcomes import outcomes
from kormos_core.compare.report.study import read_study
from kormos_core.compare.report.summary import summarize
from kormos_core.compare.report.wording import (
    count,
    gap,
    percent,
    rank,
    seconds,
    sentence,
    share,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from kormos_core.compare.report.outcomes import Outcome
    from kormos_core.compare.report.study import Study
    from kormos_core.compare.store import Store

__all__ = ["print_table"]

_GAP: Final = 2  # blanks between two columns
_FAILURES: Final = 8  # that are told in full
_LEFT: Final = frozenset({"problem, solver", "solver", "why it stopped"})


def print_table(store: Store, console: Console, *, tau: float = 1e-5) -> None:
    """Print what came of each solver on each problem, and a summary of all problems.

    Parameters
    ----------
    store : Store
        Where the runs are.
    console : Console
        Where to.
    tau : float
        Tolerance of the convergence test f <= f_L + tau (f_0 - f_L), in (0, 1).

    Raises
    ------
    EmptyStudyError
        If the store holds no runs.
    ToleranceError
        If tau is out of range.
    """
    study = read_study(store)
    _print(console, _outcome_rows(study, tau))
    console.print()
    _print(console, _summary_rows(study, tau))
    console.print()
    for line in [_explanation(tau), *study_notes(study, tau=tau), *_failures(study)]:
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _outcome_rows(study: Study, tau: float) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("problem, solver", "solved", "evaluations", "seconds", "gap", "why it stopped")
    ]
    for group, instances in study.groups().items():
        rows.append((group, "", "", "", "", ""))
        rows += [_cells(outcome) for outcome in outcomes(study, instances, tau=tau)]
    return rows


def _cells(outcome: Outcome) -> tuple[str, ...]:
    return (
        f"  {outcome.solver}",
        share(outcome.num_solved, outcome.num_judged),
        count(outcome.evaluations),
        seconds(outcome.seconds),
        gap(outcome.gap),
        outcome.reason,
    )


def _summary_rows(study: Study, tau: float) -> list[tuple[str, ...]]:
    heading: tuple[str, ...] = ("solver", "solved", "share", "evaluations", "seconds", "rank")
    lines = (
        (
            line.solver,
            share(line.num_solved, line.num_instances),
            percent(line.num_solved, line.num_instances),
            times(line.evaluations_ratio),
            times(line.seconds_ratio),
            rank(line.mean_rank),
        )
        for line in summarize(study, tau=tau)
    )
    return [heading, *lines]


def _explanation(tau: float) -> str:
    return (
        f"Solved: f <= f_L + {tau:g} (f_0 - f_L), with f_0 the loss of the start and f_L the "
        "least loss that is known or that any solver found, so that a worse local minimum is no "
        "solution. Evaluations are sweeps over the training data, Hessian products included; "
        "with the seconds, what it cost until then, the median of several runs. Gap: what was "
        "left of f_0 - f_L. In the summary, costs are medians of the multiple of the best "
        "solver's, and the rank is the mean one by evaluations."
    )


def _failures(study: Study) -> list[str]:
    """Tell why runs failed, each reason once, and only the first ones."""
    told = list(
        dict.fromkeys(
            f"{record.status}: {record.solver} on {record.problem}: "
            f"{record.message or sentence(record.status)}"
            for record in failures(study)
        )
    )
    more = len(told) - _FAILURES
    return [*told[:_FAILURES], *([f"And {more} more; CSV and JSON have all."] if more > 0 else [])]


def _print(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    if console.is_terminal and rows[0][last] in _LEFT:  # reasons may wrap
        room = console.width - sum(widths[:last]) - _GAP * last
        longest = max(len(word) for row in rows for word in row[last].split() or [""])
        widths[last] = max(min(widths[last], room), longest)
    for heading, width in zip(rows[0], widths, strict=True):
        table.add_column(heading, width=width, justify="left" if heading in _LEFT else "right")
    for row in rows[1:]:
        table.add_row(*map(Text, row))  # as text: a name may hold what looks like markup
    room = console.width
    console.width = max(room, sum(widths) + _GAP * len(widths))
    console.print(table)
    console.width = room
