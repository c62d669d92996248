"""The command `kormos solvers`: what can be named in a model's ``compile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console

from kormos_core.capabilities import Need, Support
from kormos_core.cli.output import (
    GAP,
    least_widths,
    natural_widths,
    spread,
    write_json,
    write_rows,
)
from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kormos_core.registry import Registered, Registry

__all__ = ["solvers", "write_solvers"]

_HEADINGS = ("solver", "kind", "needs", "supports", "backends", "package", "aliases", "summary")
_SUMMARY = 40  # characters that a summary takes at least to be worth its column


def solvers(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write plain JSON.", metavar="")] = False,
) -> None:
    """List the installed solvers: what each is, needs and supports."""
    registry = installed()
    if as_json:
        write_json([_record(solver) for solver in registry.solvers()])
    else:
        write_solvers(registry, Console(highlight=False))
    faults = sum(plugin.num_faults for plugin in registry.plugins())
    if faults:
        typer.echo(f"Left out: {faults} faulty; `kormos plugins` says why.", err=True)


def write_solvers(registry: Registry, console: Console) -> None:
    """Write the table of solvers.

    Parameters
    ----------
    registry : Registry
        Whose solvers to list.
    console : Console
        Where to.
    """
    found = registry.solvers()
    if not found:
        console.print("No solver is installed. Install some: pip install kormos-scipy")
        return
    rows = [_HEADINGS, *(_cells(solver) for solver in found)]
    widths = _fit(rows, console.width if console.is_terminal else None)
    write_rows([row[: len(widths)] for row in rows], console, widths=widths)
    for solver in found:
        if solver.spec.default:
            console.print(f"{solver.namespace} alone means {solver.name}.", soft_wrap=True)
    if left_out := _HEADINGS[len(widths) :]:
        console.print(f"A wider terminal or --json also shows: {', '.join(left_out)}.")


def _fit(rows: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """Return the widths of as many columns, from the left, as can be read in the room."""
    natural, least = natural_widths(rows), least_widths(rows)
    if room is None:
        return natural
    count = len(natural)
    if sum(natural[:-1]) + _SUMMARY + GAP * (count - 1) > room:
        count = _HEADINGS.index("aliases")
        while count > 1 and sum(least[:count]) + GAP * (count - 1) > room:
            count -= 1
    return spread(least[:count], natural[:count], room - GAP * (count - 1))


def _cells(solver: Registered) -> tuple[str, ...]:
    record = _record(solver)
    return (
        record["name"],
        record["kind"],
        " ".join(record["needs"]),
        " ".join(record["supports"]),
        " ".join(record["backends"]) or "all",
        record["package"],
        " ".join(record["aliases"]),
        record["summary"],
    )


def _record(solver: Registered) -> dict[str, Any]:
    spec = solver.spec
    return {
        "name": solver.name,
        "kind": spec.kind,
        "needs": _in_order(spec.needs, get_args(Need)),
        "supports": _in_order(spec.supports, get_args(Support)),
        "backends": sorted(spec.backends),
        "dtypes": sorted(spec.dtypes),
        "aliases": list(spec.aliases),
        "default": spec.default,
        "dense_matrices": spec.dense_matrices,
        "max_parameters": spec.max_parameters,
        "requires_bounds": spec.requires_bounds,
        "summary": spec.summary,
        "citation": spec.citation,
        "package": solver.distribution,
        "version": solver.version,
    }


def _in_order(words: Iterable[str], order: tuple[str, ...]) -> list[str]:
    return sorted(words, key=order.index)
