"""All that one solve is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kormos_core import Objective
    from kormos_scipy.evaluation import Evaluator
    from kormos_scipy.iterates import Iterates
    from kormos_scipy.methods import Method
    from kormos_scipy.residuals import ResidualEvaluator
    from kormos_scipy.space import Space

__all__ = ["Solve"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solve:
    """All that one solve is made of.

    Attributes
    ----------
    method : Method
        What is known of the method.
    options : mapping of str to object
        Its options as they apply.
    objective : Objective
        What is minimized.
    space : Space
        Its free parameters.
    evaluator : Evaluator or ResidualEvaluator
        The way to evaluate it.
    iterates : Iterates
        The accepted iterates.
    maxiter : int
        Most of them.
    constraints : list
        General constraints in SciPy's forms, on the free parameters.
    """

    method: Method
    options: Mapping[str, Any]
    objective: Objective
    space: Space
    evaluator: Evaluator | ResidualEvaluator
    iterates: Iterates
    maxiter: int
    constraints: list[Any]
