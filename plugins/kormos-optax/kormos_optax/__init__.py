"""The optimizers of optax as full-batch solvers for kormos.

Importing this module loads neither JAX nor optax; a solver's class does, at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core import hookimpl
from kormos_optax.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import SolverSpec

__all__ = ["kormos_solvers"]


@hookimpl
def kormos_solvers() -> tuple[SolverSpec, ...]:
    """Declare optax's optimizers to kormos.

    Returns
    -------
    tuple of SolverSpec
        L-BFGS, the first-order methods, and the user's own transformation.
    """
    return tuple(SPECS.values())
