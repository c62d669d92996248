"""The command `kormos new-plugin`: a package with a solver of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kormos_core.errors import KormosError
from kormos_core.template import PluginNames, write_plugin

__all__ = ["new_plugin"]

_MISUSE = 2


def new_plugin(
    name: Annotated[
        str, typer.Argument(help="NAMESPACE-METHOD, such as my-solver for the solver my:solver.")
    ],
    *,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to write it; kormos-NAMESPACE if left out.", metavar="PATH"),
    ] = None,
) -> None:
    """Write a package with one working solver, its tests and what builds it."""
    try:
        names = PluginNames.of(name)
        target = Path(names.substitutions()["distribution"]) if folder is None else folder
        written = write_plugin(names, target)
    except KormosError as error:
        typer.echo(f"kormos: {error}", err=True)
        raise typer.Exit(_MISUSE) from None
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(
        f"\nIt has the solver {names.namespace}:{names.method}. Next:\n"
        f"  pip install -e {target}\n"
        f"  kormos conform {names.namespace}:{names.method}"
    )
