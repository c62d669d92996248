"""Load plugins one by one, so that a broken one hurts only itself.

pluggy's own loader silently drops the second distribution of one name and stops at the
first plugin that raises.
"""

from __future__ import annotations

import dataclasses
import re
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from kormos_core.capabilities import API_VERSION, HVPSpec, ProblemSpec, SolverSpec
from kormos_core.errors import PluginError
from kormos_core.registry import hookspecs
from kormos_core.registry.discovery import first_copies, origin
from kormos_core.registry.plugin import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

    from kormos_core.registry.settings import PluginSettings

__all__ = ["Declared", "collect", "load_plugins"]

_WORDS = {SolverSpec: "solvers", HVPSpec: "Hessian products", ProblemSpec: "problems"}


class Declared(NamedTuple):
    """What one plugin declares, in its own order.

    Attributes
    ----------
    solvers : list of SolverSpec
        Its solvers.
    hvps : list of HVPSpec
        Its kinds of Hessian products.
    problems : list of ProblemSpec
        Its problems of the comparison.
    """

    solvers: list[SolverSpec]
    hvps: list[HVPSpec]
    problems: list[ProblemSpec]


def load_plugins(
    entry_points: Iterable[EntryPoint], settings: PluginSettings
) -> tuple[Plugin, ...]:
    """Load each plugin by itself and record what became of it.

    Parameters
    ----------
    entry_points : iterable of EntryPoint
        In the order of ``sys.path``; of two copies of one distribution the first counts.
    settings : PluginSettings
        Which of them may load.

    Returns
    -------
    tuple of Plugin
        One for each entry point, sorted by namespace and distribution.

    Raises
    ------
    SettingError
        When `settings` names a plugin which nobody knows.
    """
    claims = list(first_copies(entry_points))
    settings.check_names(name for claim in claims for name in (claim.name, origin(claim)[0]))
    plugins = sorted(
        (_load(claim, settings) for claim in claims),
        key=lambda plugin: (plugin.namespace, plugin.distribution),
    )
    return tuple(_mark_conflicts(plugins))


def collect(target: object) -> Declared:
    """Call the hooks of one plugin and check what it declares.

    Parameters
    ----------
    target : object
        The plugin's module, or another object with the hooks.

    Returns
    -------
    Declared
        Its solvers, kinds of Hessian products, and problems.

    Raises
    ------
    PluginError
        When it has no hook, or declares what cannot be used.
    pluggy.PluginValidationError
        When it implements a hook that does not exist.
    """
    manager = pluggy.PluginManager("kormos")
    manager.add_hookspecs(hookspecs)
    manager.register(target)
    manager.check_pending()
    hooks = [
        manager.hook.kormos_solvers,
        manager.hook.kormos_hvps,
        manager.hook.kormos_problems,
    ]
    if not any(hook.get_hookimpls() for hook in hooks):
        message = (
            f"{getattr(target, '__name__', target)!r} does not implement the hook "
            "'kormos_solvers'. Mark a function of that name with kormos_core.hookimpl."
        )
        raise PluginError(message)
    solvers = _declared("kormos_solvers", hooks[0], SolverSpec)
    defaults = [spec.name for spec in solvers if spec.default]
    if len(defaults) > 1:
        message = f"more than one solver is the default: {defaults}. Mark at most one."
        raise PluginError(message)
    return Declared(
        solvers,
        _declared("kormos_hvps", hooks[1], HVPSpec),
        _declared("kormos_problems", hooks[2], ProblemSpec),
    )


def _load(entry_point: EntryPoint, settings: PluginSettings) -> Plugin:
    distribution, version = origin(entry_point)
    plugin = Plugin(
        namespace=entry_point.name.lower(),
        distribution=distribution,
        version=version,
        target=entry_point.value,
    )
    if forbidden := settings.why_not(plugin.namespace, distribution):
        return dataclasses.replace(plugin, status="disabled", reason=forbidden)
    try:
        _check_namespace(plugin.namespace)
        solvers, hvps, problems = collect(entry_point.load())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises
        return dataclasses.replace(
            plugin,
            status="broken",
            reason=str(error)
            if isinstance(error, PluginError)
            else f"{type(error).__name__}: {error}",
            traceback=traceback.format_exc(),
        )
    return dataclasses.replace(
        plugin,
        solvers=tuple(spec for spec in solvers if spec.api_version <= API_VERSION),
        skipped=tuple(spec for spec in solvers if spec.api_version > API_VERSION),
        hvps=tuple(spec for spec in hvps if spec.api_version <= API_VERSION),
        problems=tuple(spec for spec in problems if spec.api_version <= API_VERSION),
        skipped_others=(
            *(spec for spec in hvps if spec.api_version > API_VERSION),
            *(spec for spec in problems if spec.api_version > API_VERSION),
        ),
    )


def _mark_conflicts(plugins: list[Plugin]) -> Iterable[Plugin]:
    claims = Counter(plugin.namespace for plugin in plugins if plugin.status != "disabled")
    for plugin in plugins:
        if plugin.status == "disabled" or claims[plugin.namespace] == 1:
            yield plugin
            continue
        rivals = [
            other.label
            for other in plugins
            if other is not plugin
            and other.namespace == plugin.namespace
            and other.status != "disabled"
        ]
        reason = f"the namespace {plugin.namespace!r} is also claimed by {', '.join(rivals)}"
        if plugin.reason:
            reason = f"{reason}; {plugin.reason}"
        yield dataclasses.replace(plugin, status="conflict", reason=reason)


def _check_namespace(namespace: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", namespace):
        message = (
            f"the entry point's name {namespace!r} is not usable as a namespace. "
            "It holds letters, digits, hyphens and underscores."
        )
        raise PluginError(message)


def _declared(name: str, hook: pluggy.HookCaller, kind: type[Any]) -> list[Any]:
    """Call one hook and see that it gives distinct objects of its kind."""
    if not hook.get_hookimpls():
        return []
    answers = hook()
    if not answers:
        message = f"{name} returned None. It returns an iterable of {kind.__name__}."
        raise PluginError(message)
    specs = [spec for answer in answers for spec in answer]
    for spec in specs:
        if not isinstance(spec, kind):
            message = (
                f"{name} gave {spec!r} of type {type(spec).__name__}. "
                f"It gives objects of type {kind.__name__} alone."
            )
            raise PluginError(message)
    names = Counter(spec.name for spec in specs)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        message = (
            f"{_WORDS[kind]} are declared twice: {twice}. A name is unique within its plugin."
        )
        raise PluginError(message)
    return specs
