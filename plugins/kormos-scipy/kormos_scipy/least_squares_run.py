"""One call of `scipy.optimize.least_squares`, for any of its methods.

Symbols: ``x`` parameters (n,), ``z`` those that bounds do not fix (k,), ``r`` residuals (m,);
all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import scipy.optimize

from kormos_core.errors import UnsupportedError
from kormos_scipy.ending import conclude, conclude_broken, nothing_to_do
from kormos_scipy.iterates import Iterates
from kormos_scipy.least_squares_methods import LEAST_SQUARES_METHODS
from kormos_scipy.points import Breakdown
from kormos_scipy.request import check_request, options_as_they_apply
from kormos_scipy.residuals import ResidualEvaluator
from kormos_scipy.robust_losses import RobustLoss
from kormos_scipy.solve import Solve
from kormos_scipy.space import Space
from kormos_scipy.threads import single_blas_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Callback, LeastSquaresObjective, Result
    from kormos_scipy.methods import Method

__all__ = ["MAX_DENSE_NUMBERS", "MAX_DENSE_PARAMETERS", "run_least_squares"]

MAX_DENSE_PARAMETERS: Final = 1000
"""Most parameters for which the Jacobian is a matrix where nothing else is said."""

MAX_DENSE_NUMBERS: Final = 20_000_000
"""Most numbers in that matrix: 160 MB, of which SciPy keeps some eight."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Call:
    """What SciPy is called with beside the functions."""

    options: dict[str, Any]
    robust: RobustLoss | None
    dense: bool
    x_scale: Any


def run_least_squares(
    name: str,
    solver: Any,
    objective: LeastSquaresObjective,
    x0: NDArray[np.float64],
    *,
    maxiter: int,
    callback: Callback,
) -> Result:
    """Minimize a sum of squares with one of SciPy's methods.

    Parameters
    ----------
    name : str
        Name of the method here.
    solver : dataclass instance
        The solver; its fields are SciPy's options, and the general tolerance ``tol``.
    objective : LeastSquaresObjective
        What to minimize, and its bounds.
    x0 : ndarray, shape (n,), float64
        Starting point, inside the bounds.
    maxiter : int
        Most accepted iterates, at least 1.
    callback : Callback
        Called once for each accepted iterate.

    Returns
    -------
    Result
        ``x``, ``loss``, ``status``, ``message``, ``num_iterations`` and ``raw``; the loss is
        the robust cost where one is asked for.

    Raises
    ------
    BoundsError
        When the bounds do not fit the start.
    UnsupportedError
        When the method cannot do what is asked, or the objective has no residuals.
    """
    method = LEAST_SQUARES_METHODS[name]
    _check_objective(method, objective)
    check_request(method, objective, maxiter)
    options = options_as_they_apply(method, solver)
    space = Space.of(x0, objective.bounds, drops_narrow=True)
    call = _plan(method, options, objective, space)
    solve = _prepare(method, objective, space, call, maxiter, callback)
    if space.num_free == 0:
        return nothing_to_do(solve)
    with single_blas_thread():
        return _solve(solve, call)


def _check_objective(method: Method, objective: LeastSquaresObjective) -> None:
    if not callable(getattr(objective, "residuals", None)):
        raise UnsupportedError(
            f"scipy:{method.spec.name} needs residuals, and {type(objective).__name__} has none. "
            "Give it a kormos_core.LeastSquaresObjective, or use a solver of another kind, such "
            "as scipy:l-bfgs-b."
        )


