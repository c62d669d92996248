"""The iteration that the L-BFGS methods share: one evaluation a call.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``d`` direction (n,),
``slope`` derivative of the loss along it; all float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, final

import numpy as np

from kormos_core.loop import RUNNING, Progress, code_of, ops
from kormos_core.result import Status
from kormos_native.history import empty_history, forget, learn
from kormos_native.line_search import ACCEPTED, FAILED, STALLED, idle
from kormos_native.region import Box, Everywhere

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds
    from kormos_core.loop import GraphObjective, State
    from kormos_native.line_search import LineSearch
    from kormos_native.region import Region

__all__ = ["QuasiNewton"]


class _Verdict(NamedTuple):
    """What an evaluation was good for; the first three are scalar bools."""

    first: Any  # it was that of the starting point
    moved: Any  # the trial is the next iterate
    failed: Any  # the line search has ended without one
    search: State  # its state


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class QuasiNewton:
    """L-BFGS as a state and a function that advances it (`LoopMethod`).

    Attributes
    ----------
    maxcor : int
        Most pairs that describe the curvature.
    ftol, gtol : float
        Tolerances of the loss and of the gradient, as the solvers' options.
    maxfun : int
        Most evaluations.
    search : LineSearch
        The line search.
    """

    maxcor: int
    ftol: float
    gtol: float
    maxfun: int
    search: LineSearch
    uses_keras: ClassVar[bool] = False

    def init(self, x0: NDArray[np.float64], bounds: Bounds | None) -> dict[str, Any]:
        """Return the state before the first evaluation.

        Parameters
        ----------
        x0 : ndarray, shape (n,), float64
            Starting point, inside the bounds.
        bounds : Bounds or None
            Box on the parameters.

        Returns
        -------
        dict of str to ndarray
            The state; ``restarted`` is 1 while ``d`` is a direction of steepest descent.
        """
        box = {} if bounds is None else {"lower": bounds.lower, "upper": bounds.upper}
        counts = ("iteration", "num_fg", "status", "restarted")
        return {
            "x": x0,
            "f": np.float64(np.nan),
            "g": np.zeros_like(x0),
            "d": np.zeros_like(x0),
            "slope": np.float64(0.0),
            **idle(),
            **empty_history(self.maxcor, x0.size),
            **dict.fromkeys(counts, np.int32(0)),
            **box,
        }

    def progress(self, state: State) -> Progress:
        """Tell how far a state is.

        Parameters
        ----------
        state : dict of str to tensor
            The state.

        Returns
        -------
        Progress
            Its counts, point and status.
        """
        point = (state["iteration"], state["x"], state["f"], state["g"])
        return Progress(*point, state["num_fg"], ops.zeros((), "int32"), state["status"])

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
        region = Box(state["lower"], state["upper"]) if "lower" in state else Everywhere()
        trial = region.trial(state["x"], state["step"], state["d"])
        f, g = graph.value_and_grad(trial)
        slope = region.slope(trial, g, state["d"])
        verdict = self._judge(graph, state, f, slope)
        taken = ops.logical_or(verdict.first, verdict.moved)
        after = {
            **state,
            "x": ops.where(taken, trial, state["x"]),
            "f": ops.where(taken, f, state["f"]),
            "g": ops.where(taken, g, state["g"]),
            "iteration": state["iteration"] + ops.cast(verdict.moved, "int32"),
            "num_fg": state["num_fg"] + 1,
        }
        s = trial - state["x"]
        y = region.learnt(s, g - state["g"])
        history, product = learn(
            state, s, y, region.reduced(after["x"], after["g"]), verdict.moved
        )
        after.update(history)
        return {
            **self._begin(region, after, product, verdict),
            "status": self._status(region, state, after, slope, verdict),
        }

    def _judge(self, graph: GraphObjective, state: State, f: Any, slope: Any) -> _Verdict:
        search = self.search.judge(state, f, slope, graph.epsilon)
        first = state["num_fg"] == 0
        later = ops.logical_not(first)
        moved = ops.logical_and(later, search["phase"] == ACCEPTED)
        failed = ops.logical_and(later, search["phase"] >= FAILED)
        return _Verdict(first, moved, failed, search)

    def _begin(self, region: Region, after: State, product: Any, verdict: _Verdict) -> State:
        """Return the state with a new direction, or with the search going on."""
        x, g = after["x"], after["g"]
        learned = region.direction(x, g, product)
        steepest = region.direction(x, g, g)
        slope, slope_steepest = region.slope(x, g, learned), region.slope(x, g, steepest)
        restarted = ops.logical_or(verdict.failed, ops.logical_not(slope < 0.0))
        slope = ops.where(restarted, slope_steepest, slope)
        unit = ops.minimum(1.0, 1.0 / ops.sqrt(-slope))
        scaled = ops.where(after["num_pairs"] > 0, after["scale"], unit)
        plain = ops.logical_or(restarted, verdict.first)
        search = self.search.start(after["f"], slope, ops.where(plain, scaled, 1.0))
        begins = ops.logical_or(verdict.failed, ops.logical_or(verdict.first, verdict.moved))
        new = {
            **search,
            "d": ops.where(restarted, steepest, learned),
            "slope": slope,
            "restarted": ops.cast(plain, "int32"),
        }
        old = {**after, **verdict.search}
        chosen = {name: ops.where(begins, new[name], old[name]) for name in new}
        return {**after, **forget(after, restarted), **chosen}

    def _status(
        self, region: Region, before: State, after: State, slope: Any, verdict: _Verdict
    ) -> Any:
        """Return the code of the reason to end, or `RUNNING`."""
        f_old, f = before["f"], after["f"]
        size = ops.maximum(1.0, ops.maximum(ops.abs(f_old), ops.abs(f)))
        # a step that was cut short, not searched to its end, says nothing of convergence
        searched = ops.logical_and(verdict.moved, slope >= self.search.c2 * before["slope"])
        flat = ops.logical_and(searched, f_old - f <= self.ftol * size)
        stuck = ops.logical_and(verdict.failed, before["restarted"] > 0)
        finite = ops.isfinite(f + ops.sum(ops.abs(after["g"])))
        stalled = verdict.search["phase"] == STALLED
        status = ops.where(
            stuck,
            ops.where(stalled, code_of(Status.STAGNATED), code_of(Status.LINESEARCH_FAILED)),
            ops.where(after["num_fg"] >= self.maxfun, code_of(Status.MAX_EVALS), RUNNING),
        )
        unchanged = Status.F_TOL if self.ftol > 0.0 else Status.STAGNATED
        status = ops.where(flat, code_of(unchanged), status)
        small = region.residual(after["x"], after["g"]) <= self.gtol
        status = ops.where(small, code_of(Status.GRAD_TOL), status)
        return ops.cast(ops.where(finite, status, code_of(Status.NONFINITE)), "int32")
