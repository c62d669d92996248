"""What the registry says when a name cannot be resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core.capabilities import API_VERSION
from kormos_core.errors import (
    AmbiguousNameError,
    PluginError,
    UnknownSolverError,
    nearest,
)
from kormos_core.registry.official import OFFICIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kormos_core.capabilities import SolverSpec
    from kormos_core.registry.plugin import Plugin
    from kormos_core.registry.registered import Registered

__all__ = [
    "alias_conflict",
    "namespace_conflict",
    "no_default",
    "strict_fault",
    "too_new",
    "unknown_solver",
    "unusable",
]


def unknown_solver(
    name: str, known: Iterable[str], plugins: Sequence[Plugin]
) -> UnknownSolverError:
    """Say that nothing has this name, and what is near or to be installed.

    Parameters
    ----------
    name : str
        As the user gave it.
    known : iterable of str
        Every name that resolves.
    plugins : sequence of Plugin
        What was found.

    Returns
    -------
    UnknownSolverError
        To be raised.
    """
    namespaces = {plugin.namespace for plugin in plugins}
    loaded = [plugin for plugin in plugins if plugin.status == "loaded"]
    faulty = [plugin for plugin in plugins if plugin.status in {"broken", "conflict"}]
    counts = ", ".join(f"{plugin.namespace} ({len(plugin.solvers)})" for plugin in loaded)
    parts = [f"unknown solver {name!r}."]
    absent = official_namespace(name.lower())
    if absent and absent not in namespaces:
        parts.append(
            f"Its plugin is not installed: pip install {OFFICIAL[absent]} brings {absent!r}."
        )
    elif guess := nearest(name, known).strip():
        parts.append(guess)
    parts.append(f"Installed: {counts or 'none'}.")
    if faulty:
        names = ", ".join(plugin.title for plugin in faulty)
        parts.append(f"Not usable: {names}; `kormos plugins` says why.")
    if loaded:
        parts.append("`kormos solvers` lists them.")
    elif not absent:
        parts.append(f"Install one: pip install {OFFICIAL['scipy']}")
    return UnknownSolverError(" ".join(parts))


def official_namespace(name: str) -> str:
    """Guess the official plugin that a name is meant for.

    Parameters
    ----------
    name : str
        A name in lower case: ``"tfp:l-bfgs"``, ``"tfp-lbfgs"`` or ``"tfp"``.

    Returns
    -------
    str
        Its namespace, ``"tfp"``; empty where there is none.
    """
    for namespace in OFFICIAL:
        if name == namespace or name.startswith((f"{namespace}:", f"{namespace}-")):
            return namespace
    return ""


def namespace_conflict(name: str, owners: Sequence[Plugin]) -> AmbiguousNameError:
    """Say that two plugins claim the namespace of a name.

    Parameters
    ----------
    name : str
        As the user gave it.
    owners : sequence of Plugin
        The claimants.

    Returns
    -------
    AmbiguousNameError
        To be raised.
    """
    labels = " and ".join(owner.label for owner in owners)
    return AmbiguousNameError(
        f"solver name {name!r} is ambiguous: the namespace {owners[0].namespace!r} is claimed "
        f"by {labels}. Uninstall all but one, or set "
        f"KORMOS_DISABLE_PLUGINS={owners[-1].distribution}"
    )


def alias_conflict(name: str, claims: Sequence[Registered]) -> AmbiguousNameError:
    """Say that two solvers claim one short name.

    Parameters
    ----------
    name : str
        As the user gave it.
    claims : sequence of Registered
        The claimants.

    Returns
    -------
    AmbiguousNameError
        To be raised.
    """
    labels = " and ".join(claim.label for claim in claims)
    return AmbiguousNameError(
        f"solver name {name!r} is ambiguous: it is claimed by {labels}. "
        f"Use a full name: {' or '.join(repr(claim.name) for claim in claims)}."
    )


def unusable(plugin: Plugin) -> PluginError:
    """Say why a plugin that is installed cannot be used.

    Parameters
    ----------
    plugin : Plugin
        One that is broken or disabled.

    Returns
    -------
    PluginError
        To be raised; the plugin's traceback is its note.
    """
    if plugin.status == "disabled":
        return PluginError(
            f"plugin {plugin.title} is {plugin.reason}. Change that variable to use it."
        )
    error = PluginError(
        f"plugin {plugin.title} is broken: {plugin.reason.rstrip('.')}. "
        f"Repair it (pip install --upgrade {plugin.distribution}) or tell its authors; "
        "`kormos plugins --verbose` shows the traceback."
    )
    error.add_note(plugin.traceback)
    return error


def too_new(name: str, plugin: Plugin, spec: SolverSpec) -> PluginError:
    """Say that a solver was written for a later plugin interface.

    Parameters
    ----------
    name : str
        As the user gave it.
    plugin : Plugin
        Where the solver comes from.
    spec : SolverSpec
        The solver.

    Returns
    -------
    PluginError
        To be raised.
    """
    return PluginError(
        f"solver {name!r} of {plugin.label} is written for plugin interface "
        f"{spec.api_version}. This kormos speaks {API_VERSION}. "
        "Upgrade it: pip install --upgrade kormos"
    )


def strict_fault(plugin: Plugin) -> PluginError:
    """Say what is the matter with a plugin where nothing may be.

    Parameters
    ----------
    plugin : Plugin
        One that is broken, in conflict or too new.

    Returns
    -------
    PluginError
        To be raised.
    """
    if plugin.status == "broken":
        return unusable(plugin)
    if plugin.status == "conflict":
        return PluginError(
            f"plugin {plugin.title} cannot be used: {plugin.reason}. Uninstall all but one."
        )
    spec = plugin.skipped[0]
    return too_new(f"{plugin.namespace}:{spec.name}", plugin, spec)


def no_default(name: str, plugin: Plugin) -> UnknownSolverError:
    """Say that a namespace alone means no solver.

    Parameters
    ----------
    name : str
        As the user gave it.
    plugin : Plugin
        The one of that namespace.

    Returns
    -------
    UnknownSolverError
        To be raised.
    """
    names = ", ".join(f"{plugin.namespace}:{spec.name}" for spec in plugin.solvers)
    return UnknownSolverError(
        f"unknown solver {name!r}: {plugin.label} has no default solver. "
        f"Name one of its own: {names or 'it has none'}."
    )
