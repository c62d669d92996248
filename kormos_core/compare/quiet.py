"""Start the backend without what it writes to the terminal on its own."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["start_backend"]

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def start_backend() -> None:
    """Import Keras with its backend, and let it compute something.

    TensorFlow writes lines about its build and about absent graphics cards past Python's
    standard error; those of its start are held back, and told where the start fails.
    With the environment variable ``TF_CPP_MIN_LOG_LEVEL=0`` everything is written.
    """
    # 2 leaves TensorFlow its errors; read when it is imported, so it is set before
    os.environ.setdefault(_LOG_LEVEL, "2")
    if os.environ[_LOG_LEVEL] == "0":
        _start()
        return
    with _held_back():
        _start()


def _start() -> None:
    import keras

    keras.ops.zeros(())  # the first tensor makes the backend look for devices


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back what goes to the file descriptor of standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
