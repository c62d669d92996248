"""Minimize half the sum of squares of a plain function's residuals.

Symbols: ``x`` parameters (n,), ``r`` residuals (m,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kormos_core.minimize import Asked, solve_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kormos_core.optimizer import BatchOptimizer
    from kormos_core.result import Result

__all__ = ["least_squares"]


def least_squares(
    residual_fun: Callable[[Any], Any],
    x0: Any,
    *,
    solver: str | BatchOptimizer = "native:levenberg-marquardt",
    maxiter: int | None = None,
    options: Mapping[str, Any] | None = None,
    bounds: Any = None,
    tol: float | None = None,
    callbacks: Any = None,
    hvp: str | None = None,
    jit_compile: str | bool | None = None,
    steps_per_execution: int = 1,
    verbose: int = 0,
) -> Result:
    """Minimize ``0.5 * ||r(x)||**2`` for residuals written in `keras.ops`.

    Parameters
    ----------
    residual_fun : callable
        Takes a float64 tensor of shape (n,) and gives residuals: a tensor of any shape, or
        a list or dict of tensors; their derivatives are made by differentiation.
    x0 : array-like, shape (n,)
        Starting point, projected onto the bounds.
    solver : str or BatchOptimizer
        Name or alias of the solver, or an instance with options: a least-squares solver, or
        any other one, which then minimizes the same function.
    maxiter : int or None
        Iteration limit; None runs until the solver converges, at most 15,000.
    options, bounds, tol : object
        As of `kormos.BatchOptimizer`; they take precedence over its own.
    callbacks : list of keras.callbacks.Callback, or None
        To them an iteration is an epoch, and the model has one weight, ``x``.
    hvp : str or None
        Kind of Hessian product, for solvers that take such; ``"gauss-newton"`` is ``J' J v``.
    jit_compile : {"auto", True, False, None}
        As of `kormos.minimize`.
    steps_per_execution : int
        Iterations of a solver that runs in the graph between two calls of the callbacks.
    verbose : {0, 1, 2}
        0 silent, 1 one line kept up to date, 2 a line for each iteration.

    Returns
    -------
    Result
        The best point, why the solver stopped, and from a least-squares solver the
        covariance of the parameters: `Result.covariance`.

    Raises
    ------
    KormosError
        If function, solver and options do not fit together.

    Examples
    --------
    >>> import numpy as np, kormos
    >>> from keras import ops
    >>> t = np.linspace(0.0, 4.0, 50)
    >>> y = 2.5 * np.exp(-1.3 * t)
    >>> result = kormos.least_squares(lambda b: b[0] * ops.exp(-b[1] * t) - y, [1.0, 1.0])
    >>> np.round(result.x, 6)
    array([2.5, 1.3])
    """
    asked = Asked(
        solver=solver,
        steps_per_execution=steps_per_execution,
        given={
            "epochs": maxiter,
            "options": options,
            "bounds": bounds,
            "tol": tol,
            "hvp": hvp,
            "jit_compile": jit_compile,
        },
    )
    return solve_function(
        residual_fun, x0, asked, callbacks=callbacks, verbose=verbose, squares=True
    )
