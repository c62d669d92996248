"""Comparison of solvers: fresh copies of one model, each trained by another solver."""

from kormos_core.compare.problem import Data, Problem, UnknownProblemError
from kormos_core.compare.problems import PROBLEMS, find_problem

__all__ = ["PROBLEMS", "Data", "Problem", "UnknownProblemError", "find_problem"]
