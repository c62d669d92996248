"""The conformance kit: what a solver must keep to be one of kormos.

A plugin's author derives one class, and pytest makes every check; `kormos conform` makes
them from the shell. Importing this package loads no backend.
"""

from kormos_core.testing.case import Case
from kormos_core.testing.check import Check
from kormos_core.testing.checks import CHECKS, UnknownCheckError, find_check
from kormos_core.testing.conformance import BatchOptimizerConformance
from kormos_core.testing.law import CannotRunError, LawBrokenError
from kormos_core.testing.verdict import Verdict, judge, judge_all

__all__ = [
    "CHECKS",
    "BatchOptimizerConformance",
    "CannotRunError",
    "Case",
    "Check",
    "LawBrokenError",
    "UnknownCheckError",
    "Verdict",
    "find_check",
    "judge",
    "judge_all",
]
