"""The command `kormos plugins`: what loaded, what did not, and why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from kormos_core.capabilities import API_VERSION
from kormos_core.cli.output import natural_widths, write_json, write_rows
from kormos_core.registry import PluginSettings, Registry, find_plugins

if TYPE_CHECKING:
    from kormos_core.registry import Plugin

__all__ = ["plugins", "write_plugins"]


def plugins(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write plain JSON.", metavar="")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show whole tracebacks.", metavar="")
    ] = False,
) -> None:
    """List the installed plugins: what loaded, what failed and why."""
    settings = PluginSettings.from_environ(os.environ)
    registry = Registry(find_plugins(settings))
    if as_json:
        write_json(_records(registry))
    else:
        write_plugins(registry, Console(highlight=False), verbose=verbose)
    if settings.strict and any(plugin.num_faults for plugin in registry.plugins()):
        raise typer.Exit(1)


def write_plugins(registry: Registry, console: Console, *, verbose: bool) -> None:
    """Write the table of plugins, and below it what is wrong with them.

    Parameters
    ----------
    registry : Registry
        Whose plugins to list.
    console : Console
        Where to.
    verbose : bool
        Whether to write whole tracebacks.
    """
    found = registry.plugins()
    if not found:
        console.print("No plugin is installed. Install one: pip install kormos-scipy")
        return
    rows = [("plugin", "package", "version", "status", "solvers"), *map(_cells, found)]
    write_rows(rows, console, widths=natural_widths(rows), right={4})
    for line in _remarks(registry, verbose=verbose):
        console.print(line, soft_wrap=True, markup=False)


def _cells(plugin: Plugin) -> tuple[str, ...]:
    count = str(len(plugin.solvers)) if plugin.status == "loaded" else "-"
    name = plugin.namespace or "?"
    return name, plugin.distribution, plugin.version, plugin.status, count


def _remarks(registry: Registry, *, verbose: bool) -> list[str]:
    lines: list[str] = []
    for plugin in registry.plugins():
        lines += _faults(plugin)
        if plugin.traceback:
            lines += plugin.traceback.splitlines() if verbose else _last_place(plugin.traceback)
    for alias, claims in registry.ambiguous_aliases().items():
        names = " and ".join(claim.label for claim in claims)
        lines.append(f"\nalias {alias!r} is claimed by {names}: use a full name.")
    if not verbose and any(plugin.traceback for plugin in registry.plugins()):
        lines.append("\n--verbose shows whole tracebacks.")
    return lines


def _faults(plugin: Plugin) -> list[str]:
    lines = []
    if plugin.reason:
        lines.append(f"\n{plugin.title}: {plugin.reason}")
    lines += [
        f"\n{plugin.namespace}:{spec.name} ({plugin.label}) is skipped: it is written for "
        f"plugin interface {spec.api_version}, and this kormos speaks {API_VERSION}. "
        "Upgrade it: pip install --upgrade kormos"
        for spec in (*plugin.skipped, *plugin.skipped_others)
    ]
    return lines


def _last_place(traceback: str) -> list[str]:
    """Return the innermost "File ..., line ..." of a traceback that is the plugin's own."""
    places = [line for line in traceback.splitlines() if line.lstrip().startswith("File ")]
    foreign = ("<frozen", "kormos_core", "pluggy")
    return [line for line in places if not any(word in line for word in foreign)][-1:]


def _records(registry: Registry) -> dict[str, Any]:
    return {
        "plugins": [
            {
                "namespace": plugin.namespace,
                "package": plugin.distribution,
                "version": plugin.version,
                "target": plugin.target,
                "status": plugin.status,
                "solvers": [spec.name for spec in plugin.solvers],
                "skipped": {
                    spec.name: spec.api_version
                    for spec in (*plugin.skipped, *plugin.skipped_others)
                },
                "reason": plugin.reason,
                "traceback": plugin.traceback,
            }
            for plugin in registry.plugins()
        ],
        "ambiguous_aliases": {
            alias: [claim.name for claim in claims]
            for alias, claims in registry.ambiguous_aliases().items()
        },
    }
