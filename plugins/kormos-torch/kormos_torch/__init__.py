"""Every solver of kormos as a `torch.optim.Optimizer`, and torch's L-BFGS as one of them.

Importing this module loads neither torch nor NumPy; `SolverOptimizer` does, and a solver's
class, at their first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kormos_core import hookimpl
from kormos_torch.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import SolverSpec
    from kormos_torch.optimizer import SolverOptimizer

__all__ = ["SolverOptimizer", "kormos_solvers"]


@hookimpl
def kormos_solvers() -> tuple[SolverSpec, ...]:
    """Declare torch's solvers to kormos.

    Returns
    -------
    tuple of SolverSpec
        L-BFGS.
    """
    return tuple(SPECS.values())


def __getattr__(name: str) -> Any:
    """Import `SolverOptimizer` when it is first asked for: listing solvers loads no torch."""
    if name != "SolverOptimizer":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from kormos_torch.optimizer import SolverOptimizer

    return SolverOptimizer
