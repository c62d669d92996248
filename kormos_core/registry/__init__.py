"""Find, name and make the solvers that are installed.

Plugins are distributions with an entry point in the group ``kormos``; its name is the
namespace of the solvers that the plugin declares by the hook `kormos_solvers`.
"""

from kormos_core.registry.hookspecs import hookimpl, hookspec
from kormos_core.registry.installed import find_plugins, installed
from kormos_core.registry.plugin import Plugin
from kormos_core.registry.registered import Registered, RegisteredHVP
from kormos_core.registry.registry import Registry
from kormos_core.registry.settings import PluginSettings

__all__ = [
    "Plugin",
    "PluginSettings",
    "Registered",
    "RegisteredHVP",
    "Registry",
    "find_plugins",
    "hookimpl",
    "hookspec",
    "installed",
]
