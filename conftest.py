"""Which tests run on which Keras backend.

A file of tests, or a single test, names its backends: ``pytest.mark.backends("tensorflow",
"jax", "torch")``. What names none runs on TensorFlow alone. A file of another backend is
not even imported, as it may need packages that are not there.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_BACKEND = os.environ.get("KERAS_BACKEND") or "tensorflow"
_MARK = re.compile(r"^pytestmark = .*pytest\.mark\.backends\(([^)]*)\)", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "backends(*names): Keras backends that the tests run on")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files of other backends, and folders with none but such."""
    if collection_path.is_dir():
        files = collection_path.rglob("test_*.py")
        return None if _BACKEND == "tensorflow" or any(map(_is_meant, files)) else True
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return None if not is_test or _is_meant(collection_path) else True


def _is_meant(file: Path) -> bool:
    marked = _MARK.search(file.read_text(encoding="utf-8"))
    return _BACKEND in (re.findall(r"\w+", marked.group(1)) if marked else ["tensorflow"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of other backends."""
    kept, left_out = [], []
    for item in items:
        marker = item.get_closest_marker("backends")
        backends = marker.args if marker else ("tensorflow",)
        (kept if _BACKEND in backends else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
