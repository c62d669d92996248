"""The core of kormos: protocols, registry, objective, fit loop.

Importing it loads no backend; what needs Keras is in `kormos_core.objective`,
`kormos_core.optimizer`, `kormos_core.training` and `kormos_core.model`. Where the backend
that Keras would load is missing, and another one is there, it names that.
"""

from kormos_core.capabilities import API_VERSION, HVPSpec, ProblemSpec, SolverSpec
from kormos_core.errors import KormosError
from kormos_core.keras_backend import name_the_installed_backend
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

name_the_installed_backend()
