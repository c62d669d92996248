"""The command `kormos conform`: every check of the conformance kit on one solver."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from kormos_core.cli.output import GAP, least_widths, natural_widths, write_json, write_rows
from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kormos_core.testing.report import Report

__all__ = ["conform", "write_report"]

_MISUSE = 2
_LAW = 40  # characters that the last column takes at least


def conform(
    solver: Annotated[str, typer.Argument(help="Name of the solver: my:solver.")],
    *,
    check: Annotated[
        list[str] | None,
        typer.Option(help="Make this check alone; may be repeated.", metavar="NAME"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the solver, in JSON; may be repeated.", metavar="NAME=VALUE"
        ),
    ] = None,
    known_failure: Annotated[
        list[str] | None,
        typer.Option(help="A check that must fail, and why; may be repeated.", metavar="NAME=WHY"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write plain JSON.", metavar="")] = False,
) -> None:
    """Check that a solver keeps the laws, and report; the status is 1 where it does not."""
    try:
        options = {name: _value(text) for name, text in _pairs(option, "--option")}
        known = dict(_pairs(known_failure, "--known-failure"))
        report = _report(solver, options, check or [], known)
    except KormosError as error:
        typer.echo(f"kormos: {error}", err=True)
        raise typer.Exit(_MISUSE) from None
    if as_json:
        write_json(report.to_json())
    else:
        write_report(report, Console(highlight=False))
    if not report.conforms:
        raise typer.Exit(1)


def write_report(report: Report, console: Console) -> None:
    """Write a table of the checks, and below it what is wrong.

    Parameters
    ----------
    report : Report
        What to write.
    console : Console
        Where to.
    """
    rows = report.rows
    widths = natural_widths(rows)
    if console.is_terminal:
        rest = console.width - sum(widths[:-1]) - GAP * len(widths)
        widths[-1] = min(widths[-1], max(rest, _LAW, least_widths(rows)[-1]))
    write_rows(rows, console, widths=widths, right={2})
    for line in [*(f"\n{complaint}" for complaint in report.complaints), f"\n{report.summary}"]:
        console.print(line, markup=False, soft_wrap=True)


def _report(
    solver: str, options: dict[str, Any], names: list[str], known: dict[str, str]
) -> Report:
    from kormos_core.compare.quiet import start_backend
    from kormos_core.registry import installed
    from kormos_core.testing import Case, find_check

    registered = installed().resolve(solver)  # misuse is told before anything starts
    for name in (*names, *known):
        find_check(name)
    registered.create(options)
    start_backend()
    from kormos_core.testing.report import make_report

    def announce(line: str) -> None:
        if sys.stderr.isatty():
            typer.echo(line, err=True)

    return make_report(Case(registered, options), names, known, announce=announce)


def _pairs(given: Iterable[str] | None, option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            message = f"{option} is not usable: {text!r}. Allowed is NAME=VALUE. Write it so."
            raise KormosError(message)
        pairs.append((name.strip(), value))
    return pairs


def _value(text: str) -> Any:
    """Read a number, a word of JSON's or a structure; what is none of it is a string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
