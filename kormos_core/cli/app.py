"""The command line's frame: what commands there are, and how errors are told.

A command is a function in a module of its own, added below. Such a module is cheap to
import; what is heavy is imported in the function's body, so that `kormos solvers`
stays fast.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from kormos_core.cli.compare import compare
from kormos_core.cli.conform import conform
from kormos_core.cli.new_plugin import new_plugin
from kormos_core.cli.plugins import plugins
from kormos_core.cli.solvers import solvers
from kormos_core.errors import KormosError

__all__ = ["app", "main"]

app = typer.Typer(
    name="kormos",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(solvers)
app.command()(plugins)
app.command()(compare)
app.command()(conform)
app.command("new-plugin")(new_plugin)


def main() -> None:
    """Run the command line; a misuse ends it with its message and status 1.

    Raises
    ------
    SystemExit
        Always, with the exit status.
    """
    try:
        app(prog_name="kormos")
    except KormosError as error:
        sys.stderr.write(f"kormos: {error}\n")
        raise SystemExit(1) from None


def _tell_version(*, wanted: bool) -> None:
    if wanted:
        try:
            version = importlib.metadata.version("kormos")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed)"
        typer.echo(f"kormos {version}")
        raise typer.Exit


@app.callback()
def _frame(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Tell the version and end.",
            is_eager=True,
            callback=lambda value: _tell_version(wanted=value),
        ),
    ] = False,
) -> None:
    """Train Keras models with deterministic batch solvers, named by a string."""
    del version  # told by its callback
