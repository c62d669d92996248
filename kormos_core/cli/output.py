"""Write tables and JSON to standard output."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import Console

__all__ = [
    "GAP",
    "finite",
    "least_widths",
    "natural_widths",
    "spread",
    "write_json",
    "write_rows",
]

GAP = 2
"""Blanks between two columns."""


def natural_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Measure how wide each column is when nothing wraps.

    Parameters
    ----------
    rows : sequence of sequence of str
        The headings first.

    Returns
    -------
    list of int
        Characters of the longest cell of each column.
    """
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def least_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Measure how narrow each column can be without cutting a word.

    Parameters
    ----------
    rows : sequence of sequence of str
        The headings first.

    Returns
    -------
    list of int
        Characters of the longest word of each column.
    """
    return [
        max(len(word) for cell in column for word in cell.split())
        for column in zip(*rows, strict=True)
    ]


def spread(least: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Share out the room among columns, the neediest first.

    Parameters
    ----------
    least : sequence of int
        What each column must have.
    natural : sequence of int
        What each column has use for; at least `least`.
    room : int
        Characters for all of them, gaps not counted.

    Returns
    -------
    list of int
        Widths, between `least` and `natural`.
    """
    widths = list(least)
    while sum(widths) < min(room, sum(natural)):
        lacks = [want - have for want, have in zip(natural, widths, strict=True)]
        widths[lacks.index(max(lacks))] += 1
    return widths


def write_rows(
    rows: Sequence[Sequence[str]],
    console: Console,
    *,
    widths: Sequence[int],
    right: Collection[int] = (),
) -> None:
    """Write a table; a cell that is wider than its column wraps between words.

    Parameters
    ----------
    rows : sequence of sequence of str
        The headings first.
    console : Console
        Where to; it is made as wide as the table where it is narrower.
    widths : sequence of int
        Characters of each column.
    right : collection of int
        Indices of the columns that are aligned to the right.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for index, (heading, width) in enumerate(zip(rows[0], widths, strict=True)):
        table.add_column(heading, width=width, justify="right" if index in right else "left")
    for row in rows[1:]:
        table.add_row(*map(Text, row))  # as text: a cell may hold what looks like markup
    console.width = max(console.width, sum(widths) + GAP * len(widths))
    console.print(table)


def finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """Replace what JSON has no number for.

    Parameters
    ----------
    record : mapping of str to object
        Names and values.

    Returns
    -------
    dict of str to object
        The same, with None for NaN and infinities.
    """
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }


def write_json(value: Any) -> None:
    """Write a value as JSON to standard output.

    Parameters
    ----------
    value : object
        Of dicts, lists, strings, numbers and None.
    """
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
