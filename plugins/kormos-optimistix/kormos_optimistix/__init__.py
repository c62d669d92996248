"""The minimizers and least-squares solvers of optimistix for kormos.

Importing this module loads neither JAX nor optimistix; a solver's class does, at its first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core import hookimpl
from kormos_optimistix.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import SolverSpec

__all__ = ["kormos_solvers"]


@hookimpl
def kormos_solvers() -> tuple[SolverSpec, ...]:
    """Declare optimistix's solvers to kormos.

    Returns
    -------
    tuple of SolverSpec
        Four minimizers and four least-squares solvers.
    """
    return tuple(SPECS.values())
