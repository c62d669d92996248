"""Solvers of kormos's own that run inside the compiled graph.

Importing this module loads neither Keras nor NumPy; a solver's class does, at its first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core import hookimpl
from kormos_native.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import SolverSpec

__all__ = ["kormos_solvers"]


@hookimpl
def kormos_solvers() -> tuple[SolverSpec, ...]:
    """Declare the solvers to kormos.

    Returns
    -------
    tuple of SolverSpec
        L-BFGS without and with bounds, and truncated Newton by line search and trust region.
    """
    return tuple(SPECS.values())
