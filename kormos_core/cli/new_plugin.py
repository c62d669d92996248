"""The command `kormos new-plugin`: a package with a solver of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kormos_core.template import PluginNames, write_plugin

__all__ = ["new_plugin"]


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
    names = PluginNames.of(name)
    given = names.substitutions()
    target = Path(given["distribution"]) if folder is None else folder
    for path in write_plugin(names, target):
        typer.echo(f"wrote {path}")
    typer.echo(
        f"\nIt has the solver {names.namespace}:{names.method}. Next:\n"
        f"  pip install -e {target}\n"
        f"  kormos conform {names.namespace}:{names.method}"
    )
