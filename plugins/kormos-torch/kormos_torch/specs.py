"""What torch's solvers are, need and support."""

from __future__ import annotations

from typing import Final

from kormos_core import SolverSpec

__all__ = ["SPECS"]

_DECLARED: Final[tuple[SolverSpec, ...]] = (
    SolverSpec(
        name="lbfgs",
        factory="kormos_torch.lbfgs:LBFGS",
        summary="torch.optim.LBFGS, on any backend: for results that are to be torch's.",
        needs=frozenset({"value", "grad"}),
        supports=frozenset({"stop"}),
        # Vectors are float64 on torch's side; a float32 model is meant to work, to its precision.
        dtypes=frozenset({"float32", "float64"}),
        aliases=("torch-lbfgs",),
        default=True,
        citation="D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale "
        "optimization, 1989, doi:10.1007/BF01589116",
    ),
)

SPECS: Final = {spec.name: spec for spec in _DECLARED}
"""Each method by its name."""
