"""Truncated Newton in a trust region.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``s`` step (n,), ``r`` its
residual ``g + H s`` (n,); all float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, final

import numpy as np

from kormos_core.loop import RUNNING, code_of, minimize_in_graph, ops
from kormos_core.options import POSITIVE, check_options, ordered, within
from kormos_core.result import Status
from kormos_native.conjugate_gradients import conjugate_gradients
from kormos_native.dogleg import Path, dogleg
from kormos_native.forcing import newton_equation
from kormos_native.newton import (
    GTOL,
    RULES,
    accepted,
    first_state,
    progress,
    status,
)
from kormos_native.rounding import rounding_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, Progress, State

__all__ = ["TrustNCG"]

# Stages: what the next call does before it evaluates.
_START: Final = 0  # nothing: it evaluates the starting point
_NEWTON: Final = 1  # it solves for a step
_AGAIN: Final = 2  # it takes the last one, shortened

_EPSILON: Final = float(np.finfo(np.float64).eps)
_AT_EDGE: Final = 0.99  # of the radius


class _Verdict(NamedTuple):
    """What a trial was good for."""

    moved: Any  # it is the next iterate
    hopeless: Any  # there is nothing to gain that the loss could tell
    radius: Any  # of the next trial
    at_edge: Any  # it was cut short


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrustNCG:
    """Minimize by truncated Newton in a trust region inside the compiled graph.

    Attributes
    ----------
    initial_trust_radius : float
        First radius of the trust region.
    max_trust_radius : float
        Longest step that is ever proposed.
    eta : float
        A step is accepted where it gains more than this share of what the model promised,
        in [0, 0.25).
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    ftol : float
        Ends the solve once ``(f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1) <= ftol``; 0 is
        never.
    maxcg : int or None
        Most Hessian products for a step; None means ``min(max(20, 2 n), 200)``.
    maxfun : int
        Most evaluations of loss and gradient.
    hvp_fraction : float
        Share of the samples that Hessian products are made from, above 0, at most 1; another
        part of the data for each iteration.
    tol : float or None
        Sets `gtol` where that is left at its default.

    Notes
    -----
    Cost of an iteration: as many products as its forcing term asks for (`newton_equation`),
    all at one point, and one evaluation of loss and gradient for each trial. Memory: some ten
    vectors. A rejected trial is no iteration.

    Deviations from algorithms 4.1 and 7.2. After a rejected trial no equation is solved: the
    step is shortened along the dogleg of the last solution (`dogleg`), without a product, and
    the region is a quarter as long as the trial. Where rounding hides both the gain and what
    was promised, the gain is told by the slopes at the two ends, as in the line search of
    Hager and Zhang; if these do not bear it out, the solve has stagnated.

    References
    ----------
    T. Steihaug, "The Conjugate Gradient Method and Trust Regions in Large Scale
    Optimization", SIAM J. Numer. Anal. 20(3), 1983, doi:10.1137/0720042.
    P. L. Toint, "Towards an Efficient Sparsity Exploiting Newton Method for Minimization",
    in "Sparse Matrices and Their Uses", Academic Press, 1981, pages 57-88.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, algorithms
    4.1 and 7.2, doi:10.1007/978-0-387-40065-5.
    A. R. Conn, N. I. M. Gould, P. L. Toint, "Trust Region Methods", SIAM, 2000, section
    17.4.2, doi:10.1137/1.9780898719857.
    """

    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1e10
    eta: float = 0.15
    gtol: float = GTOL
    ftol: float = 0.0
    maxcg: int | None = None
    maxfun: int = 15000
    hvp_fraction: float = 1.0
    tol: float | None = None
    uses_keras: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            **RULES,
            "initial_trust_radius": POSITIVE,
            "max_trust_radius": POSITIVE,
            "eta": within(0.0, 0.25),
        }
        check_options(self, rules)
        first, largest = self.initial_trust_radius, self.max_trust_radius
        what = f"initial_trust_radius={first!r}, max_trust_radius={largest!r}"
        cure = "Keep the initial radius below the largest one."
        ordered(self, what, holds=first < largest, cure=cure)

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
            "s": np.zeros_like(x0),
            "r": np.zeros_like(x0),
            "curvature": np.float64(0.0),
            "radius": np.float64(self.initial_trust_radius),
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
        kept = {name: state[name] for name in _SOLVED}
        solved = ops.cond(
            state["stage"] == _NEWTON, lambda: self._solve(graph, state), lambda: kept
        )
        state = {**state, **solved}
        path = Path(state["g"], state["s"], state["r"], state["curvature"])
        s, promised = dogleg(path, state["radius"])
        x = state["x"] + s
        trial = (x, *graph.value_and_grad(x))
        verdict = self._judge(state, trial, s, promised, graph.epsilon)

        first = state["stage"] == _START
        moved = ops.logical_and(verdict.moved, ops.logical_not(first))
        taken = ops.logical_or(moved, first)
        after = {
            **accepted(state, taken, moved, trial, graph.epsilon),
            "stage": ops.where(taken, _NEWTON, _AGAIN),
            "radius": ops.where(first, state["radius"], verdict.radius),
        }
        hopeless = ops.logical_and(verdict.hopeless, ops.logical_not(taken))
        failure = ops.where(hopeless, code_of(Status.STAGNATED), RUNNING)
        settled = ops.logical_and(moved, ops.logical_not(verdict.at_edge))
        return {**after, "status": status(self, state, after, settled, failure)}

    def _solve(self, graph: GraphObjective, state: State) -> State:
        """Return what a solution of Newton's equation changes: the names in `_SOLVED`."""
        product, equation, terms = newton_equation(self, graph, state)
        newton = conjugate_gradients(product, equation._replace(radius=state["radius"]))
        return {
            **terms,
            "s": newton.step,
            "r": newton.residual,
            "curvature": newton.curvature,
            "num_hvp": state["num_hvp"] + newton.num_products,
        }

    def _judge(
        self, state: State, trial: tuple[Any, Any, Any], s: Any, promised: Any, epsilon: float
    ) -> _Verdict:
        """Compare what a step gains with what the model promised."""
        x, f, g = trial
        gain = state["f"] - f
        noise = rounding_error(state["f"], epsilon)
        hidden = ops.maximum(ops.abs(gain), promised) <= noise
        gain = ops.where(hidden, -0.5 * ops.vdot(s, state["g"] + g), gain)
        finite = ops.isfinite(f + ops.max(ops.abs(g)))
        good = ops.logical_and(finite, ops.logical_and(promised > 0.0, gain > 0.0))
        moved = ops.logical_and(good, gain > self.eta * promised)

        length, radius = ops.sqrt(ops.vdot(s, s)), state["radius"]
        at_edge = length >= _AT_EDGE * radius
        grows = ops.logical_and(at_edge, gain > 0.75 * promised)
        larger = ops.minimum(2.0 * radius, self.max_trust_radius)
        fair = ops.logical_and(good, gain >= 0.25 * promised)
        radius = ops.where(fair, ops.where(grows, larger, radius), 0.25 * length)
        size = ops.maximum(ops.sqrt(ops.vdot(x, x)), self.initial_trust_radius)
        hopeless = ops.logical_or(hidden, radius <= _EPSILON * size)
        return _Verdict(moved, hopeless, radius, at_edge)


_SOLVED: Final = ("norm", "term", "s", "r", "curvature", "num_hvp")
