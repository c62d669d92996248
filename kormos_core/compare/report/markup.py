"""Elements of a page; what comes from a store is always escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["details", "listed", "paragraph", "table"]


def paragraph(text: str) -> str:
    """Return a `text` as a paragraph."""
    return f"<p>{escape(text)}</p>"


def listed(items: Iterable[str]) -> str:
    """Return `items` as a list; nothing where there are none."""
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{rows}</ul>" if rows else ""


def details(summary: str, body: str, *, is_open: bool = False) -> str:
    """Fold something below a line.

    Parameters
    ----------
    summary : str
        The line that is always seen; it is escaped.
    body : str
        What is folded, as HTML.
    is_open : bool
        Whether it is unfolded at first.

    Returns
    -------
    str
        The element.
    """
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(summary)}</summary>\n{body}\n</details>"


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[int] = (0,),
    swatches: Sequence[str] = (),
) -> str:
    """Return a table that scrolls where it is wider than the page.

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    rows : iterable of sequence of str
        Cells as text; they are escaped. The first is the heading of its row.
    left : collection of int
        Columns that are aligned to the left; others are numbers.
    swatches : sequence of str
        Colors, as ``#rrggbb``, of a mark before the first cell of each row; none where empty.

    Returns
    -------
    str
        The element.
    """
    kinds = ["" if index in left else ' class="n"' for index in range(len(headings))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>'
        for kind, text in zip(kinds, headings, strict=True)
    )
    body = []
    for index, row in enumerate(rows):
        mark = f'<i style="background:{swatches[index]}"></i>' if swatches else ""
        cells = [
            f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds[1:], row[1:], strict=True)
        ]
        body.append(f'<tr><th scope="row">{mark}{escape(row[0])}</th>{"".join(cells)}</tr>')
    lines = "\n".join(body)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{lines}</tbody></table></div>"
    )
