"""How reports write numbers, options and reasons."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kormos_core.result import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "brief",
    "count",
    "figure",
    "gap",
    "megabytes",
    "percent",
    "rank",
    "ratio",
    "reasons",
    "seconds",
    "sentence",
    "share",
    "times",
]

_NONE: Final = "-"
_OURS: Final = {
    "FAILED": "It ended with an error.",
    "CRASHED": "Its process died.",
    "TIMEOUT": "It did not stop when it was to, and was killed.",
}


def brief(mapping: Mapping[str, Any]) -> str:
    """Write options or a budget in a few words.

    Parameters
    ----------
    mapping : mapping of str to object
        Names and values; those that are None are not told.

    Returns
    -------
    str
        ``"evals=100, time_s=10"``, by name; ``"default"`` for none.
    """
    told = (f"{key}={_plain(mapping[key])}" for key in sorted(mapping) if mapping[key] is not None)
    return ", ".join(told) or "default"


def _plain(value: Any) -> str:
    return format(value, ".6g") if isinstance(value, float) else str(value)


def count(value: float | None) -> str:
    """Return a `value` that counts something, without decimals."""
    return _NONE if _absent(value) else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Return a `value` in seconds to three digits."""
    if value is None or _absent(value):
        return _NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float | None) -> str:
    """Return a `value` that is a multiple of something, to two digits or more."""
    if value is None or _absent(value):
        return _NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value >= 10 else f"{value:.2f}"


def times(value: float | None) -> str:
    """Return a `value` that is a multiple of something, with the sign for it."""
    text = ratio(value)
    return text if text == _NONE else f"{text} ×"  # noqa: RUF001 - the sign is meant


def share(part: int, whole: int) -> str:
    """Return a `part` of a `whole` as a fraction."""
    return f"{part}/{whole}" if whole else _NONE


def percent(part: int, whole: int) -> str:
    """Return a `part` of a `whole` in hundredths."""
    return f"{part / whole:.0%}" if whole else _NONE


def rank(value: float | None) -> str:
    """Return a `value` that is a mean rank, to one decimal."""
    return _NONE if _absent(value) else f"{value:.1f}"


def figure(value: float | None, form: str) -> str:
    """Return a `value` in the given `form` of `format`."""
    return _NONE if _absent(value) else format(value, form)


def gap(value: float | None) -> str:
    """Return a `value` that is a share of the way from the start to the least loss."""
    return _NONE if _absent(value) else "0" if value == 0.0 else f"{value:.1e}"


def megabytes(value: float | None) -> str:
    """Return a `value` in bytes as millions of them."""
    return _NONE if value is None or _absent(value) else f"{value / 1e6:,.0f}"


def reasons(statuses: Iterable[str]) -> str:
    """Write why runs stopped.

    Parameters
    ----------
    statuses : iterable of str
        Names of statuses, one for each run.

    Returns
    -------
    str
        Each once, the most frequent first, with its number where runs differ.
    """
    counts = Counter(statuses).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return ", ".join(f"{name} ({number})" for name, number in counts)


def sentence(status: str) -> str:
    """Say what a status means.

    Parameters
    ----------
    status : str
        Name of a `Status`, or what became of a run's process.

    Returns
    -------
    str
        A sentence.
    """
    if status in _OURS:
        return _OURS[status]
    return Status[status].value if status in Status.__members__ else "Not a status of kormos."


def _absent(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
