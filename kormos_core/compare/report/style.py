"""One look for each solver, in every picture of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Look", "looks"]

# Okabe and Ito (2008), told apart with every kind of color vision; their yellow and black, which
# are lost on white and on black, are a gray and a brown here
_COLORS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8a8a8a",
    "#a5673f",
)
_LINES: Final = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)))
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a solver is drawn.

    Attributes
    ----------
    color : str
        Of line and marker, as ``#rrggbb``; seen on white and on black.
    line : str or tuple
        Matplotlib's line style.
    marker : str
        Matplotlib's marker.
    """

    color: str
    line: str | tuple[float, tuple[float, ...]]
    marker: str


def looks(solvers: Iterable[str]) -> dict[str, Look]:
    """Give each solver a look of its own.

    Parameters
    ----------
    solvers : iterable of str
        All solvers of a report, in its order.

    Returns
    -------
    dict of str to Look
        Color, line and marker all differ between any two of the first five; of the first 440,
        which is the least common multiple of the three numbers, no two are alike.
    """
    return {
        solver: Look(
            color=_COLORS[index % len(_COLORS)],
            line=_LINES[index % len(_LINES)],
            marker=_MARKERS[index % len(_MARKERS)],
        )
        for index, solver in enumerate(solvers)
    }
