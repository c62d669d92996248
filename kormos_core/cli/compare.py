"""The command `kormos compare`: one model, several solvers, one table."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from kormos_core.cli.output import write_json
from kormos_core.compare import PROBLEMS, find_problem
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
_NAMES = ", ".join(problem.name for problem in PROBLEMS)


class Precision(StrEnum):
    """Dtypes that a problem can be solved in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def compare(
    problem: Annotated[str, typer.Argument(help=f"What to train: {_NAMES}.")],
    *,
    solvers: Annotated[
        str,
        typer.Option(
            help="Names as in compile(), with commas between.",
            metavar="A,B,C",
            show_default=_SOLVERS.replace(",", ", "),
        ),
    ] = _SOLVERS,
    epochs: Annotated[
        int | None,
        typer.Option(
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
) -> None:
    """Train fresh copies of one model with each solver, and compare."""
    with _status("starting Keras") as status:
        try:
            chosen = find_problem(problem)
            from kormos_core.compare.quiet import start_backend

            start_backend()
            from kormos_core.compare.contestants import find_contestants

            contestants = find_contestants(_names(solvers))
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
                f"{number} of {len(contestants)}: {contestant.name}"
            ),
        )
    _write(comparison, as_json=as_json)
    if comparison.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if comparison.best is None:
        raise typer.Exit(1)


def _names(solvers: str) -> list[str]:
    return [name.strip() for name in solvers.split(",") if name.strip()]


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
    record = _finite(
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
        "outcomes": [_finite(dataclasses.asdict(row)) for row in comparison.outcomes],
    }


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """Replace what JSON has no number for."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
