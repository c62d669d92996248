"""The largest resident memory that this process has had."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import psutil

__all__ = ["peak_memory_bytes"]


def peak_memory_bytes() -> int | None:
    """Return the largest resident memory of this process so far.

    On Linux it is the line ``VmHWM`` of ``/proc/self/status``, see proc_pid_status(5):
    what getrusage(2) tells there begins with the peak of the process that started this one.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell.
    """
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return 1024 * int(peaks[0]) if peaks else None
    windows = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if windows is not None:
        return int(windows)
    try:
        resource = importlib.import_module("resource")
    except ModuleNotFoundError:
        return None
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else 1024 * peak  # KiB elsewhere
