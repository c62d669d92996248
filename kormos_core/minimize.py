"""Minimize a plain function with any solver.

Symbols: ``x`` parameters (n,), ``f`` value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.check import check_request
from kormos_core.data import reason_of
from kormos_core.errors import BoundsError, UnsupportedError
from kormos_core.objective import (
    FunctionObjective,
    Layout,
    Numerics,
    flat_bounds,
    name_unbounded,
    runs_uncompiled,
)
from kormos_core.objective.function import allowed_function
from kormos_core.optimizer import get
from kormos_core.request import as_constraints, check_jit, overridden
from kormos_core.training import (
    DEFAULT_MAXITER,
    CallbackObserver,
    Interrupt,
    IterationProgress,
    Run,
    verbosity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kormos_core.optimizer import BatchOptimizer
    from kormos_core.result import Result

__all__ = ["Asked", "minimize", "solve_function"]


def minimize(
    fun: Callable[[Any], Any],
    x0: Any,
    *,
    solver: str | BatchOptimizer = "scipy",
    maxiter: int | None = None,
    options: Mapping[str, Any] | None = None,
    bounds: Any = None,
    constraints: Any = None,
    tol: float | None = None,
    callbacks: Any = None,
    hvp: str | None = None,
    jit_compile: str | bool | None = None,
    steps_per_execution: int = 1,
    verbose: int = 0,
) -> Result:
    """Minimize a function of one flat tensor written in `keras.ops`.

    Parameters
    ----------
    fun : callable
        Takes a float64 tensor of shape (n,) and gives a scalar tensor; its gradient and
        Hessian products are made by differentiation.
    x0 : array-like, shape (n,)
        Starting point, projected onto the bounds.
    solver : str or BatchOptimizer
        Name or alias of the solver, or an instance with options.
    maxiter : int or None
        Iteration limit; None runs until the solver converges, at most 15,000.
    options, bounds, constraints, tol : object
        As of `kormos.BatchOptimizer`; they take precedence over its own.
    callbacks : list of keras.callbacks.Callback, or None
        To them an iteration is an epoch, and the model has one weight, ``x``.
    hvp : str or None
        Kind of Hessian product to start with.
    jit_compile : {"auto", True, False, None}
        Whether XLA compiles the function; ``"auto"`` tries that on accelerators. None does
        as the solver's instance says, and without one as ``"auto"``. On JAX, which compiles
        by XLA alone, ``"auto"`` does that, and False compiles nothing.
    steps_per_execution : int
        Iterations of a solver that runs in the graph between two calls of the callbacks.
    verbose : {0, 1, 2}
        0 silent, 1 one line kept up to date, 2 a line for each iteration.

    Returns
    -------
    Result
        The best point and why the solver stopped.

    Raises
    ------
    KormosError
        If function, solver and options do not fit together.

    Examples
    --------
    >>> import keras, kormos
    >>> def rosenbrock(x):
    ...     return keras.ops.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    >>> result = kormos.minimize(rosenbrock, [-1.2, 1.0], solver="scipy:bfgs")
    >>> result.status.converged
    True
    """
    asked = Asked(
        solver=solver,
        steps_per_execution=steps_per_execution,
        given={
            "epochs": maxiter,
            "options": options,
            "bounds": bounds,
            "constraints": None if constraints is None else as_constraints(constraints),
            "tol": tol,
            "hvp": hvp,
            "jit_compile": jit_compile,
        },
    )
    return solve_function(fun, x0, asked, callbacks=callbacks, verbose=verbose, squares=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of the solver of a function.

    Attributes
    ----------
    solver : str or BatchOptimizer
        Name, or an instance with options.
    steps_per_execution : int
        Iterations in the graph between two calls of the callbacks.
    given : mapping of str to object
        What takes precedence over the solver's own request.
    """

    solver: Any
    steps_per_execution: int
    given: Mapping[str, Any]


