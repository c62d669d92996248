"""Figures of matplotlib without its global state, as SVG that a page can hold."""

from __future__ import annotations

import importlib
import io
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INK", "load_matplotlib", "new_figure", "settings", "to_svg"]

INK: Final = "#fe01dc"
"""Color of text and axes in a figure; in the SVG it is the color of the text around."""

_SETTINGS: Final[Mapping[str, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's ink
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
}


def load_matplotlib() -> Any:
    """Import what draws the pictures.

    Returns
    -------
    module
        The package matplotlib.

    Raises
    ------
    UnsupportedError
        If it is not installed.
    """
    try:
        return importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        message = (
            "the pictures of a report are drawn by matplotlib, which is not installed. The "
            "terminal's table and CSV need none. Install it: pip install 'kormos[compare]'"
        )
        raise UnsupportedError(message) from error


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure.

    Parameters
    ----------
    width, height : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
        It is not known to pyplot.

    Raises
    ------
    UnsupportedError
        If matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    figures = importlib.import_module("matplotlib.figure")
    with matplotlib.rc_context(_SETTINGS):
        return figures.Figure(figsize=(width, height))


def settings() -> Any:
    """Return a context in which matplotlib draws as reports want it.

    Returns
    -------
    context manager
        It gives back the settings that were there before.
    """
    return load_matplotlib().rc_context(_SETTINGS)


def to_svg(figure: Any, *, title: str) -> str:
    """Draw a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `new_figure`.
    title : str
        What it shows, for those who cannot see it; also what keeps the names inside it apart
        from those of other figures on the page.

    Returns
    -------
    str
        An ``svg`` element without prolog, of the same text each time.
    """
    salt = re.sub(r"\W+", "-", title)
    stream = io.StringIO()
    with load_matplotlib().rc_context({**_SETTINGS, "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    text = re.sub(r'(?<= [dxy]=")[^"]+', _rounded, text)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    label = f'<svg role="img" aria-label="{escape(title)}" '
    return text.replace("<svg ", label, 1).strip()


def _rounded(coordinates: re.Match[str]) -> str:
    """Cut coordinates to hundredths of a point, and put them on one line."""
    return " ".join(re.sub(r"(\.\d\d)\d+", r"\1", coordinates[0]).split())
