from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

LIARS = Path(__file__).parent / "liars"


@pytest.fixture(scope="module")
def liars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the plugins of the folder ``liars`` look installed, to child processes too."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("liars", "heavy"):
        info = folder / f"kormos_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: kormos-{name}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[kormos]\n{name} = kormos_{name}\n")
    added = [str(LIARS), str(folder)]
    sys.path[:0] = added
    installed.cache_clear()
    yield
    for path in added:
        sys.path.remove(path)
    installed.cache_clear()
