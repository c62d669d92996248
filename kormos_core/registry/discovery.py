"""Find the entry points of plugins among the installed distributions."""

from __future__ import annotations

import importlib.metadata
import traceback
from typing import TYPE_CHECKING

from kormos_core.registry.plugin import Plugin, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.metadata import Distribution, EntryPoint

__all__ = ["GROUP", "discover", "first_copies", "origin"]

GROUP = "kormos"
"""The group of entry points that plugins declare."""

_UNKNOWN = "unknown"


def discover() -> tuple[list[EntryPoint], list[Plugin]]:
    """Find every entry point of the group ``kormos``.

    Returns
    -------
    entry_points : list of EntryPoint
        In the order of ``sys.path``.
    unreadable : list of Plugin
        Plugins whose distribution's entry points cannot be read.

    Notes
    -----
    One malformed file anywhere makes `importlib.metadata.entry_points` raise for all;
    then the distributions are read one by one, which takes longer.
    """
    try:
        return list(importlib.metadata.entry_points(group=GROUP)), []
    except Exception:  # noqa: BLE001 - whatever the file of a stranger provokes
        return _read_one_by_one(importlib.metadata.distributions())


def _read_one_by_one(
    distributions: Iterable[Distribution],
) -> tuple[list[EntryPoint], list[Plugin]]:
    found: list[EntryPoint] = []
    unreadable: list[Plugin] = []
    for distribution in distributions:
        try:
            found.extend(distribution.entry_points.select(group=GROUP))
        except Exception as error:  # noqa: BLE001 - as above
            if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue  # malformed, but no plugin of ours
            name, version = _name_and_version(distribution)
            unreadable.append(
                Plugin(
                    namespace="",
                    distribution=name,
                    version=version,
                    target="",
                    status="broken",
                    reason=f"its entry_points.txt cannot be read: {error}",
                    traceback=traceback.format_exc(),
                )
            )
    return found, unreadable


def first_copies(entry_points: Iterable[EntryPoint]) -> Iterator[EntryPoint]:
    """Keep of each distribution the copy that comes first on ``sys.path``.

    That is the copy whose modules Python imports, so a second one is no conflict.

    Parameters
    ----------
    entry_points : iterable of EntryPoint
        In the order of ``sys.path``.

    Yields
    ------
    EntryPoint
        Those of the first copies.
    """
    copies: dict[str, Distribution | None] = {}
    for entry_point in entry_points:
        name, _ = origin(entry_point)
        first = copies.setdefault(canonical(name), entry_point.dist)
        if first is entry_point.dist or name == _UNKNOWN:
            yield entry_point


def origin(entry_point: EntryPoint) -> tuple[str, str]:
    """Name the distribution that an entry point comes from.

    Parameters
    ----------
    entry_point : EntryPoint
        As found.

    Returns
    -------
    name : str
        Of the distribution; ``"unknown"`` where its metadata has none.
    version : str
        Of the distribution; the same.
    """
    if entry_point.dist is None:
        return _UNKNOWN, _UNKNOWN
    return _name_and_version(entry_point.dist)


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    metadata = distribution.metadata
    given = set(metadata)
    name, version = (metadata[key] if key in given else "" for key in ("Name", "Version"))
    return name or _UNKNOWN, version or _UNKNOWN
