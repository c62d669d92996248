"""Levenberg-Marquardt: damped least squares in a trust region.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``s`` step (n,), ``D`` scale
of each parameter (n,); all float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, final

import numpy as np

from kormos_core.loop import RUNNING, Progress, code_of, minimize_in_graph, ops
from kormos_core.options import NONNEGATIVE, POSITIVE, check_options, optional, whole, words
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
    from kormos_native.linearization import Linearized, Step

__all__ = ["LevenbergMarquardt"]

_EPSILON: Final = float(np.finfo(np.float64).eps)
_ACCEPTED: Final = 1e-4  # share of what the model promised that an accepted step gains
_POOR: Final = 0.25  # share at and below which the region shrinks
_GOOD: Final = 0.75  # share from which on it grows
_TOO_GOOD: Final = 2.0  # share beyond which the model is not to be trusted
_TOLERANCES: Final = ("ftol", "xtol", "gtol")


class _Trial(NamedTuple):
    """A step that is tried, and what it was good for."""

    x: Any
    f: Any
    g: Any
    radius: Any
    damping: Any
    moved: Any
    num_fg: Any
    status: Any


class _Found(NamedTuple):
    """What a trial tells of the step."""

    gain: Any  # of the loss
    ratio: Any  # of the gain and what was promised; -1 where there is nothing to compare
    hidden: Any  # whether rounding hides both
    good: Any  # whether the trial is finite, and anything was promised
    shrinkage: Any  # of the region where the ratio is poor: by the parabola of the loss


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LevenbergMarquardt:
    """Minimize a sum of squares by damped Gauss-Newton steps in a trust region.

    Attributes
    ----------
    ftol : float
        Ends the solve once a step neither promises nor brings more than this part of the
        loss.
    xtol : float
        Ends the solve once a step changes no parameter by more than this part of it.
    gtol : float
        Ends the solve once the cosine of the angle between the residuals and every column of
        their Jacobian is at most this.
    factor : float
        First radius of the trust region, in units of the length of the starting point in
        its scale; where that is 0, of the length of the residuals.
    linear_solver : {"auto", "qr", "cholesky", "cg"}
        How the linear least-squares problem of a step is solved. ``"qr"``: from the
        triangular factor of the Jacobian, which squares nothing, for ill-conditioned problems
        of few parameters. ``"cholesky"``: from ``J' J``, at a third of the cost.
        ``"cg"``: by conjugate gradients from products alone, without a matrix. ``"auto"``: QR
        up to 200 parameters, Cholesky up to 3,000, conjugate gradients beyond.
    maxcg : int or None
        With ``"cg"`` most products for a step; None means ``min(max(20, 2 n), 200)``.
    maxfun : int
        Most evaluations.
    tol : float or None
        Sets `ftol`, `xtol` and `gtol` where these are left at their defaults.

    Notes
    -----
    Cost of an iteration: one sweep for the Jacobian's rows, one evaluation of loss and
    gradient for each trial; and for each damping that is tried, some two a trial, a
    factorization of ``2 n`` rows (QR, after one of n rows) or n rows (Cholesky). Memory: a
    few matrices of n x n numbers, and the rows of one slice of the data; neither grows with
    the data. The sweep counts as one evaluation.

    With ``"cg"`` the sweep is replaced by one evaluation of loss and gradient, and by
    Gauss-Newton products, a sweep each, of which at most `maxcg`; trials in a smaller region
    cost none. Memory is some ten vectors. The parameters have the scale 1, so that only the
    other two are invariant to their units; `factor` is in units of the starting point, or of
    1 where that is 0; and `gtol` bounds the cosine of the angle between the residuals and
    their steepest descent alone.

    There may be fewer residuals than parameters: the damping is never below what keeps the
    equations regular. A trial whose loss is not finite shrinks the region. Where rounding
    hides both the gain and what was promised, the gain is told by the slopes at the two ends;
    if these do not bear it out, or no trial is accepted until less is promised than one
    rounding error of the loss, the solve has stagnated. A step that was good and cut short by
    the region ends no solve, however small it is.

    References
    ----------
    K. Levenberg, "A Method for the Solution of Certain Non-Linear Problems in Least
    Squares", Quart. Appl. Math. 2(2), 1944, doi:10.1090/qam/10666.
    D. W. Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters",
    J. SIAM 11(2), 1963, doi:10.1137/0111030.
    J. J. Moré, "The Levenberg-Marquardt Algorithm: Implementation and Theory", in
    "Numerical Analysis", LNM 630, Springer, 1978, algorithm 7.1, doi:10.1007/BFb0067700.
    """

    ftol: float = 1e-14
    xtol: float = 1e-10
    gtol: float = 1e-10
    factor: float = 1.0
    linear_solver: str = "auto"
    maxcg: int | None = None
    maxfun: int = 15000
    tol: float | None = None
    uses_keras: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            **dict.fromkeys(_TOLERANCES, NONNEGATIVE),
            "factor": POSITIVE,
            "linear_solver": words(*SOLVERS),
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
            "radius": np.float64(0.0),
            "damping": np.float64(0.0),
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
        at, radius = self._linearize(graph, state)
        f = ops.where(ops.isnan(state["f"]), at.f, state["f"])
        num_fg = state["num_fg"] + 1
        start = _Trial(
            x=state["x"],
            f=f,
            g=at.g,
            radius=radius,
            damping=state["damping"],
            moved=num_fg < 0,
            num_fg=num_fg,
            status=code_at(at, f, tolerance(self, "gtol"), spent=num_fg >= self.maxfun),
        )

        def goes_on(*loop: Any) -> Any:
            trial = _Trial(*loop)
            return ops.logical_and(trial.status == RUNNING, ops.logical_not(trial.moved))

        def attempt(*loop: Any) -> tuple[Any, ...]:
            return tuple(self._attempt(graph, state, at, f, _Trial(*loop)))

        ended = _Trial(*ops.while_loop(goes_on, attempt, tuple(start)))
        return {
            **{name: getattr(ended, name) for name in _KEPT},
            "scale": at.scale,
            "iteration": state["iteration"] + ops.cast(ended.moved, "int32"),
            "num_hvp": state["num_hvp"] + at.num_products,
        }

    def _linearize(self, graph: GraphObjective, state: State) -> tuple[Linearized, Any]:
        """Return the model at the latest point, and the radius of the first trial there."""
        solver, x = choose_solver(self.linear_solver, graph.size), state["x"]

        def radius(length: Any, instead: Any) -> Any:
            first = self.factor * ops.where(length > 0.0, length, instead)
            return ops.where(state["radius"] > 0.0, state["radius"], first)

        if solver == CG:
            edge = radius(_length(x), 1.0)
            return truncated_model(graph, x, edge, self.maxcg), edge
        at = linearize(graph, x, state["scale"], solver)
        # a scaled step of one parameter is as long as what it changes of the residuals
        return at, radius(_length(at.scale * x), ops.sqrt(2.0 * at.f))

    def _attempt(
        self, graph: GraphObjective, state: State, at: Linearized, f: Any, before: _Trial
    ) -> _Trial:
        """Try one step."""
        step = at.within(before.radius, before.damping)
        x = state["x"] + step.s
        f_new, g_new = graph.value_and_grad(x)
        found = _judge(at, step, (f, f_new, g_new), graph.epsilon)
        moved = found.ratio >= _ACCEPTED
        # the first steps tell how long steps are
        length = ops.where(ops.isfinite(step.length), step.length, before.radius)
        first = state["iteration"] == 0
        radius = ops.where(first, ops.minimum(before.radius, length), before.radius)
        after = _Trial(
            x=ops.where(moved, x, before.x),
            f=ops.where(moved, f_new, before.f),
            g=ops.where(moved, g_new, before.g),
            **_region(radius, length, step.damping, found),
            moved=moved,
            num_fg=before.num_fg + 1,
            status=before.status,
        )
        size = _length(at.scale * state["x"])
        return after._replace(status=self._status(after, step, found, f, size))

    def _status(self, after: _Trial, step: Step, found: _Found, f: Any, size: Any) -> Any:
        """Return the code of the reason to end after a trial, or `RUNNING`."""
        change = ops.maximum(ops.abs(found.gain), step.promised)
        unseen = ops.logical_or(found.hidden, ops.abs(step.promised) <= _EPSILON * f)
        collapsed = after.radius <= _EPSILON * size
        hopeless = ops.logical_and(ops.logical_not(after.moved), ops.logical_or(unseen, collapsed))
        hopeless = ops.logical_or(hopeless, change <= _EPSILON * f)
        # a region that cut a good step short, or in which none is good, tells no convergence
        held = ops.logical_and(after.moved, found.ratio < _GOOD)
        settled = ops.logical_and(found.good, ops.logical_or(step.damping == 0.0, held))
        small = ops.all(ops.abs(step.s) <= tolerance(self, "xtol") * ops.abs(after.x))
        small = ops.logical_and(after.moved, small)
        flat = ops.logical_and(change <= tolerance(self, "ftol") * f, found.ratio <= _TOO_GOOD)
        code = ops.where(after.num_fg >= self.maxfun, code_of(Status.MAX_EVALS), RUNNING)
        code = ops.where(hopeless, code_of(Status.STAGNATED), code)
        code = ops.where(ops.logical_and(settled, small), code_of(Status.X_TOL), code)
        code = ops.where(ops.logical_and(settled, flat), code_of(Status.F_TOL), code)
        return ops.cast(code, "int32")


def _judge(at: Linearized, step: Step, losses: tuple[Any, Any, Any], epsilon: float) -> _Found:
    """Compare what a step gains with what the model promised."""
    f, f_new, g_new = losses
    finite = ops.isfinite(f_new + ops.max(ops.abs(g_new)))
    good = ops.logical_and(finite, step.promised > 0.0)
    gain, slope = f - f_new, ops.vdot(at.g, step.s)
    hidden = ops.maximum(ops.abs(gain), step.promised) <= rounding_error(f, epsilon)
    told = ops.where(hidden, -0.5 * (slope + ops.vdot(g_new, step.s)), gain)
    ratio = ops.where(good, told / ops.where(good, step.promised, 1.0), -1.0)

    worse = ops.logical_and(good, gain < 0.0)
    parabola = 0.5 * slope / ops.where(worse, slope + gain, -1.0)
    shrinkage = ops.clip(ops.where(worse, parabola, 0.5), 0.1, 0.5)
    return _Found(gain, ratio, hidden, good, ops.where(good, shrinkage, 0.25))


def _region(radius: Any, length: Any, damping: Any, found: _Found) -> dict[str, Any]:
    """Return ``radius`` and ``damping`` for the next trial."""
    poor = found.ratio <= _POOR
    grows = ops.logical_or(damping == 0.0, found.ratio >= _GOOD)
    smaller = found.shrinkage * ops.minimum(radius, 10.0 * length)
    larger = ops.where(grows, 2.0 * length, radius)
    eased = ops.where(grows, 0.5 * damping, damping)
    return {
        "radius": ops.where(poor, smaller, larger),
        "damping": ops.where(poor, damping / found.shrinkage, eased),
    }


def _length(v: Any) -> Any:
    return ops.sqrt(ops.vdot(v, v))


_KEPT: Final = ("x", "f", "g", "radius", "damping", "num_fg", "status")
"""What of the last trial is the next state."""
