"""The registry of what is installed here."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from kormos_core.registry import messages
from kormos_core.registry.discovery import discover
from kormos_core.registry.loader import load_plugins
from kormos_core.registry.registry import Registry
from kormos_core.registry.settings import PluginSettings

if TYPE_CHECKING:
    from kormos_core.registry.plugin import Plugin

__all__ = ["find_plugins", "installed"]


def find_plugins(settings: PluginSettings) -> tuple[Plugin, ...]:
    """Find and load the plugins that are installed.

    Parameters
    ----------
    settings : PluginSettings
        Which of them may load.

    Returns
    -------
    tuple of Plugin
        Faulty ones included.

    Raises
    ------
    SettingError
        When `settings` names a plugin which nobody knows.
    """
    entry_points, unreadable = discover()
    return (*load_plugins(entry_points, settings), *unreadable)


@functools.cache
def installed() -> Registry:
    """Return the registry of what is installed here; made once.

    Returns
    -------
    Registry
        Of the plugins that the environment's variables allow;
        ``installed.cache_clear()`` has it made anew.

    Raises
    ------
    SettingError
        When a variable names a plugin which nobody knows.
    PluginError
        When ``KORMOS_STRICT_PLUGINS`` is set and a plugin is broken, in conflict or
        too new.
    """
    settings = PluginSettings.from_environ(os.environ)
    plugins = find_plugins(settings)
    for plugin in plugins:
        if settings.strict and plugin.num_faults:
            raise messages.strict_fault(plugin)
    return Registry(plugins)
