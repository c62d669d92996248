"""Where reports are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kormos_core.errors import KormosError

if TYPE_CHECKING:
    import os

__all__ = ["ReportFileError", "checked_file"]


class ReportFileError(KormosError, FileNotFoundError):
    """A file that no report can be written to."""


def checked_file(path: str | os.PathLike[str]) -> Path:
    """Return a path if a file can be written there, before anything is drawn.

    Parameters
    ----------
    path : str or os.PathLike
        The file; there may be one already.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    ReportFileError
        If its folder does not exist, or it is a folder itself.
    """
    file = Path(path)
    if file.is_dir():
        message = (
            f"a report cannot be written to {str(file)!r}: it is a folder. Allowed is a file. "
            "Name one in it."
        )
        raise ReportFileError(message)
    if not file.parent.is_dir():
        message = (
            f"a report cannot be written to {str(file)!r}: there is no folder "
            f"{str(file.parent)!r}. Allowed is a file in a folder that exists. Make the folder."
        )
        raise ReportFileError(message)
    return file
