"""Errors of kormos: what is wrong, the value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AmbiguousNameError",
    "BoundsError",
    "CurvatureWarning",
    "DataError",
    "KormosError",
    "MemoryLimitError",
    "NotBuiltError",
    "NotCompiledError",
    "OptionError",
    "PluginError",
    "SettingError",
    "UnknownOptionError",
    "UnknownSolverError",
    "UnsupportedError",
    "nearest",
]


class KormosError(Exception):
    """Base of every error that kormos raises on misuse."""


class UnknownSolverError(KormosError, LookupError):
    """A solver name that no installed plugin provides."""


class AmbiguousNameError(KormosError, LookupError):
    """A namespace or an alias that two plugins claim."""


class PluginError(KormosError, ImportError):
    """A plugin that is installed but cannot be used."""


class SettingError(KormosError, ValueError):
    """An environment variable of kormos with a value that it does not take."""


class OptionError(KormosError, TypeError, ValueError):
    """Options that the solver does not take: missing, of a wrong type or out of range."""


class UnknownOptionError(OptionError):
    """An option that the solver does not have."""


class UnsupportedError(KormosError, ValueError):
    """A request that the solver, the backend or the model cannot honor."""


class MemoryLimitError(UnsupportedError, MemoryError):
    """A solve whose dense matrices would not fit into memory."""


class BoundsError(KormosError, ValueError):
    """Bounds that do not fit the trainable weights."""


class DataError(KormosError, ValueError):
    """Training data of a form that cannot be swept repeatedly in full."""


class NotCompiledError(KormosError, ValueError):
    """A model that has no loss or no solver yet."""


class NotBuiltError(KormosError, RuntimeError):
    """An optimizer that is not bound to a model and data yet."""


class CurvatureWarning(UserWarning):
    """A kind of Hessian product that failed its check and was replaced."""


class PrecisionWarning(UserWarning):
    """A loss that is computed in less precision than the model's parameters."""


class RestartWarning(UserWarning):
    """A solver cannot go on where it stood, and starts afresh from the model's weights."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Phrase the closest candidate as a question, or nothing.

    Case, hyphens and other separators do not count: ``lbfgs`` is close to ``l-bfgs-b``.

    Parameters
    ----------
    name : str
        What was asked for.
    candidates : iterable of str
        What exists.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` with a leading space, or an empty string.
    """
    names: dict[str, str] = {}
    for candidate in candidates:
        names.setdefault(_letters(candidate), candidate)
    close = difflib.get_close_matches(_letters(name), names, n=1, cutoff=0.6)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
