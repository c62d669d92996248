"""The command `kormos compare`: several solvers on one problem, or on many."""

from __future__ import annotations

import dataclasses
import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from kormos_core.cli.compare_runs import compare_runs, write_list
from kormos_core.cli.output import finite, write_json
from kormos_core.compare import find_problem, find_set, list_sets
from kormos_core.compare.catalog import check_name
from kormos_core.compare.contestants import find_contestants, split_names
from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.status import Status

    from kormos_core.compare.outcome import Comparison

__all__ = ["compare"]

_MISUSE = 2
_REFRESHES = 4  # a second; few, since they take time from the solver at work
_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
_SOLVERS = "scipy:l-bfgs-b,scipy:cg,scipy:newton-cg,scipy:trust-ncg,adam"
_MANY = "many problems"


class Precision(StrEnum):
    """Dtypes that a problem can be solved in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def _count(text: str, *names: str) -> Any:
    """Return an option that takes a whole number from 1; it is one for many problems."""
    return typer.Option(*names, min=1, help=text, metavar="N", rich_help_panel=_MANY)


def _file(text: str) -> Any:
    return typer.Option(help=text, metavar="FILE", dir_okay=False, rich_help_panel=_MANY)


def compare(
    problems: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to train: digits, diabetes, linear, and what --list names; "
            "module:function for your own.",
            metavar="PROBLEM",
            show_default=False,
        ),
    ] = None,
    *,
    solvers: Annotated[
        str,
        typer.Option(
            help="Names as in compile(), with commas between; with options as in "
            "adam(learning_rate=0.01).",
            metavar="A,B,C",
            show_default=_SOLVERS.replace(",", ", "),
        ),
    ] = _SOLVERS,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            "--iterations",
            min=1,
            help="Iteration limit; epochs of Keras's optimizers, each of many steps. Left out, "
            "solvers run until they converge, Keras's optimizers for 100 epochs.",
            metavar="N",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Minibatch of Keras's optimizers.", metavar="N")
    ] = 32,
    dtype: Annotated[Precision, typer.Option(help="Of parameters and data.")] = Precision.FLOAT64,
    seed: Annotated[
        int, typer.Option(min=0, help="Of initial weights and minibatches.", metavar="N")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write plain JSON.", metavar="")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Name the problems and their sets.", metavar="")
    ] = False,
    sets: Annotated[
        str,
        typer.Option("--set", help="Sets of problems.", metavar="A,B", rich_help_panel=_MANY),
    ] = "",
    seeds: Annotated[int, _count("Number of seeds, from --seed on.")] = 1,
    starts: Annotated[int, _count("Number of starting points of each problem.")] = 1,
    time_s: Annotated[
        float | None,
        typer.Option(
            "--time",
            help="Seconds of each run. Without any limit, 3.",
            metavar="S",
            rich_help_panel=_MANY,
        ),
    ] = None,
    evals: Annotated[
        int | None, _count("Sweeps over the data of each run: losses and products.")
    ] = None,
    rates: Annotated[
        str,
        typer.Option(
            help="Learning rates to try for Keras's optimizers; left out, 1,0.1,0.01,0.001.",
            metavar="A,B,C",
            rich_help_panel=_MANY,
        ),
    ] = "",
    out: Annotated[
        Path | None, _file("Store that grows; started again, it goes on where it was.")
    ] = None,
    html: Annotated[Path | None, _file("Report to write.")] = None,
    csv: Annotated[Path | None, _file("Table of all runs to write.")] = None,
    jobs: Annotated[int, _count("Runs at once; more than 1 spoil each other's seconds.")] = 1,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Run again what had failed.", metavar="", rich_help_panel=_MANY
        ),
    ] = False,
) -> None:
    """Train fresh copies of one model with each solver, and compare.

    With several problems, a set, or any option of the last panel, each run has a process of its
    own, Keras's optimizers are tuned, and the runs are kept.
    """
    named = list(problems or [])
    limited = time_s is not None or evals is not None
    many = (sets, seeds > 1, starts > 1, limited, rates, out, html, csv, jobs > 1, retry)
    if listed:
        write_list(Console(highlight=False))
        return
    try:
        if len(named) == 1 and not any(many):
            _compare_one(
                named[0], solvers, epochs, batch_size, dtype=dtype, seed=seed, as_json=as_json
            )
            return
        for name in split_names(sets):
            find_set(name)  # which says what sets there are
        for name in named:
            if name.lower() not in list_sets():
                check_name(name)
        budget = {"time_s": time_s, "evals": evals, "iterations": epochs}
        compare_runs(
            [*split_names(sets), *named],
            solvers,
            {**budget, "batch_size": batch_size},
            seeds=range(seed, seed + seeds),
            starts=starts,
            rates=rates,
            dtype=dtype.value,
            jobs=jobs,
            retry=retry,
            files={"out": out, "html": html, "csv": csv},
            as_json=as_json,
        )
    except KormosError as error:
        typer.echo(f"kormos: {error}", err=True)
        raise typer.Exit(_MISUSE) from None


def _compare_one(
    problem: str,
    solvers: str,
    epochs: int | None,
    batch_size: int,
    *,
    dtype: Precision,
    seed: int,
    as_json: bool,
) -> None:
    """Compare on one problem, in this process."""
    with _status("starting Keras") as status:
        try:
            check_name(problem)  # before a backend is imported
            from kormos_core.compare.quiet import start_backend

            start_backend()
            chosen = find_problem(problem)
            contestants = find_contestants(split_names(solvers))
        except KormosError as error:
            typer.echo(f"kormos: {error}", err=True)
            raise typer.Exit(_MISUSE) from None
        from kormos_core.compare import runner, trial

        status.update(f"loading {chosen.name}")
        ready = trial.prepare(chosen, dtype=dtype.value, seed=seed)
        comparison = runner.compare(
            ready,
            contestants,
            runner.Budget(epochs=epochs, batch_size=batch_size),
            announce=lambda number, contestant: status.update(
                f"{number} of {len(contestants)}: {contestant.label}"
            ),
        )
    _write(comparison, as_json=as_json)
    if comparison.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if comparison.best is None:
        raise typer.Exit(1)


@contextmanager
def _status(text: str) -> Iterator[Status]:
    """Show a line on standard error while something goes on; nothing but in a terminal.

    It has a descriptor of its own, since standard error is held back while the backend starts.
    """
    if not sys.stderr.isatty():
        with Console(stderr=True).status(text) as status:
            yield status
        return
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as terminal,
        Console(file=terminal).status(text, refresh_per_second=_REFRESHES) as status,
    ):
        yield status


def _write(comparison: Comparison, *, as_json: bool) -> None:
    if as_json:
        write_json(_record(comparison))
        return
    from kormos_core.compare.table import write_comparison

    write_comparison(comparison, Console(highlight=False))


def _record(comparison: Comparison) -> dict[str, Any]:
    problem = comparison.problem
    record = finite(
        {
            field.name: getattr(comparison, field.name)
            for field in dataclasses.fields(comparison)
            if field.name not in {"problem", "outcomes"}
        }
    )
    best = comparison.best
    return {
        "problem": problem.name,
        "summary": problem.summary,
        "metric": problem.metric,
        **record,
        "best": best.solver if best is not None else None,
        "outcomes": [finite(dataclasses.asdict(row)) for row in comparison.outcomes],
    }
