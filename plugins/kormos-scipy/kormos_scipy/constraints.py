"""General constraints in SciPy's forms: as functions of the free parameters, and measured.

SciPy's forms are a dict with ``type``, ``fun`` and perhaps ``jac`` and ``args``,
`scipy.optimize.LinearConstraint` and `scipy.optimize.NonlinearConstraint`.

Symbols: ``x`` parameters (n,), ``z`` the free ones (m,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import LinearConstraint, NonlinearConstraint

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from kormos_scipy.space import Space

__all__ = ["largest_violation", "reduce_constraints"]


def reduce_constraints(
    constraints: Iterable[Any], space: Space, *, with_hessians: bool
) -> list[Any]:
    """Rewrite constraints for the free parameters.

    Their functions see all parameters, and may see them outside the box: methods that take
    constraints look at them there, as they need a slope that leads back.

    Parameters
    ----------
    constraints : iterable
        Constraints in SciPy's forms.
    space : Space
        From free parameters to all.
    with_hessians : bool
        Whether the method uses the constraints' Hessians; SciPy warns of ones that it does
        not use, and they are left out.

    Returns
    -------
    list
        The same constraints on the free parameters.

    Raises
    ------
    UnsupportedError
        When a constraint has none of SciPy's forms.
    """
    return [_reduce(constraint, space, with_hessians) for constraint in constraints]


def largest_violation(constraints: Iterable[Any], x: NDArray[np.float64]) -> float:
    """Measure by how much constraints are violated.

    Parameters
    ----------
    constraints : iterable
        Constraints in SciPy's forms, on all parameters.
    x : ndarray, shape (n,), float64
        The parameters.

    Returns
    -------
    float
        The largest violation of any component; 0 where all are satisfied.
    """
    return max((_violation(constraint, x) for constraint in constraints), default=0.0)


def _violation(constraint: Any, x: NDArray[np.float64]) -> float:
    if isinstance(constraint, dict):
        values = np.atleast_1d(constraint["fun"](x, *constraint.get("args", ())))
        excess = np.abs(values) if constraint["type"].lower() == "eq" else -values
    else:
        linear = isinstance(constraint, LinearConstraint)
        values = np.atleast_1d(constraint.A @ x if linear else constraint.fun(x))
        excess = np.maximum(constraint.lb - values, values - constraint.ub)
    return max(float(np.max(excess, initial=0.0)), 0.0)


def _reduce(constraint: Any, space: Space, with_hessians: bool) -> Any:  # noqa: FBT001
    if not isinstance(constraint, (dict, LinearConstraint, NonlinearConstraint)):
        raise UnsupportedError(
            f"constraint of type {type(constraint).__name__} is not usable: {constraint!r}. "
            "SciPy takes LinearConstraint, NonlinearConstraint, and dicts with the keys 'type' "
            "and 'fun'."
        )
    if isinstance(constraint, dict):
        _check_dict(constraint)
        return constraint if space.free is None else _reduce_dict(constraint, space)
    if isinstance(constraint, LinearConstraint):
        return constraint if space.free is None else _reduce_linear(constraint, space.free, space)
    return _reduce_nonlinear(constraint, space, with_hessians=with_hessians)


def _check_dict(constraint: dict[str, Any]) -> None:
    kind = constraint.get("type")
    known = isinstance(kind, str) and kind.lower() in ("eq", "ineq")
    if not known or not callable(constraint.get("fun")):
        raise UnsupportedError(
            f"constraint is not usable: {constraint!r:.120}. Allowed is a dict whose 'type' is "
            "'eq' or 'ineq' and whose 'fun' is a function of the parameters: zero, or not "
            "negative, where it is met. Correct it."
        )


def _reduce_dict(constraint: dict[str, Any], space: Space) -> dict[str, Any]:
    reduced = {**constraint, "fun": _on_free(constraint["fun"], space)}
    if callable(constraint.get("jac")):
        reduced["jac"] = _columns(constraint["jac"], space)
    return reduced


def _reduce_linear(
    constraint: LinearConstraint, free: NDArray[np.bool_], space: Space
) -> LinearConstraint:
    fixed = constraint.A[:, ~free] @ space.x0[~free]
    return LinearConstraint(
        constraint.A[:, free],
        constraint.lb - fixed,
        constraint.ub - fixed,
        keep_feasible=constraint.keep_feasible,
    )


def _reduce_nonlinear(
    constraint: NonlinearConstraint, space: Space, *, with_hessians: bool
) -> NonlinearConstraint:
    if space.free is not None and constraint.finite_diff_jac_sparsity is not None:
        raise UnsupportedError(
            "a NonlinearConstraint with finite_diff_jac_sparsity cannot be combined with "
            "parameters that their bounds fix. Give its Jacobian as a function, or leave the "
            "sparsity out."
        )
    jac, hess, step = constraint.jac, constraint.hess, constraint.finite_diff_rel_step
    if not with_hessians:
        hess = None
    elif callable(hess):
        hess = _rows_and_columns(hess, space)
    if space.free is not None and np.ndim(step) == 1:
        step = np.asarray(step)[space.free]
    return NonlinearConstraint(
        _on_free(constraint.fun, space),
        constraint.lb,
        constraint.ub,
        jac=_columns(jac, space) if callable(jac) else jac,
        hess=hess,
        keep_feasible=constraint.keep_feasible,
        finite_diff_rel_step=step,
        finite_diff_jac_sparsity=constraint.finite_diff_jac_sparsity,
    )


def _on_free(function: Callable[..., Any], space: Space) -> Callable[..., Any]:
    """Call a function of all parameters with the free ones."""

    def of_free(z: NDArray[np.float64], *args: Any) -> Any:
        return function(space.fill(z), *args)

    return of_free


def _columns(jacobian: Callable[..., Any], space: Space) -> Callable[..., Any]:
    """Keep the columns of a Jacobian that belong to free parameters."""

    def of_free(z: NDArray[np.float64], *args: Any) -> Any:
        matrix = jacobian(space.fill(z), *args)
        if space.free is None:
            return matrix
        return (np.atleast_2d(matrix) if isinstance(matrix, (list, np.ndarray)) else matrix)[
            :, space.free
        ]

    return of_free


def _rows_and_columns(hessian: Callable[..., Any], space: Space) -> Callable[..., Any]:
    """Keep the rows and columns of a Hessian that belong to free parameters."""

    def of_free(z: NDArray[np.float64], *args: Any) -> Any:
        matrix = hessian(space.fill(z), *args)
        if space.free is None:
            return matrix
        if not hasattr(matrix, "__getitem__"):
            raise UnsupportedError(
                f"the Hessian of a NonlinearConstraint is a {type(matrix).__name__}, which has "
                "no rows to leave out for the parameters that their bounds fix. Return an array "
                "or a sparse matrix."
            )
        return matrix[space.free][:, space.free]

    return of_free
