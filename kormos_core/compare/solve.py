"""One solver on one instance of a problem, with its trace: what a run's process does.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.check import check_request
from kormos_core.compare.limits import Limits
from kormos_core.compare.watch import Limited, Paced, Watch
from kormos_core.data import adapt
from kormos_core.objective import AUTO, Settings, build_objective, name_unbounded
from kormos_core.training import DEFAULT_MAXITER, Interrupt, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kormos_core.compare.problem import Instance
    from kormos_core.compare.watch import Row, Told
    from kormos_core.objective import ModelObjective
    from kormos_core.protocols import BatchOptimizer, Callback, Objective
    from kormos_core.registry import Registered
    from kormos_core.result import Result

__all__ = ["Measured", "make_objective", "run_solver"]

_WARM_UP_S: Final = 60.0  # in which the first iteration is made: it compiles, whatever the limits


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run came to.

    Attributes
    ----------
    status, message : str
        Why it ended: a name of `Status`, and in words.
    num_parameters : int
        Number of parameters n.
    num_iterations, fg_evals, hessp_evals : int
        Accepted iterations, and evaluations.
    first_call_s, wall_time_s : float
        Seconds of tracing and compiling, and of the solve.
    start_loss, loss, grad_norm : float
        Loss at the start; loss and 2-norm of its gradient at the end.
    metric_value : float or None
        The problem's metric at the end.
    rows : list of Row
        The trace.
    options : mapping of str to object
        The options; those that were found, where it was tuned.
    tuning_runs : int or None
        Runs that were made to find them.
    tuning_s : float or None
        Seconds of all those.
    """

    status: str
    message: str
    num_parameters: int
    num_iterations: int
    fg_evals: int
    hessp_evals: int
    first_call_s: float
    wall_time_s: float
    start_loss: float
    loss: float
    grad_norm: float
    metric_value: float | None
    rows: list[Row]
    options: Mapping[str, Any]
    tuning_runs: int | None = None
    tuning_s: float | None = None


def make_objective(instance: Instance) -> ModelObjective:
    """Make the objective of an instance whose model is compiled.

    Parameters
    ----------
    instance : Instance
        The instance.

    Returns
    -------
    ModelObjective
        Over all data; the second one of a model shares what the first one has traced.
    """
    model, data = instance.model, instance.data
    objective, _ = build_objective(
        model,
        adapt(data.x, data.y, float_dtype=keras.config.floatx()),
        settings=Settings(jit=bool(model.jit_compile), eager=bool(model.run_eagerly)),
        hvp=AUTO,
    )
    return objective


def run_solver(
    instance: Instance,
    registered: Registered,
    options: Mapping[str, Any],
    limits: Limits,
    told: Told,
) -> Measured:
    """Run a plugin's solver, after a run of one iteration that compiles all it needs.

    Parameters
    ----------
    instance : Instance
        The problem.
    registered : Registered
        The solver.
    options : mapping of str to object
        Its options.
    limits : Limits
        What it is allowed.
    told : Told
        Who is told of its trace.

    Returns
    -------
    Measured
        What it came to; the model is at the best point.

    Raises
    ------
    KormosError
        If the solver does not take the problem.
    """
    instance.problem.compile(instance.model, keras.optimizers.SGD())  # whose step is not used
    begun = time.perf_counter()
    first = make_objective(instance)
    x0 = first.program.layout.read()
    f, g = first.value_and_grad(x0)
    first.value(x0)
    _make_ready(first, registered, x0)
    _solve(first, registered, options, x0, _silent(_warm_up(registered, limits), f, g), 1)
    first_call_s = time.perf_counter() - begun

    objective = _fresh(first, instance, registered)
    told.begin("solve")
    watch = Watch(limits, told, f, float(np.linalg.norm(g)))
    result = _solve(
        objective, registered, options, x0, watch, limits.iterations or DEFAULT_MAXITER
    )
    objective.program.layout.write(result.x)
    f_end, g_end = objective.value_and_grad(objective.program.layout.read())
    return Measured(
        status=result.status.name,
        message=result.message,
        num_parameters=objective.size,
        num_iterations=result.num_iterations,
        fg_evals=result.fg_evals,
        hessp_evals=result.hessp_evals,
        first_call_s=first_call_s,
        wall_time_s=max(watch.rows[-1][3], result.wall_time_s - watch.clock.paused_s),
        start_loss=f,
        loss=f_end,
        grad_norm=float(np.linalg.norm(g_end)),
        metric_value=instance.problem.measure_metric(instance.model, instance.data),
        rows=watch.rows,
        options=options,
    )


def _solve(
    objective: ModelObjective,
    registered: Registered,
    options: Mapping[str, Any],
    x0: NDArray[np.float64],
    watch: Watch,
    maxiter: int,
) -> Result:
    """Run a solver as `kormos.fit` does, with another observer."""
    limited = Limited(objective, watch)
    seen: Any = limited
    in_graph = "chunk" in registered.spec.supports
    method: Any = _AtWork(registered.create(options), limited, watch if in_graph else None)
    result = Run(seen, registered, watch, Interrupt()).solve(method, x0, maxiter=maxiter)
    watch.flush()
    return result


def _make_ready(
    objective: ModelObjective, registered: Registered, x0: NDArray[np.float64]
) -> None:
    """See that the solver takes the problem, and get residuals ready where it wants them."""
    check_request(
        registered,
        backend=current_backend().name,
        size=objective.size,
        dtype=objective.dtype,
        has_bounds=objective.bounds is not None,
        unbounded=name_unbounded(objective.bounds, objective.program.layout),
        has_constraints=False,
    )
    if "residuals" in registered.spec.needs:
        objective.prepare_residuals(x0)


@final
class _AtWork:
    """A solver whose objective refuses evaluations beyond a limit while it is at work.

    Parameters
    ----------
    method : BatchOptimizer
        The solver.
    limited : Limited
        The objective.
    watch : Watch or None
        What tells how many iterations one call in the graph may make; None outside of it.
    """

    def __init__(self, method: BatchOptimizer, limited: Limited, watch: Watch | None) -> None:
        self._method = method
        self._limited = limited
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        """Give everything else as the solver has it."""
        return getattr(self._method, name)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        self._limited.solving = True
        seen: Any = objective if self._watch is None else Paced(objective, self._watch)
        try:
            return self._method.minimize(seen, x0, maxiter=maxiter, callback=callback)
        finally:
            self._limited.solving = False


class _Nobody:
    """Who is told of a run that only compiles."""

    def begin(self, what: str) -> None:
        """Take note of nothing."""

    def row(self, row: Row) -> None:
        """Take note of nothing."""


def _fresh(first: ModelObjective, instance: Instance, registered: Registered) -> ModelObjective:
    """Return an objective that has counted nothing, and has all compiled that the first has."""
    if "residuals" not in registered.spec.needs:
        return make_objective(instance)
    first.counts.value = first.counts.value_and_grad = first.counts.hvp = 0
    return first  # residuals are compiled for one objective


def _warm_up(registered: Registered, limits: Limits) -> Limits:
    """Return the limits of the iteration that compiles; values alone are compiled before it."""
    return Limits(time_s=_WARM_UP_S) if registered.spec.needs - {"value"} else limits


def _silent(limits: Limits, f: float, g: NDArray[np.float64]) -> Watch:
    norm = float(np.linalg.norm(g)) if math.isfinite(f) else math.nan
    return Watch(limits, _Nobody(), f, norm)
