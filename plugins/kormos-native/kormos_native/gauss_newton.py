"""Gauss-Newton: undamped least-squares steps with a line search.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``s`` step (n,); all float64
tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, final

import numpy as np

from kormos_core.loop import RUNNING, Progress, code_of, minimize_in_graph, ops
from kormos_core.options import NONNEGATIVE, check_options, optional, whole, within, words
from kormos_core.result import Status
from kormos_native.linearization import (
    CG,
    SOLVERS,
    choose_solver,
    code_at,
    linearize,
    tolerance,
)
from kormos_native.rounding import rounding_error
from kormos_native.truncated import truncated_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, State
    from kormos_native.linearization import Linearized

__all__ = ["GaussNewton"]


_EPSILON: Final = float(np.finfo(np.float64).eps)


class _Line(NamedTuple):
    """A step that is searched along, and what it promises."""

    x: Any
    f: Any
    g: Any
    s: Any
    slope: Any
    promised: Any
    noise: Any
    tries: Any


class _Search(NamedTuple):
    """Where the line search is."""

    x: Any
    f: Any
    g: Any
    share: Any
    moved: Any
    num_fg: Any
    status: Any


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GaussNewton:
    """Minimize a sum of squares by Gauss-Newton steps and a backtracking line search.

    Attributes
    ----------
    ftol : float
        Ends the solve once a full step promises no more than this part of the loss.
    xtol : float
        Ends the solve once a full step changes no parameter by more than this part of it.
    gtol : float
        Ends the solve once the cosine of the angle between the residuals and every column of
        their Jacobian is at most this.
    linear_solver : {"auto", "qr", "cholesky", "cg"}
        As of `LevenbergMarquardt`.
    c1 : float
        A step is accepted where it gains this share of what its slope promises.
    maxls : int
        Most evaluations of a line search; each one halves the step or shortens it more.
    maxcg : int or None
        As of `LevenbergMarquardt`.
    maxfun : int
        Most evaluations.
    tol : float or None
        Sets `ftol`, `xtol` and `gtol` where these are left at their defaults.

    Notes
    -----
    Cost of an iteration: as of `LevenbergMarquardt`, with one factorization instead of two or
    so. Choose that one unless the residuals are small or nearly linear: Gauss-Newton steps
    of an ill-conditioned Jacobian are long and nearly orthogonal to the gradient. Equations
    that are singular to rounding are regularized by as little as solves them.

    `ftol` bounds the relative offset of Bates and Watts, squared.

    References
    ----------
    D. M. Bates, D. G. Watts, "A Relative Offset Orthogonality Convergence Criterion for
    Nonlinear Least Squares", Technometrics 23(2), 1981, doi:10.1080/00401706.1981.10486260.
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, section 10.3
    (the Gauss-Newton method) and algorithm 3.1, doi:10.1007/978-0-387-40065-5.
    """

    ftol: float = 1e-14
    xtol: float = 1e-10
    gtol: float = 1e-10
    linear_solver: str = "auto"
    c1: float = 1e-4
    maxls: int = 50
    maxcg: int | None = None
    maxfun: int = 15000
    tol: float | None = None
    uses_keras: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "ftol": NONNEGATIVE,
            "xtol": NONNEGATIVE,
            "gtol": NONNEGATIVE,
            "linear_solver": words(*SOLVERS),
            "c1": within(0.0, 0.5),
            "maxls": whole(1),
            "maxcg": optional(whole(1)),
            "maxfun": whole(1),
            "tol": optional(NONNEGATIVE),
        }
        check_options(self, rules)

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
            "x": x0,
            "f": np.float64(np.nan),
            "g": np.zeros_like(x0),
            "scale": np.zeros_like(x0),
            **dict.fromkeys(("iteration", "num_fg", "num_hvp", "status"), np.int32(RUNNING)),
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
        names = ("iteration", "x", "f", "g", "num_fg", "num_hvp", "status")
        return Progress(*(state[name] for name in names))

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the state after one more iteration.

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
        at = self._linearize(graph, state)
        f = ops.where(ops.isnan(state["f"]), at.f, state["f"])
        num_fg = state["num_fg"] + 1
        s, _, _, promised = at.undamped()
        line = _Line(
            x=state["x"],
            f=f,
            g=at.g,
            s=s,
            slope=ops.vdot(at.g, s),
            promised=promised,
            noise=rounding_error(f, graph.epsilon),
            tries=num_fg + self.maxls,
        )
        start = _Search(
            x=state["x"],
            f=f,
            g=at.g,
            share=ops.ones_like(f),
            moved=num_fg < 0,
            num_fg=num_fg,
            status=code_at(at, f, tolerance(self, "gtol"), spent=num_fg >= self.maxfun),
        )

        def goes_on(*loop: Any) -> Any:
            search = _Search(*loop)
            return ops.logical_and(search.status == RUNNING, ops.logical_not(search.moved))

        def attempt(*loop: Any) -> tuple[Any, ...]:
            return tuple(self._attempt(graph, line, _Search(*loop)))

        ended = _Search(*ops.while_loop(goes_on, attempt, tuple(start)))
        return {
            **{name: getattr(ended, name) for name in ("x", "f", "g", "num_fg", "status")},
            "scale": at.scale,
            "iteration": state["iteration"] + ops.cast(ended.moved, "int32"),
            "num_hvp": state["num_hvp"] + at.num_products,
        }

    def _linearize(self, graph: GraphObjective, state: State) -> Linearized:
        """Return the model at the latest point."""
        solver = choose_solver(self.linear_solver, graph.size)
        if solver == CG:
            return truncated_model(graph, state["x"], None, self.maxcg)
        return linearize(graph, state["x"], state["scale"], solver)

    def _attempt(self, graph: GraphObjective, line: _Line, before: _Search) -> _Search:
        """Evaluate one point on the line."""
        x = line.x + before.share * line.s
        f, g = graph.value_and_grad(x)
        finite = ops.isfinite(f + ops.max(ops.abs(g)))
        gain, drop = line.f - f, -before.share * line.slope
        hidden = ops.maximum(ops.abs(gain), drop) <= line.noise
        by_slopes = -0.5 * before.share * ops.vdot(line.s, line.g + g)
        told = ops.where(hidden, by_slopes, gain)
        enough = ops.logical_and(told > 0.0, told >= self.c1 * drop)
        moved = ops.logical_and(finite, ops.logical_and(line.slope < 0.0, enough))
        # where rounding hides the gain, shortened steps would go on for ever
        creeps = ops.logical_and(hidden, before.share < 1.0)
        moved = ops.logical_and(moved, ops.logical_not(creeps))
        parabola = 0.5 * drop / ops.where(drop > gain, drop - gain, 1.0)
        shorter = ops.clip(ops.where(finite, parabola, 0.25), 0.1, 0.5)
        after = _Search(
            x=ops.where(moved, x, before.x),
            f=ops.where(moved, f, before.f),
            g=ops.where(moved, g, before.g),
            share=ops.where(moved, before.share, before.share * shorter),
            moved=moved,
            num_fg=before.num_fg + 1,
            status=before.status,
        )
        still = ops.logical_or(hidden, ops.all(x == line.x))
        stuck = ops.logical_and(still, ops.logical_not(moved))
        stuck = ops.logical_or(stuck, ops.abs(line.promised) <= _EPSILON * line.f)
        return after._replace(status=self._status(line, before, after, stuck))

    def _status(self, line: _Line, before: _Search, after: _Search, stuck: Any) -> Any:
        """Return the code of the reason to end, or `RUNNING`."""
        code = ops.where(after.num_fg >= self.maxfun, code_of(Status.MAX_EVALS), RUNNING)
        failed = ops.logical_or(after.num_fg >= line.tries, line.slope >= 0.0)
        failed = ops.logical_and(failed, ops.logical_not(after.moved))
        code = ops.where(failed, code_of(Status.LINESEARCH_FAILED), code)
        code = ops.where(stuck, code_of(Status.STAGNATED), code)
        full = before.share == 1.0
        small = ops.all(ops.abs(line.s) <= tolerance(self, "xtol") * ops.abs(after.x))
        small = ops.logical_and(ops.logical_and(full, after.moved), small)
        code = ops.where(small, code_of(Status.X_TOL), code)
        flat = ops.logical_and(full, ops.abs(line.promised) <= tolerance(self, "ftol") * line.f)
        return ops.cast(ops.where(flat, code_of(Status.F_TOL), code), "int32")
