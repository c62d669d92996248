"""The backend that Keras runs on."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, cast

import keras

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from kormos_core.backends.protocol import Backend

__all__ = ["current_backend"]

_MODULES = {
    "jax": "kormos_core.backends.jax",
    "tensorflow": "kormos_core.backends.tensorflow",
    "torch": "kormos_core.backends.torch",
}


@functools.cache
def _load(name: str) -> Backend:
    if name not in _MODULES:
        message = (
            f"the Keras backend {name!r} is not supported. "
            f"Supported: {', '.join(sorted(_MODULES))}. "
            "Set the environment variable KERAS_BACKEND before Keras is imported."
        )
        raise UnsupportedError(message)
    return cast("Backend", importlib.import_module(_MODULES[name]).BACKEND)


def current_backend() -> Backend:
    """Return the module of the backend that Keras runs on.

    Returns
    -------
    Backend
        What compiles and differentiates on this backend.

    Raises
    ------
    UnsupportedError
        If kormos has no module for the backend.
    """
    return _load(keras.config.backend())
