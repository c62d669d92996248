"""The command `kormos conform`: every check of the conformance kit, on one solver or on all."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import typer
from rich.console import Console

from kormos_core.cli.output import GAP, least_widths, natural_widths, write_json, write_rows
from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kormos_core.registry import Registered
    from kormos_core.testing.report import Report

__all__ = ["conform", "write_report"]

_MISUSE = 2
_LAW = 40  # characters that the last column takes at least
_EACH = "Allowed are a solver's name or --all."


def conform(
    solver: Annotated[
        str | None, typer.Argument(help="Name of the solver: my:solver.", show_default=False)
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Check every installed solver.", metavar="")
    ] = False,
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
    known_failures: Annotated[
        str | None,
        typer.Option(help="TOML: a table for each solver, of check = why.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write plain JSON.", metavar="")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Write a page in Markdown.", metavar="")
    ] = False,
) -> None:
    """Check that solvers keep the laws, and report; the status is 1 where one does not."""
    try:
        _check_form(as_json=as_json, as_markdown=as_markdown)
        job = _Job(
            names=tuple(check or ()),
            options={name: _value(text) for name, text in _pairs(option, "--option")},
            known=dict(_pairs(known_failure, "--known-failure")),
            tables={} if known_failures is None else _tables(Path(known_failures)),
        )
        reports = job.reports(_chosen(solver, job, every=every))
    except KormosError as error:
        typer.echo(f"kormos: {error}", err=True)
        raise typer.Exit(_MISUSE) from None
    conforms = _write(reports, as_json=as_json, as_markdown=as_markdown, every=every)
    if not conforms:
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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be checked of each solver.

    Attributes
    ----------
    names : tuple of str
        Names of the checks; empty for all.
    options : dict of str to object
        Options of the solver.
    known : dict of str to str
        Checks that must fail, and why.
    tables : dict of str to dict
        The same by the solver's full name.
    """

    names: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)

    def reports(self, chosen: list[Registered]) -> Iterator[Report]:
        """Refuse what is misused, start the backend, and return reports as they are made."""
        from kormos_core.compare.quiet import start_backend
        from kormos_core.testing import find_check

        failures = (name for table in self.tables.values() for name in table)
        for name in (*self.names, *self.known, *failures):
            find_check(name)
        for registered in chosen:
            registered.create(self.options)
        start_backend()
        return (self._report(registered) for registered in chosen)

    def _report(self, registered: Registered) -> Report:
        from kormos_core.testing import Case
        from kormos_core.testing.report import make_report

        def announce(line: str) -> None:
            if sys.stderr.isatty():
                typer.echo(line, err=True)

        known = {**self.tables.get(registered.name, {}), **self.known}
        return make_report(Case(registered, self.options), self.names, known, announce=announce)


def _check_form(*, as_json: bool, as_markdown: bool) -> None:
    if as_json and as_markdown:
        message = "--json and --markdown exclude each other. Leave one of them out."
        raise KormosError(message)


def _chosen(solver: str | None, job: _Job, *, every: bool) -> list[Registered]:
    from kormos_core.registry import installed

    registry = installed()
    if every and solver is not None:
        message = f"both --all and the solver {solver!r} are given. {_EACH} Leave one out."
        raise KormosError(message)
    if every:
        if job.options or job.known:
            message = (
                "--option and --known-failure are of one solver, and --all is given. Allowed for "
                "all of them is --known-failures FILE. Name one solver, or leave them out."
            )
            raise KormosError(message)
        return list(registry.solvers())
    if solver is None:
        message = f"no solver is named. {_EACH} `kormos solvers` lists the names."
        raise KormosError(message)
    return [registry.resolve(solver)]


def _write(reports: Iterator[Report], *, as_json: bool, as_markdown: bool, every: bool) -> bool:
    """Write reports, tables as they come, and tell whether all solvers conform."""
    if as_json or as_markdown:
        found = list(reports)
        if as_json:
            told = [report.to_json() for report in found]
            write_json(told if every else told[0])
        else:
            from kormos_core.testing.page import make_page

            sys.stdout.write(make_page(found, f"kormos {' '.join(sys.argv[1:])}"))
        return all(report.conforms for report in found)
    conforms = True
    for report in reports:
        write_report(report, Console(highlight=False))
        conforms = conforms and report.conforms
    return conforms


def _tables(path: Path) -> dict[str, dict[str, str]]:
    """Read known failures from a file in TOML; return them by the solvers' full names."""
    from kormos_core.registry import installed

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = (
            f"--known-failures {str(path)!r} cannot be read: {error}. Allowed is a file in TOML "
            'with tables of reasons: ["my:solver"], then check = "why". Name such a file.'
        )
        raise KormosError(message) from error
    for solver, table in found.items():
        if not isinstance(table, dict) or not all(isinstance(w, str) for w in table.values()):
            message = (
                f"--known-failures {str(path)!r} is not usable at {solver!r}: {table!r:.80}. "
                'Allowed are tables of reasons: ["my:solver"], then check = "why".'
            )
            raise KormosError(message)
    tables: dict[str, dict[str, str]] = {}
    for solver, table in found.items():
        tables.setdefault(installed().resolve(solver).name, {}).update(table)
    return tables


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