def solve_function(
    fun: Callable[[Any], Any],
    x0: Any,
    asked: Asked,
    *,
    callbacks: Any,
    verbose: int,
    squares: bool,
) -> Result:
    """Minimize a function, or half the sum of squares of what it gives.

    Parameters
    ----------
    fun : callable
        Takes a float64 tensor of shape (n,).
    x0 : array-like, shape (n,)
        Starting point.
    asked : Asked
        What is asked of the solver.
    callbacks : list of keras.callbacks.Callback, or None
        The user's.
    verbose : {0, 1, 2}
        How much to show.
    squares : bool
        Whether the function gives residuals.

    Returns
    -------
    Result
        The best point and why the solver stopped.
    """
    if not callable(fun):
        message = (
            f"not a function: {fun!r:.80}. Allowed is a function of one flat tensor, written in "
            "keras.ops. Pass one."
        )
        raise UnsupportedError(message)
    try:
        start = np.array(x0, dtype=np.float64)
    except (TypeError, ValueError) as error:
        message = (
            f"x0 is not a vector of numbers: {x0!r:.80}. Allowed is an array of shape (n,). "
            "Pass one."
        )
        raise BoundsError(message) from error
    if start.ndim != 1 or start.size == 0:
        message = (
            f"x0 is not a flat vector: shape {start.shape}. Allowed is shape (n,) with n >= 1. "
            "Reshape it, and reshape inside the function."
        )
        raise BoundsError(message)
    level = verbosity(verbose)
    carrier = get(asked.solver)
    request = overridden(carrier.request, **asked.given)
    if request.pretrain_fn is not None:
        message = (
            "pretrain_fn cannot be honored: it changes a model, and a function has none. Allowed "
            "is it in the fit of a model. Leave it out."
        )
        raise UnsupportedError(message)
    request.check_steps(asked.steps_per_execution)
    method = request.create()  # a wrong option is told before anything begins
    jit = _jit(request.jit_compile)
    objective = FunctionObjective(
        fun,
        start.size,
        bounds=flat_bounds(request.bounds, start.size),
        constraints=request.constraints,
        numerics=Numerics(
            hvp=request.hvp,
            precision=_probe(fun, start, squares=squares, eager=runs_uncompiled(jit)),
            jit=jit,
            eager=runs_uncompiled(jit),
        ),
        squares=squares,
    )
    check_request(
        request.registered,
        backend=current_backend().name,
        size=objective.size,
        dtype="float64",
        has_bounds=objective.bounds is not None,
        unbounded=name_unbounded(objective.bounds),
        has_constraints=bool(objective.constraints),
    )
    if "residuals" in request.registered.spec.needs:
        objective.prepare_residuals(start)
    limit = request.maxiter or DEFAULT_MAXITER
    progress = IterationProgress(level, request.maxiter) if level else None
    observer, told = _observe(start, callbacks, progress, limit)
    told.on_train_begin()
    with Interrupt() as interrupt:
        steps = asked.steps_per_execution if callbacks else None
        run = Run(objective, request.registered, observer, interrupt, steps)
        result = run.solve(method, start, maxiter=limit)
    told.on_train_end(observer.logs or None)
    carrier.add_result(result)
    if progress is not None:
        progress.close(str(result))
    return result


def _jit(jit_compile: Any) -> bool | None:
    check_jit(jit_compile)
    if jit_compile in {"auto", None}:
        backend = current_backend()
        return None if backend.has_accelerator or backend.needs_jit else False
    return bool(jit_compile)


def _probe(
    fun: Callable[[Any], Any],
    start: np.ndarray[Any, np.dtype[np.float64]],
    *,
    squares: bool,
    eager: bool,
) -> str:
    """Evaluate a function once, see that it gives what it should, and tell its precision."""
    compiled = current_backend().compile(fun, jit=False, eager=eager)
    try:
        value = compiled(keras.ops.convert_to_tensor(start))
        parts = [keras.ops.convert_to_tensor(part) for part in keras.tree.flatten(value)]
    except Exception as error:
        message = (
            f"the function cannot be traced: {type(error).__name__}: {reason_of(error)}. "
            f"{allowed_function('residuals' if squares else 'a scalar tensor')}. Write it so."
        )
        raise UnsupportedError(message) from error
    shapes = [tuple(part.shape) for part in parts]
    if not squares and (len(parts) != 1 or int(np.prod(shapes[0])) != 1):
        message = (
            f"the function gives {_tensors(shapes)}, and a solver minimizes a single number. "
            "Allowed is a scalar. Reduce it, such as by keras.ops.sum; residuals go to "
            "kormos.least_squares."
        )
        raise UnsupportedError(message)
    if not sum(int(np.prod(shape)) for shape in shapes):
        message = (
            f"the function gives {_tensors(shapes)}, and so no residuals. Allowed is a tensor of "
            "at least one, or a structure of such. Return it."
        )
        raise UnsupportedError(message)
    dtypes = [keras.backend.standardize_dtype(part.dtype) for part in parts]
    for dtype in dtypes:
        if "float" not in dtype:
            message = (
                f"the function gives {dtype}, which has no derivative. Allowed are floats. "
                "Cast it inside the function."
            )
            raise UnsupportedError(message)
    if not current_backend().rounds_float64:
        return "float64" if set(dtypes) == {"float64"} else "float32"
    return "float64" if not eager and set(dtypes) <= {"float64", "float32"} else "float32"


def _tensors(shapes: list[tuple[int, ...]]) -> str:
    if len(shapes) == 1:
        return f"a tensor of shape {shapes[0]}"
    return f"{len(shapes)} tensors"


@final
class _Point(keras.Model):
    """A model whose only weight is the point, for callbacks to look at."""

    def __init__(self, start: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        super().__init__(name="minimize")
        self.point = self.add_weight(shape=start.shape, dtype="float64", name="x")
        self.point.assign(start)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the inputs: there is nothing to predict."""
        return inputs


def _observe(
    start: np.ndarray[Any, np.dtype[np.float64]],
    callbacks: Any,
    progress: IterationProgress | None,
    limit: int,
) -> tuple[CallbackObserver, keras.callbacks.CallbackList]:
    model = _Point(start)
    model.stop_training = False
    own = [] if progress is None else [progress]
    told = keras.callbacks.CallbackList(
        [*keras.tree.flatten(callbacks or []), *own], model=model, epochs=limit, steps=1
    )
    layout = Layout.of(model.trainable_variables)
    return CallbackObserver(model, layout, told, watched=bool(callbacks)), told
