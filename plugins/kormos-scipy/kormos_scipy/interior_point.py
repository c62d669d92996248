"""What trust-constr needs where inequalities or bounds make it an interior point method.

SciPy ends it once the Lagrangian's gradient is small for *some* multipliers. With bounds on
all parameters such multipliers always exist: it stops at the start, or with the barrier
still at 0.1, and calls that success. Here the multipliers must also have the right signs,
and vanish where their constraint is not active.

Symbols: ``z`` free parameters (m,), ``c`` values of a constraint (k,), ``v`` its multipliers
(k,), negative at a lower limit and positive at an upper one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Limits", "has_inequalities", "interior_start", "is_optimal", "limits_of"]

Limits: TypeAlias = "list[tuple[NDArray[np.float64], NDArray[np.float64]]]"
"""Lower and upper limits of each constraint, the box last."""

# How far from a bound to start, relative to its size and to the interval: kappa_1 and
# kappa_2 of A. Waechter, L. T. Biegler, "On the implementation of an interior-point filter
# line-search algorithm for large-scale nonlinear programming", Math. Program. 106, 2006,
# section 3.6, doi:10.1007/s10107-004-0559-y. A start on a bound has an infinite barrier.
_PUSH = 1e-2


def interior_start(
    z: NDArray[np.float64], box: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Push a start off its bounds.

    Parameters
    ----------
    z : ndarray, shape (m,), float64
        The start, inside the box.
    box : tuple of two ndarrays, shapes (m,)
        Lower and upper bounds, apart from each other.

    Returns
    -------
    ndarray, shape (m,), float64
        The nearest point with some room on every side.
    """
    lower, upper = box
    room = _PUSH * (upper - lower)
    inside: NDArray[np.float64] = np.clip(
        z,
        lower + np.minimum(_PUSH * _size(lower), room),
        upper - np.minimum(_PUSH * _size(upper), room),
    )
    return inside


def _size(bound: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0, np.abs(np.where(np.isfinite(bound), bound, 0.0)))


def limits_of(
    constraints: Sequence[Any], box: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> Limits:
    """List the limits of constraints in SciPy's forms and of the box, in SciPy's order.

    Parameters
    ----------
    constraints : sequence
        Constraints in SciPy's forms, on the free parameters.
    box : tuple of two ndarrays, shapes (m,), or None
        Lower and upper bounds of the free parameters.

    Returns
    -------
    Limits
        The limits; scalars stand for all components.
    """
    limits: Limits = []
    for constraint in constraints:
        if isinstance(constraint, dict):
            ends = (0.0, 0.0 if constraint["type"].lower() == "eq" else np.inf)
        else:
            ends = (constraint.lb, constraint.ub)
        limits.append((np.asarray(ends[0], dtype=float), np.asarray(ends[1], dtype=float)))
    return limits if box is None else [*limits, box]


def has_inequalities(limits: Limits) -> bool:
    """Tell whether some limits leave room between them.

    Parameters
    ----------
    limits : Limits
        Of the constraints and the box.

    Returns
    -------
    bool
        Whether any lower limit is below its upper one.
    """
    return any(bool(np.any(lower < upper)) for lower, upper in limits)


def is_optimal(state: Any, limits: Limits, *, gtol: float, barrier_tol: float) -> bool:
    """Test first-order optimality, signs and complementarity included.

    Parameters
    ----------
    state : scipy.optimize.OptimizeResult
        What trust-constr calls back with.
    limits : Limits
        Of the constraints, in SciPy's order.
    gtol : float
        Tolerance of the Lagrangian's gradient and of the violation.
    barrier_tol : float
        Tolerance of a multiplier times the distance from its limit.

    Returns
    -------
    bool
        Whether the point is optimal.
    """
    if state.optimality > gtol or state.constr_violation > gtol:
        return False
    return all(
        _slack_product(c, v, lower, upper) <= barrier_tol
        for c, v, (lower, upper) in zip(state.constr, state.v, limits, strict=True)
    )


def _slack_product(
    c: NDArray[np.float64],
    v: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> float:
    # Equations have no slack, and 0 times an infinite distance is no number.
    active = (v != 0) & (lower < upper)
    distance = np.where(v > 0, upper - c, c - lower)
    return float(np.abs(v[active] * distance[active]).max(initial=0.0))
