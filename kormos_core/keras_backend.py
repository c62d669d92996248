"""Which of its backends Keras will load, where nobody has said so.

Keras takes TensorFlow unless the environment variable ``KERAS_BACKEND`` or its own
configuration file names another, and cannot be imported where that one is missing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["name_the_installed_backend"]

_BACKENDS: Final = ("tensorflow", "jax", "torch")
_VARIABLE: Final = "KERAS_BACKEND"


def name_the_installed_backend() -> None:
    """Set ``KERAS_BACKEND`` to a backend that is installed, where Keras could load none.

    Nothing is changed where the variable is set, where Keras has been imported, or where
    what Keras would load is installed. Otherwise it is the first installed one of
    ``tensorflow``, ``jax``, ``torch``.
    """
    if os.environ.get(_VARIABLE) or "keras" in sys.modules or _is_installed(_configured()):
        return
    installed = [name for name in _BACKENDS if _is_installed(name)]
    if installed:
        os.environ[_VARIABLE] = installed[0]


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _configured() -> str:
    """Return what Keras's configuration file names, or its default."""
    home = os.environ.get("KERAS_HOME")
    folder = Path(home) if home else Path("~").expanduser() / ".keras"
    try:
        settings = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Keras goes on without it, too
        return _BACKENDS[0]
    return str(settings.get("backend", _BACKENDS[0]))
