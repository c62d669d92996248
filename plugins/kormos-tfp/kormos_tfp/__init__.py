"""The minimizers of TensorFlow Probability as solvers for kormos.

Importing this module loads neither TensorFlow nor TensorFlow Probability; a solver's class
does, at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core import hookimpl
from kormos_tfp.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import SolverSpec

__all__ = ["kormos_solvers"]


@hookimpl
def kormos_solvers() -> tuple[SolverSpec, ...]:
    """Declare TensorFlow Probability's minimizers to kormos.

    Returns
    -------
    tuple of SolverSpec
        L-BFGS, BFGS and Nelder and Mead's simplex.
    """
    return tuple(SPECS.values())
