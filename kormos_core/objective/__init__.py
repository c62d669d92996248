"""The objective: a model's whole training loss as a function of one flat vector."""

from kormos_core.box import flat_bounds, project, projected_gradient
from kormos_core.curvature import AUTO, HESSIAN_LIMIT
from kormos_core.objective.bounds import model_bounds, name_unbounded
from kormos_core.objective.build import build_objective, forget_programs
from kormos_core.objective.function import FunctionObjective
from kormos_core.objective.kinds import HVP_KINDS, check_kind
from kormos_core.objective.layout import Layout
from kormos_core.objective.noise import FrozenNoise
from kormos_core.objective.numerics import Numerics, runs_uncompiled
from kormos_core.objective.objective import ModelObjective
from kormos_core.objective.precision import float_dtype, floatx_scope, warn_of_tolerances
from kormos_core.objective.program import Program, Settings
from kormos_core.objective.rows import Rows, Squares
from kormos_core.objective.squares import mean_of_squares, residuals_of
from kormos_core.objective.statistics import Statistics

__all__ = [
    "AUTO",
    "HESSIAN_LIMIT",
    "HVP_KINDS",
    "FrozenNoise",
    "FunctionObjective",
    "Layout",
    "ModelObjective",
    "Numerics",
    "Program",
    "Rows",
    "Settings",
    "Squares",
    "Statistics",
    "build_objective",
    "check_kind",
    "flat_bounds",
    "float_dtype",
    "floatx_scope",
    "forget_programs",
    "mean_of_squares",
    "model_bounds",
    "name_unbounded",
    "project",
    "projected_gradient",
    "residuals_of",
    "runs_uncompiled",
    "warn_of_tolerances",
]