def _plan(
    method: Method, options: dict[str, Any], objective: LeastSquaresObjective, space: Space
) -> _Call:
    num_residuals, num_free = objective.num_residuals, space.num_free
    if method.spec.name == "least-squares-lm" and num_residuals < num_free:
        raise UnsupportedError(
            f"scipy:least-squares-lm cannot fit {num_free} parameters to {num_residuals} "
            "residuals. It takes at least as many residuals as parameters. Use "
            "scipy:least-squares-trf, or more residuals."
        )
    loss = options.get("loss", "linear")
    dense = _is_dense(options, num_residuals, num_free)
    if not dense and options["x_scale"] == "jac":
        raise UnsupportedError(
            f"option x_scale='jac' takes the Jacobian as a matrix, and one of {num_residuals:,} "
            f"residuals by {num_free:,} parameters is not built. Matrices have at most "
            f"{MAX_DENSE_PARAMETERS:,} parameters and {MAX_DENSE_NUMBERS:,} numbers. Leave "
            "x_scale out, or set tr_solver='exact' where there is memory for it."
        )
    return _Call(
        options=options,
        robust=None if loss == "linear" else RobustLoss.of(objective, loss, options["f_scale"]),
        dense=dense,
        x_scale=_scale(options["x_scale"], space),
    )


def _is_dense(options: dict[str, Any], num_residuals: int, num_free: int) -> bool:
    solver = options.get("tr_solver", "exact")
    if solver is None:
        small = num_free <= MAX_DENSE_PARAMETERS
        return small and num_residuals * num_free <= MAX_DENSE_NUMBERS
    return bool(solver == "exact")


def _scale(x_scale: Any, space: Space) -> Any:
    if x_scale is None or isinstance(x_scale, str) or np.ndim(x_scale) == 0:
        return x_scale
    if len(x_scale) != space.x0.size:
        raise UnsupportedError(
            f"option x_scale of shape ({len(x_scale)},) does not fit {space.x0.size} parameters. "
            f"Give it the shape ({space.x0.size},), or one number for all."
        )
    return space.reduce(np.array(x_scale, dtype=np.float64))


def _prepare(
    method: Method,
    objective: LeastSquaresObjective,
    space: Space,
    call: _Call,
    maxiter: int,
    callback: Callback,
) -> Solve:
    evaluator = ResidualEvaluator(
        objective,
        space,
        robust=call.robust,
        dense=call.dense,
        knows_nonfinite=method.spec.name != "least-squares-lm",
    )
    iterates = Iterates(
        space,
        evaluator,
        callback,
        limit=maxiter,
        ends_itself=False,
        warmup=0,
        start=space.x0,
    )
    return Solve(
        method=method,
        options=call.options,
        objective=objective,
        space=space,
        evaluator=evaluator,
        iterates=iterates,
        maxiter=maxiter,
        constraints=[],
    )


def _solve(solve: Solve, call: _Call) -> Result:
    try:
        raw = _call_scipy(solve, call)
    except Breakdown as breakdown:
        return conclude_broken(solve, breakdown)
    except StopIteration:
        if solve.iterates.stopped is None:
            raise  # not ours: the objective's or the callback's own
        raw = None  # SciPy knows no such signal here and lets it pass
    if raw is not None and raw.status < 0:
        raise UnsupportedError(
            f"SciPy {scipy.__version__} refuses what scipy:{solve.method.spec.name} was called "
            f"with: {raw.message}. Correct what it names, or use scipy:least-squares-trf."
        )
    return conclude(solve, raw)


def _call_scipy(solve: Solve, call: _Call) -> Any:
    evaluator, options = solve.evaluator, call.options
    assert isinstance(evaluator, ResidualEvaluator)  # noqa: S101 - for the types

    def jacobian(z: NDArray[np.float64]) -> Any:
        found = evaluator.jacobian(z)
        if evaluator.num_evals == 1:
            solve.iterates.begin(z)  # trf moves a start off the bounds
        else:
            solve.iterates.accept(z)
        return found

    trust_region = {}
    if solve.method.spec.name != "least-squares-lm":
        trust_region = {
            "bounds": solve.space.box() or (-np.inf, np.inf),
            "loss": call.robust or "linear",
            "tr_solver": "exact" if call.dense else "lsmr",
            "tr_options": dict(options["tr_options"] or ()),
        }
    return scipy.optimize.least_squares(
        evaluator.residuals,
        solve.space.reduce(solve.space.x0),
        jac=jacobian,
        method=solve.method.spec.name.removeprefix("least-squares-"),
        ftol=options["ftol"],
        xtol=options["xtol"],
        gtol=options["gtol"],
        x_scale=call.x_scale,
        max_nfev=options["max_nfev"],
        **trust_region,
    )
