"""A comparison as a user reads it in the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from kormos_core.compare.outcome import Comparison, Outcome

__all__ = ["write_comparison"]

_GAP = 2  # blanks between two columns
_NONE = "-"
_FIRST_CALL = "first call s"
_TIE = 1e-6  # relative difference of losses that are called equal


@final
@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    short: str
    cell: Callable[[Outcome], str]


def write_comparison(comparison: Comparison, console: Console) -> None:
    """Write what was compared, a row for each solver, and what the figures mean.

    A terminal that is too narrow for the whole table gets shorter headings, and the
    reasons below the table.

    Parameters
    ----------
    comparison : Comparison
        What to write.
    console : Console
        Where to.
    """
    for line in _title(comparison):
        console.print(line, markup=False, soft_wrap=not console.is_terminal)
    console.print()
    layout = _Layout.fitting(comparison, console.width if console.is_terminal else None)
    _write_table(layout, console)
    console.print()
    if not layout.has_reasons:
        _write_reasons(comparison.outcomes, console)
        console.print()
    for line in _remarks(comparison, has_first_call=layout.has_first_call):
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Headings and cells that are shown, and the characters that they take."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_reasons: bool = False
    has_first_call: bool = True

    @classmethod
    def fitting(cls, comparison: Comparison, room: int | None) -> _Layout:
        """Return the fullest layout for `room` characters, None being without limit."""
        columns, rows = _columns(comparison), comparison.outcomes
        reason = _Column("reason", "reason", lambda row: row.reason)
        layout = cls(
            headings=tuple(column.heading for column in (*columns, reason)),
            rows=_cells((*columns, reason), rows),
            has_reasons=True,
        )
        if room is None or layout.width <= room:
            return layout
        layout = cls(headings=tuple(c.short for c in columns), rows=_cells(columns, rows))
        if layout.width <= room:
            return layout
        columns = [column for column in columns if column.heading != _FIRST_CALL]
        return cls(
            headings=tuple(column.short for column in columns),
            rows=_cells(columns, rows),
            has_first_call=False,
        )

    @property
    def widths(self) -> list[int]:
        cells = [heading.split("\n") for heading in self.headings]
        return [
            max(map(len, [*lines, *(row[index] for row in self.rows)]))
            for index, lines in enumerate(cells)
        ]

    @property
    def width(self) -> int:
        return sum(self.widths) + _GAP * (len(self.headings) - 1)


def _write_table(layout: _Layout, console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading, width in zip(layout.headings, layout.widths, strict=True):
        left = heading in {"solver", "reason"}
        justify: Literal["left", "right"] = "left" if left else "right"
        table.add_column(heading, width=width, justify=justify, vertical="bottom")
    for row in layout.rows:
        table.add_row(*map(Text, row))  # as text: an error may hold what looks like markup
    room = console.width
    console.width = max(room, layout.width)  # a pipe has no width to keep to
    console.print(table)
    console.width = room


def _columns(comparison: Comparison) -> list[_Column]:
    label = comparison.problem.metric_label
    columns = [
        _Column("solver", "solver", lambda row: row.solver),
        _Column("iterations", "iter.", lambda row: _count(row.num_iterations)),
        _Column("evaluations", "evals", lambda row: _count(row.fg_evals)),
        _Column("Hessian products", "H·v", lambda row: _count(row.hessp_evals)),
        _Column(_FIRST_CALL, "first\ncall s", lambda row: _number(row.first_call_s, ".2f")),
        _Column("seconds", "seconds", lambda row: _number(row.wall_time_s, ".2f")),
        _Column("loss", "loss", lambda row: _number(row.loss, "#.6g")),
        _Column("|g|", "|g|", lambda row: _number(row.grad_norm, ".1e")),
    ]
    if comparison.problem.metric is not None:
        heading = f"validation {label}"
        columns.append(_Column(heading, label, lambda row: _number(row.metric, ".4f")))
    return columns


def _cells(columns: Sequence[_Column], outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(column.cell(row) for column in columns) for row in outcomes)


def _count(value: int | None) -> str:
    return _NONE if value is None else str(value)


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _title(comparison: Comparison) -> list[str]:
    sizes = (
        f"{comparison.num_parameters:,} parameters, {comparison.num_samples:,} training and "
        f"{comparison.num_validation_samples:,} validation samples"
    )
    start = f"loss at the start {comparison.start_loss:.6g}"
    return [
        f"{comparison.problem.name}: {comparison.problem.summary}",
        sizes,
        f"{comparison.dtype}, seed {comparison.seed}, {start}",
    ]


def _write_reasons(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for row in outcomes:
        table.add_row(Text(row.solver), Text(row.reason))
    console.print(table)


def _remarks(comparison: Comparison, *, has_first_call: bool) -> list[str]:
    where = "" if has_first_call else "; a wider terminal or --json shows it"
    lines = [_best(comparison)]
    lines += [_minibatches(row, comparison) for row in comparison.outcomes if row.num_steps]
    lines.append(
        "Evaluations and Hessian products (H·v) are sweeps over the training data. Seconds "
        f"leave out the first call, which traces and compiles{where}."
    )
    lines += [f"{row.solver}: {note}" for row in comparison.outcomes for note in row.notes]
    if comparison.interrupted:
        lines.append("Interrupted: what is not in the table was not finished.")
    return lines


def _best(comparison: Comparison) -> str:
    best = comparison.best
    if best is None or best.loss is None:
        return "No solver finished."
    margin = _TIE * abs(best.loss)
    equals = [
        row.solver
        for row in comparison.outcomes
        if row is not best
        and row.loss is not None
        and math.isclose(row.loss, best.loss, rel_tol=0.0, abs_tol=margin)
    ]
    also = f"; equal to six digits: {', '.join(equals)}" if equals else ""
    return f"Best loss {best.loss:.10g}: {best.solver}{also}."


def _minibatches(row: Outcome, comparison: Comparison) -> str:
    steps = (row.num_steps or 0) // (row.num_iterations or 1)
    besides = " but for these" if "(" in row.solver else ""
    return (
        f"{row.solver} is Keras's own, with its default settings{besides}: iterations and "
        f"evaluations are epochs, each of {steps} steps on up to {comparison.batch_size} "
        "samples; its first call is one epoch."
    )
