"""Comparison of solvers: fresh copies of one model, each trained by another solver."""

from kormos_core.compare.catalog import find_problem, find_set, list_problems, list_sets
from kormos_core.compare.problem import Data, Instance, Problem, Recipe, UnknownProblemError

__all__ = [
    "Data",
    "Instance",
    "Problem",
    "Recipe",
    "UnknownProblemError",
    "find_problem",
    "find_set",
    "list_problems",
    "list_sets",
]
