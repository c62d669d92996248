"""One call of `scipy.optimize.minimize`, for any of its methods.

Symbols: ``x`` parameters (n,), ``z`` those that bounds do not fix (m,); all float64.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import scipy.optimize

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_scipy.constraints import reduce_constraints
from kormos_scipy.ending import conclude, conclude_broken, nothing_to_do
from kormos_scipy.evaluation import Evaluator
from kormos_scipy.interior_point import (
    has_inequalities,
    interior_start,
    is_optimal,
    limits_of,
)
from kormos_scipy.iterates import Iterates
from kormos_scipy.methods import METHODS
from kormos_scipy.points import Breakdown
from kormos_scipy.request import (
    check_request,
    check_shapes,
    options_as_they_apply,
    options_for_scipy,
)
from kormos_scipy.solve import Solve
from kormos_scipy.space import Space
from kormos_scipy.threads import single_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.interior_point import Limits
    from kormos_scipy.methods import Method

__all__ = ["run"]


def run(
    name: str,
    solver: Any,
    objective: Objective,
    x0: NDArray[np.float64],
    *,
    maxiter: int,
    callback: Callback,
) -> Result:
    """Minimize with one of SciPy's methods.

    Parameters
    ----------
    name : str
        SciPy's name of the method, in lower case.
    solver : dataclass instance
        The solver; its fields are SciPy's options, and the general tolerance ``tol``.
    objective : Objective
        What to minimize, its bounds and constraints.
    x0 : ndarray, shape (n,), float64
        Starting point, inside the bounds.
    maxiter : int
        Most accepted iterates, at least 1.
    callback : Callback
        Called once for each accepted iterate.

    Returns
    -------
    Result
        ``x``, ``loss``, ``status``, ``message``, ``num_iterations`` and ``raw``.

    Raises
    ------
    BoundsError
        When the bounds do not fit the start.
    UnsupportedError
        When the method cannot do what is asked, or SciPy would only warn about it.
    """
    method = METHODS[name]
    check_request(method, objective, maxiter)
    space = Space.of(x0, objective.bounds, drops_narrow=method.drops_narrow)
    check_shapes(method, solver, space)
    z0 = _start(method, objective, space)
    solve = _prepare(method, solver, objective, space, space.expand(z0), maxiter, callback)
    if space.num_free == 0:
        return nothing_to_do(solve)
    with single_blas_thread():
        return _solve(solve, z0, options_for_scipy(method, solver, maxiter), solver.tol)


def _prepare(
    method: Method,
    solver: Any,
    objective: Objective,
    space: Space,
    start: NDArray[np.float64],
    maxiter: int,
    callback: Callback,
) -> Solve:
    evaluator = Evaluator(
        objective,
        space,
        with_grad="grad" in method.spec.needs,
        tolerant=method.spec.tolerates_nonfinite,
        extends=method.interior_point and not _is_strict(objective),
    )
    iterates = Iterates(
        space,
        evaluator,
        callback,
        limit=maxiter,
        ends_itself=method.maxiter == "same",
        warmup=2 * space.num_free + 1 if method.models_first else 0,
        start=start,
    )
    return Solve(
        method=method,
        options=options_as_they_apply(method, solver),
        objective=objective,
        space=space,
        evaluator=evaluator,
        iterates=iterates,
        maxiter=maxiter,
        constraints=reduce_constraints(
            objective.constraints, space, with_hessians="hvp" in method.spec.needs
        ),
    )


def _start(method: Method, objective: Objective, space: Space) -> NDArray[np.float64]:
    z0, box = space.reduce(space.x0), space.box()
    if box is None or not (method.interior_point and _is_strict(objective)):
        return z0
    return interior_start(z0, box)


def _is_strict(objective: Objective) -> bool:
    """Tell whether trust-constr is to take bounds as strict.

    With other constraints it gets stuck then, in 30 of 60 random problems; without, it needs
    it, as its steps lead outside.
    """
    return not objective.constraints


def _solve(
    solve: Solve, z0: NDArray[np.float64], options: dict[str, Any], tol: float | None
) -> Result:
    try:
        raw = _call_scipy(solve, z0, options, tol)
    except Breakdown as breakdown:
        return conclude_broken(solve, breakdown)
    except StopIteration:
        if solve.iterates.stopped is None:
            raise  # not ours: the objective's or the callback's own
        raw = None  # TNC knows no such signal and lets it pass
    except scipy.optimize.OptimizeWarning as warning:
        raise UnsupportedError(
            f"SciPy {scipy.__version__} would go on after warning: {warning}. kormos does not: "
            f"correct what it names, or use another solver than scipy:{solve.method.spec.name}."
        ) from warning
    if solve.iterates.foreign is not None:
        raise solve.iterates.foreign
    return conclude(solve, raw)


def _call_scipy(
    solve: Solve, z0: NDArray[np.float64], options: dict[str, Any], tol: float | None
) -> Any:
    method, space, evaluator = solve.method, solve.space, solve.evaluator
    assert isinstance(evaluator, Evaluator)  # noqa: S101 - for the types
    needs = method.spec.needs
    limits = limits_of(solve.constraints, space.box())
    callback: Callable[..., None] | None = solve.iterates.accept
    if method.accepts_at_gradient:
        callback = None
    elif method.interior_point and has_inequalities(limits):
        callback = _until_optimal(solve, limits)
        options["gtol"] = 0.0  # its own test is replaced by `is_optimal`
    with warnings.catch_warnings():
        # What SciPy does not know or use would be no more than a warning. The one that is let
        # go tells how constraints are written to save SciPy some work. Filters that a callback
        # changes are restored with these, which is the price.
        warnings.filterwarnings("error", category=scipy.optimize.OptimizeWarning)
        warnings.filterwarnings("ignore", message="Equality and inequality constraints are spec")
        return scipy.optimize.minimize(
            evaluator.value,
            z0,
            method=method.spec.name,
            jac=_gradient(solve, evaluator) if "grad" in needs else None,
            hessp=evaluator.product if "hvp" in needs else None,
            hess=evaluator.hessian if "hessian" in needs else None,
            bounds=_bounds(solve),
            constraints=solve.constraints,
            tol=tol,
            callback=callback,
            options=options,
        )


def _gradient(
    solve: Solve, evaluator: Evaluator
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    if not solve.method.accepts_at_gradient:
        return evaluator.gradient

    def gradient(z: NDArray[np.float64]) -> NDArray[np.float64]:
        found = evaluator.gradient(z)
        solve.iterates.accept(z)
        return found

    return gradient


def _bounds(solve: Solve) -> scipy.optimize.Bounds | None:
    box = solve.space.box()
    if box is None:
        return None
    # only trust-constr reads keep_feasible
    return scipy.optimize.Bounds(*box, keep_feasible=_is_strict(solve.objective))


def _until_optimal(solve: Solve, limits: Limits) -> Callable[[NDArray[np.float64], Any], None]:
    gtol, barrier_tol = solve.options["gtol"], solve.options["barrier_tol"]

    def callback(z: NDArray[np.float64], state: Any) -> None:
        solve.iterates.accept(z)
        if is_optimal(state, limits, gtol=gtol, barrier_tol=barrier_tol):
            solve.iterates.stop(Status.GRAD_TOL)

    return callback
