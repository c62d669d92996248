"""Truncated Newton with a line search.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``d`` direction (n,),
``slope`` derivative of the loss along it; all float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, final

import numpy as np

from kormos_core.loop import RUNNING, code_of, minimize_in_graph, ops
from kormos_core.options import POSITIVE, check_options, optional, ordered, whole, words
from kormos_core.result import Status
from kormos_native.conjugate_gradients import conjugate_gradients
from kormos_native.conjugate_pairs import ConjugatePairs
from kormos_native.forcing import newton_equation
from kormos_native.line_search import ACCEPTED, FAILED, STALLED, LineSearch, idle
from kormos_native.newton import RULES, accepted, first_state, progress, status
from kormos_native.preconditioners import Diagonal, Identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, Progress, State
    from kormos_native.preconditioners import Preconditioner

__all__ = ["NewtonCG"]

# Stages: what the next call does before it evaluates.
_START: Final = 0  # nothing: it evaluates the starting point
_NEWTON: Final = 1  # it solves for a direction
_DESCENT: Final = 2  # it takes that of steepest descent
_SEARCH: Final = 3  # it goes on along the direction

_BEGUN: Final = (
    *("d", "slope", "descends", "num_hvp"),
    *("norm", "term"),
    *("step", "phase", "memory"),
)

_PRECONDITIONERS: Final[dict[str | None, Preconditioner]] = {
    None: Identity(),
    "diagonal": Diagonal(),
    "lbfgs": ConjugatePairs(),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NewtonCG:
    """Minimize by truncated Newton with a line search inside the compiled graph.

    Attributes
    ----------
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    ftol : float
        Ends the solve once ``(f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1) <= ftol``; 0 is
        never.
    maxcg : int or None
        Most Hessian products for a direction; None means ``min(max(20, 2 n), 200)``.
    maxfun : int
        Most evaluations of loss and gradient.
    maxls : int
        Most evaluations in one line search.
    c1, c2 : float
        Sufficient decrease and curvature of the line search's strong Wolfe conditions,
        ``0 < c1 < c2 < 1``.
    preconditioner : {"diagonal", "lbfgs"} or None
        Approximate inverse of the Hessian for the conjugate gradients: an estimate of its
        diagonal, for parameters of very different scales; or L-BFGS of the last directions,
        for losses that take many products an iteration.
    hvp_fraction : float
        Share of the samples that Hessian products are made from, above 0, at most 1; another
        part of the data for each iteration.
    tol : float or None
        Sets `gtol` where that is left at its default.

    Notes
    -----
    Cost of an iteration: one evaluation of loss and gradient, rarely more where the loss is
    convex, and as many products as its forcing term asks for (`newton_equation`), all at one
    point. Memory: some ten vectors; two more for the diagonal, 32 for L-BFGS.

    Deviations from algorithm 7.1: steps go along negative curvature (see
    `conjugate_gradients`). Where no step is found along the direction, or products are not
    finite, steepest descent is tried before the solve ends.

    References
    ----------
    R. S. Dembo, T. Steihaug, "Truncated-Newton algorithms for large-scale unconstrained
    optimization", Math. Program. 26, 1983, doi:10.1007/BF02592055.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006,
    algorithm 7.1, doi:10.1007/978-0-387-40065-5.
    R. H. Byrd, G. M. Chin, W. Neveitt, J. Nocedal, "On the Use of Stochastic Hessian
    Information in Optimization Methods for Machine Learning", SIAM J. Optim. 21(3), 2011,
    section 2, doi:10.1137/10079923X.
    """

    gtol: float = 1e-5
    ftol: float = 0.0
    maxcg: int | None = None
    maxfun: int = 15000
    maxls: int = 20
    c1: float = 1e-4
    c2: float = 0.9
    preconditioner: Literal["diagonal", "lbfgs"] | None = None
    hvp_fraction: float = 1.0
    tol: float | None = None
    uses_keras: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            **RULES,
            "maxls": whole(1),
            "c1": POSITIVE,
            "c2": POSITIVE,
            "preconditioner": optional(words("diagonal", "lbfgs")),
        }
        check_options(self, rules)
        wolfe = 0 < self.c1 < self.c2 < 1
        what = f"c1={self.c1!r}, c2={self.c2!r}"
        ordered(self, what, holds=wolfe, cure="Keep 0 < c1 < c2 < 1.")

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
        """Return the state before the first evaluation.

        Parameters
        ----------
        x0 : ndarray, shape (n,), float64
            Starting point.
        bounds : None
            Bounds are not supported.

        Returns
        -------
        dict of str to ndarray
            The state.
        """
        del bounds
        return {
            **first_state(x0),
            "d": np.zeros_like(x0),
            "slope": np.float64(0.0),
            "descends": np.bool_(False),  # noqa: FBT003 - a tensor of the state
            **idle(),
            **_PRECONDITIONERS[self.preconditioner].empty(x0.size),
        }

    def progress(self, state: State) -> Progress:
        """Tell how far a state is; see `kormos_native.newton.progress`."""
        return progress(state)

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the state after one more evaluation.

        Parameters
        ----------
        graph : GraphObjective
            The objective.
        state : dict of str to tensor
            The state, still running.

        Returns
        -------
        dict of str to tensor
            The state after it.
        """
        stage = state["stage"]
        begins = ops.logical_or(stage == _NEWTON, stage == _DESCENT)
        names = (*_BEGUN, *self._preconditioner.empty(1))
        kept = {name: state[name] for name in names}
        begun = ops.cond(begins, lambda: self._begin(graph, state), lambda: kept)
        state = {**state, **begun}
        x = state["x"] + state["step"] * state["d"]
        return self._judge(graph, state, (x, *graph.value_and_grad(x)))

    @property
    def _search(self) -> LineSearch:
        return LineSearch(c1=self.c1, c2=self.c2, maxls=self.maxls)

    @property
    def _preconditioner(self) -> Preconditioner:
        return _PRECONDITIONERS[self.preconditioner]

    def _begin(self, graph: GraphObjective, state: State) -> State:
        """Return what changes with a new direction: the names in `_BEGUN`, and the memory."""
        product, equation, terms = newton_equation(self, graph, state)
        preconditioner, g, norm = self._preconditioner, equation.g, terms["norm"]
        memory = {name: state[name] for name in preconditioner.empty(1)}
        memory, num_probes = preconditioner.prepare(memory, product)
        gathering = preconditioner.gathering(memory)
        limit = ops.cast(ops.where(state["stage"] == _DESCENT, 0, equation.limit), "int32")
        equation = equation._replace(limit=limit)
        precondition = partial(preconditioner.apply, memory)
        newton = conjugate_gradients(product, equation, precondition, gathering)
        if gathering is not None:
            memory = gathering.learn(newton.gathered)
        descends = ops.logical_not(ops.vdot(g, newton.step) < 0.0)
        d = ops.where(descends, -ops.minimum(1.0, 1.0 / norm) * g, newton.step)
        slope = ops.vdot(g, d)
        return {
            **memory,
            **terms,
            **self._search.start(state["f"], slope, ops.ones_like(slope)),
            "d": d,
            "slope": slope,
            "descends": descends,
            "num_hvp": state["num_hvp"] + newton.num_products + num_probes,
        }

    def _judge(self, graph: GraphObjective, state: State, trial: tuple[Any, Any, Any]) -> State:
        """Return the state after the trial was evaluated."""
        _, f, g = trial
        slope = ops.vdot(g, state["d"])
        search = self._search.judge(state, f, slope, graph.epsilon)
        first = state["stage"] == _START
        later = ops.logical_not(first)
        moved = ops.logical_and(later, search["phase"] == ACCEPTED)
        failed = ops.logical_and(later, search["phase"] >= FAILED)
        taken = ops.logical_or(first, moved)
        after = {**accepted(state, taken, moved, trial, graph.epsilon), **search}
        stalled = search["phase"] == STALLED
        why = ops.where(stalled, code_of(Status.STAGNATED), code_of(Status.LINESEARCH_FAILED))
        failure = ops.where(ops.logical_and(failed, state["descends"]), why, RUNNING)
        settled = ops.logical_and(moved, slope >= self.c2 * state["slope"])
        stage = ops.where(taken, _NEWTON, ops.where(failed, _DESCENT, _SEARCH))
        return {
            **after,
            "stage": ops.cast(stage, "int32"),
            "status": status(self, state, after, settled, failure),
        }
