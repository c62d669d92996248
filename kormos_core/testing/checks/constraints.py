"""Bounds and constraints are kept."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kormos_core.testing.check import Check
from kormos_core.testing.law import demand
from kormos_core.testing.problem import PLANE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.testing.case import Case
    from kormos_core.testing.trial import Trial

__all__ = ["CONSTRAINTS"]

_LEFT: Final = 1e-4  # part of the way down: direct searches end at 1e-4 by default
_VIOLATED: Final = 1e-6


def check_bounds(case: Case) -> None:
    """Check that `case` never leaves a box."""
    for trial in case.boxed:
        lower, upper = np.array(trial.problem.lower), np.array(trial.problem.upper)
        outside = [
            x for x in (*trial.points, *trial.accepted) if not ((lower <= x) & (x <= upper)).all()
        ]
        demand(
            not outside,
            "No point outside the bounds is evaluated, inside line searches neither.",
            seen=f"{len(outside)} points outside [{lower}, {upper}] on {trial.problem.name}, "
            f"such as {outside[:1]}",
            do="Project every trial point onto objective.bounds before you evaluate it, or drop "
            "'bounds' from supports.",
        )


def check_bounded_minimum(case: Case) -> None:
    """Check that `case` finds the least loss in a box."""
    for trial in case.boxed:
        _reaches(trial, "The least loss within the bounds is found.")


def check_constraints(case: Case) -> None:
    """Check that `case` keeps an inequality, and finds the least loss under it."""
    constraint = _below_one() if case.constraint is None else case.constraint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's advice on constraints that are linear
        trial = case.solve(PLANE, constraints=(constraint,))

    law = "General constraints are kept at the end."
    demand(
        trial.result is not None and trial.x.sum() <= 1.0 + _VIOLATED,
        law,
        seen=f"{trial.summary}, x_0 + x_1 = {trial.result and trial.x.sum()}",
        do="Take objective.constraints into account, or drop 'constraints' from supports.",
    )
    _reaches(trial, "The least loss under a constraint is found.")


def _below_one() -> dict[str, Any]:
    """Return ``x[0] + x[1] <= 1`` as SciPy's methods take it."""

    def room(x: NDArray[np.float64]) -> float:
        return float(1.0 - x[0] - x[1])

    def slope(_: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([-1.0, -1.0])

    return {"type": "ineq", "fun": room, "jac": slope}


def _reaches(trial: Trial, law: str) -> None:
    left = abs(trial.left) if trial.result is not None else np.inf
    demand(
        left <= _LEFT,
        law,
        seen=f"{trial.summary} on {trial.problem.name}, {left:.1e} of the way down is left",
        do="See which bounds it takes for active where it ends.",
    )


def _no_bounds(case: Case) -> str:
    return "" if "bounds" in case.spec.supports else "it does not declare 'bounds'"


def _no_constraints(case: Case) -> str:
    return "" if "constraints" in case.spec.supports else "it does not declare 'constraints'"


CONSTRAINTS: Final = (
    Check(
        name="bounds",
        law="Bounds are never violated, inside line searches neither.",
        run=check_bounds,
        exception=_no_bounds,
    ),
    Check(
        name="bounded_minimum",
        law="The least loss within bounds is found.",
        run=check_bounded_minimum,
        exception=_no_bounds,
    ),
    Check(
        name="constraints",
        law="Constraints are kept, and the least loss under them is found.",
        run=check_constraints,
        exception=_no_constraints,
    ),
)
"""Checks of bounds and constraints."""
