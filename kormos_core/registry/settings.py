"""Which plugins the environment allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.errors import SettingError, nearest
from kormos_core.registry.official import OFFICIAL
from kormos_core.registry.plugin import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PluginSettings"]

DISABLE = "KORMOS_DISABLE_PLUGINS"
LOAD = "KORMOS_LOAD_PLUGINS"
STRICT = "KORMOS_STRICT_PLUGINS"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSettings:
    """Which plugins may load, and whether a faulty one is an error.

    A plugin is named by its namespace or by its distribution.

    Attributes
    ----------
    disable_all : bool
        Load none: ``KORMOS_DISABLE_PLUGINS=1``.
    disabled : tuple of str
        Not to load: ``KORMOS_DISABLE_PLUGINS=tfp,kormos-native``.
    allowed : tuple of str
        Load these alone: ``KORMOS_LOAD_PLUGINS=scipy``; empty allows all.
    strict : bool
        Raise at the first plugin that is broken, in conflict or too new:
        ``KORMOS_STRICT_PLUGINS=1``.
    """

    disable_all: bool = False
    disabled: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    strict: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> PluginSettings:
        """Read the settings.

        Parameters
        ----------
        environ : mapping of str to str
            Usually `os.environ`; a variable that is empty counts as not set.

        Returns
        -------
        PluginSettings
            What the variables say.

        Raises
        ------
        SettingError
            When ``KORMOS_STRICT_PLUGINS`` is neither yes nor no.
        """
        disable = environ.get(DISABLE, "").strip()
        strict = environ.get(STRICT, "").strip().lower()
        if strict not in _YES | _NO:
            message = f"{STRICT} is {strict!r}. It takes 1 or 0."
            raise SettingError(message)
        return cls(
            disable_all=disable.lower() in _YES,
            disabled=() if disable.lower() in _YES | _NO else _names(disable),
            allowed=_names(environ.get(LOAD, "")),
            strict=strict in _YES,
        )

    def why_not(self, namespace: str, distribution: str) -> str:
        """Say why a plugin must not load.

        Parameters
        ----------
        namespace : str
            The entry point's name.
        distribution : str
            The distribution's name.

        Returns
        -------
        str
            The variable that forbids it, as half a sentence; empty where it may load.
        """
        names = {canonical(namespace), canonical(distribution)}
        if self.disable_all or names & set(self.disabled):
            return f"disabled by {DISABLE}"
        if self.allowed and not names & set(self.allowed):
            return f"not among those of {LOAD}"
        return ""

    def check_names(self, installed: Iterable[str]) -> None:
        """Refuse a setting that names a plugin which nobody knows.

        Disabling a known plugin that is not installed is no mistake; loading one is.

        Parameters
        ----------
        installed : iterable of str
            Namespaces and distributions that are installed.

        Raises
        ------
        SettingError
            When a name is neither.
        """
        present = {canonical(name) for name in installed}
        known = present | set(OFFICIAL) | set(OFFICIAL.values())
        for variable, names, accepted in (
            (DISABLE, self.disabled, known),
            (LOAD, self.allowed, present),
        ):
            for name in names:
                if name not in accepted:
                    message = (
                        f"{variable} names {name!r}, which is no installed plugin."
                        f"{nearest(name, sorted(accepted))} "
                        f"Installed: {', '.join(sorted(present)) or 'none'}. "
                        f"{_cure(name)}"
                    )
                    raise SettingError(message)


def _cure(name: str) -> str:
    distribution = OFFICIAL.get(name, name)
    if distribution in OFFICIAL.values():
        return f"Install it: pip install {distribution}"
    return "Correct the name or leave it out."


def _names(text: str) -> tuple[str, ...]:
    return tuple(canonical(name.strip()) for name in text.split(",") if name.strip())
