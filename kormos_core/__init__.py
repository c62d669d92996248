"""The core of kormos: protocols, registry, objective, fit loop.

Importing it loads no backend; what needs Keras is in `kormos_core.objective`,
`kormos_core.optimizer`, `kormos_core.training` and `kormos_core.model`.
"""

from kormos_core.capabilities import API_VERSION, HVPSpec, ProblemSpec, SolverSpec
from kormos_core.errors import KormosError
from kormos_core.protocols import (
    HVP,
    BatchOptimizer,
    Bounds,
    Callback,
    Counts,
    LeastSquaresObjective,
    Objective,
    StopSolve,
)
from kormos_core.registry.hookspecs import hookimpl, hookspec
from kormos_core.result import Result, Status

__all__ = [
    "API_VERSION",
    "HVP",
    "BatchOptimizer",
    "Bounds",
    "Callback",
    "Counts",
    "HVPSpec",
    "KormosError",
    "LeastSquaresObjective",
    "Objective",
    "ProblemSpec",
    "Result",
    "SolverSpec",
    "Status",
    "StopSolve",
    "hookimpl",
    "hookspec",
]
