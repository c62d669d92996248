"""The methods of `scipy.optimize.minimize` and `least_squares`, and its global optimizers.

Importing this module loads neither SciPy nor NumPy; a solver's class does, at its first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core import hookimpl
from kormos_scipy.global_specs import GLOBAL
from kormos_scipy.least_squares_specs import LEAST_SQUARES
from kormos_scipy.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import SolverSpec

__all__ = ["kormos_solvers"]


@hookimpl
def kormos_solvers() -> tuple[SolverSpec, ...]:
    """Declare SciPy's methods to kormos.

    Returns
    -------
    tuple of SolverSpec
        One for each method of `scipy.optimize.minimize`, SciPy's own name in lower case, for
        each of `scipy.optimize.least_squares`, behind ``"least-squares-"``, and for each
        global optimizer, its function's name with hyphens.
    """
    return (*SPECS.values(), *LEAST_SQUARES.values(), *GLOBAL.values())
