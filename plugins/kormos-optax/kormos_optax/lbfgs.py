"""L-BFGS by optax.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kormos_core.loop import RUNNING, Progress, code_of, minimize_in_graph
from kormos_core.options import (
    FLAG,
    NONNEGATIVE,
    POSITIVE,
    Rule,
    check_options,
    optional,
    ordered,
    whole,
    words,
)
from kormos_core.result import Status
from kormos_optax.evaluation import is_finite, loss_of
from kormos_optax.leaves import flat, named, tree_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, State

__all__ = ["LBFGS"]

_GTOL: Final = 1e-5
_FTOL: Final = 2.220446049250313e-09
_NOISE: Final = 8.0  # rounding errors of a loss, in units of epsilon |f|
_ABOVE_ONE: Final = Rule("a finite number above 1", lambda v: POSITIVE.accepts(v) and v > 1)


class _Search(NamedTuple):
    """Where an iteration begins, and where its line search has ended."""

    x: Any
    f: Any
    g: Any
    new_x: Any
    new_f: Any
    new_g: Any
    rate: Any
    sufficient: Any  # whether its last trial lowers the loss enough


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGS:
    """Minimize by limited-memory BFGS: `optax.lbfgs` (`kormos_core.loop.LoopMethod`).

    Attributes
    ----------
    memory_size : int
        Number of past steps that describe the curvature.
    scale_init_precond : bool
        Whether the first estimate of the inverse Hessian is scaled.
    max_linesearch_steps : int
        Most evaluations of one line search.
    max_learning_rate : float or None
        Longest step, in units of the direction; None for no limit.
    linesearch_tol : float
        How far the conditions of the line search may be missed; optax's ``tol``.
    increase_factor : float
        Factor on the step while the search looks for an interval, above 1.
    slope_rtol : float
        Constant of the sufficient decrease.
    curv_rtol : float
        Constant of the curvature condition.
    approx_dec_rtol : float or None
        Part of the loss within which Hager and Zhang's approximate decrease will do; None
        for the exact one alone.
    stepsize_precision : float
        Length of the interval at which the search takes what it has.
    initial_guess_strategy : {"one", "keep"}
        First step of a search: 1, or that of the last one.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    ftol : float
        Ends the solve once ``(f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1) <= ftol``.
    max_evals : int
        Most evaluations; a line search that is on is ended by its own limit.
    tol : float or None
        Sets `gtol` and `ftol` where they are left at their defaults.

    Notes
    -----
    Options have optax's names and defaults, and the iterates are optax's; but for its ``tol``,
    which is `linesearch_tol`, as ``tol`` is kormos's. `gtol`, `ftol` and `max_evals` are
    kormos's too: optax has no test of its own. Cost: one evaluation of loss and gradient an
    iteration, rarely more. Memory: ``2 memory_size + 12`` vectors. The objective is traced once
    and compiled in three places.

    Deviation from optax: where a line search finds no step that lowers the loss, optax takes an
    unsafe one and goes on; here the solve ends at the last iterate.

    References
    ----------
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
    Math. Program. 45, 1989, doi:10.1007/BF01589116.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, algorithms
    3.5, 3.6, 7.4 and 7.5, doi:10.1007/978-0-387-40065-5.
    W. W. Hager, H. Zhang, "Algorithm 851: CG_DESCENT", ACM Trans. Math. Softw. 32(1), 2006,
    equation 23, doi:10.1145/1132973.1132979.
    """

    memory_size: int = 10
    scale_init_precond: bool = True
    max_linesearch_steps: int = 20
    max_learning_rate: float | None = None
    linesearch_tol: float = 0.0
    increase_factor: float = 2.0
    slope_rtol: float = 1e-4
    curv_rtol: float = 0.9
    approx_dec_rtol: float | None = 1e-6
    stepsize_precision: float = 1e-5
    initial_guess_strategy: str = "one"
    gtol: float = _GTOL
    ftol: float = _FTOL
    max_evals: int = 15000
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "memory_size": whole(1),
            "scale_init_precond": FLAG,
            "max_linesearch_steps": whole(1),
            "max_learning_rate": optional(POSITIVE),
            "linesearch_tol": NONNEGATIVE,
            "increase_factor": _ABOVE_ONE,
            "slope_rtol": POSITIVE,
            "curv_rtol": POSITIVE,
            "approx_dec_rtol": optional(NONNEGATIVE),
            "stepsize_precision": NONNEGATIVE,
            "initial_guess_strategy": words("one", "keep"),
            "gtol": NONNEGATIVE,
            "ftol": NONNEGATIVE,
            "max_evals": whole(1),
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)
        ordered(
            self,
            f"slope_rtol={self.slope_rtol!r}, curv_rtol={self.curv_rtol!r}",
            holds=self.slope_rtol < self.curv_rtol,
            cure="Keep slope_rtol below curv_rtol.",
        )

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return minimize_in_graph(self, objective, x0, maxiter=maxiter, callback=callback)

    def init(self, x0: NDArray[np.float64], bounds: Bounds | None) -> dict[str, Any]:
        """Return the state before the first evaluation at `x0`; `bounds` are not supported."""
        del bounds
        return {
            "x": x0,
            "f": np.float64(np.nan),
            "g": np.full_like(x0, np.nan),
            **dict.fromkeys(("iteration", "num_fg", "status"), np.int32(RUNNING)),
            **flat(self._optax().init(jnp.asarray(x0))),
        }

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the `state` of minimizing `graph` after one more iteration."""
        x, optimizer, loss = state["x"], self._optax(), loss_of(graph)
        before = tree_of(state, jax.eval_shape(optimizer.init, x))
        # optax evaluates where its state has no finite loss, which is at the start alone
        fresh = ~jnp.isfinite(optax.tree.get(before, "value"))
        f, g = optax.value_and_grad_from_state(loss)(x, state=before)
        over = ~is_finite(f, g) | (_size(g) <= self._tolerance("gtol", _GTOL))

        def iterate() -> tuple[Any, Any]:
            updates, after = optimizer.update(g, before, x, value=f, grad=g, value_fn=loss)
            return optax.apply_updates(x, updates), after

        new_x, after = jax.lax.cond(over, lambda: (x, before), iterate)
        told = {
            name: optax.tree.get(after, name)
            for name in ("value", "grad", "learning_rate", "num_linesearch_steps")
        }
        sufficient = optax.tree.get(after, "decrease_error") <= self.linesearch_tol
        search = _Search(
            *(x, f, g, new_x, told["value"], told["grad"], told["learning_rate"]), sufficient
        )
        steps = jnp.where(over, 0, told["num_linesearch_steps"])
        num_fg = state["num_fg"] + fresh + steps
        return {
            **self._judge(search, state, over, num_fg, graph.epsilon),
            **named(after),
        }

    def progress(self, state: State) -> Progress:
        """Tell how far a `state` is."""
        x, f, g = state["x"], state["f"], state["g"]
        none = jnp.int32(0)
        return Progress(state["iteration"], x, f, g, state["num_fg"], none, state["status"])

    def _optax(self) -> Any:
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=self.max_linesearch_steps,
            max_learning_rate=self.max_learning_rate,
            tol=self.linesearch_tol,
            increase_factor=self.increase_factor,
            slope_rtol=self.slope_rtol,
            curv_rtol=self.curv_rtol,
            approx_dec_rtol=self.approx_dec_rtol,
            stepsize_precision=self.stepsize_precision,
            initial_guess_strategy=self.initial_guess_strategy,
        )
        return optax.lbfgs(
            memory_size=self.memory_size,
            scale_init_precond=self.scale_init_precond,
            linesearch=search,
        )

    def _judge(
        self, search: _Search, state: State, over: Any, num_fg: Any, epsilon: float
    ) -> State:
        """Say whether the iteration is accepted, and whether it is the last one."""
        x, f, g, new_x, new_f, new_g, rate, sufficient = search
        usable = is_finite(new_f, new_g) & jnp.any(new_x != x)
        accepted = ~over & usable & (sufficient | (new_f < f))
        x, f_now, g_now = (
            jnp.where(accepted, new, old) for new, old in ((new_x, x), (new_f, f), (new_g, g))
        )
        noise = _NOISE * epsilon * jnp.abs(f)
        # half of what the slope promises is what the parabola of a whole step would gain
        promised = 0.5 * jnp.abs(jnp.vdot(g, new_x - search.x)) / jnp.where(rate > 0, rate, 1.0)
        unseen = (rate > 0) & (promised <= noise)
        flat_by = self._tolerance("ftol", _FTOL) * jnp.maximum(
            1.0, jnp.maximum(jnp.abs(f), jnp.abs(new_f))
        )
        still = (new_f >= f) & (_size(new_g) >= _size(g))
        status = _first(
            (~is_finite(f, g), Status.NONFINITE),
            (_size(g_now) <= self._tolerance("gtol", _GTOL), Status.GRAD_TOL),
            (~accepted & unseen, Status.STAGNATED),
            (~accepted, Status.LINESEARCH_FAILED),
            (still, Status.STAGNATED),
            ((f - new_f <= flat_by) & (flat_by > noise), Status.F_TOL),
            (num_fg >= self.max_evals, Status.MAX_EVALS),
        )
        return {
            "x": x,
            "f": f_now,
            "g": g_now,
            "iteration": state["iteration"] + accepted,
            "num_fg": num_fg,
            "status": status,
        }

    def _tolerance(self, name: str, default: float) -> float:
        value: float = getattr(self, name)
        return value if self.tol is None or value != default else self.tol


def _first(*cases: tuple[Any, Status]) -> Any:
    """Return the code of the first case that holds, or `RUNNING`."""
    code = jnp.int32(RUNNING)
    for holds, status in reversed(cases):
        code = jnp.where(holds, code_of(status), code)
    return code


def _size(v: Any) -> Any:
    return jnp.max(jnp.abs(v))
