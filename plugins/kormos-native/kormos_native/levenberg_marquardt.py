"""Levenberg-Marquardt: damped least squares in a trust region.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``D`` scale of each
parameter (n,), ``p`` step times ``D`` (n,); all float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np
from keras import ops

from kormos_core.loop import RUNNING, Progress, code_of, minimize_in_graph
from kormos_core.options import NONNEGATIVE, POSITIVE, check_options, optional, whole, words
from kormos_core.result import Status
from kormos_native.damping import damped_step
from kormos_native.linearization import (
    CG,
    SOLVERS,
    choose_solver,
    gradient_code,
    linearize,
    tolerance,
)
from kormos_native.rounding import rounding_error
from kormos_native.truncated import truncated_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, State
    from kormos_native.linearization import Linearized

__all__ = ["LevenbergMarquardt"]

_EPSILON: Final = float(np.finfo(np.float64).eps)
_ACCEPTED: Final = 1e-4  # share of what the model promised that an accepted step gains
_POOR: Final = 0.25  # share at and below which the region shrinks
_GOOD: Final = 0.75  # share from which on it grows
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
    num_hvp: Any
    status: Any


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
        its scale.
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
    factorization of ``2 n`` rows (QR) or n rows (Cholesky). Memory: a few matrices of n x n
    numbers, and the rows of one slice of the data; neither grows with the data.
    The sweep counts as one evaluation. With ``"cg"`` it is replaced by one evaluation of
    loss and gradient, and by Gauss-Newton products, a sweep each, of which at most `maxcg`;
    memory is some ten vectors; the parameters have the scale 1, so that only the
    other two are invariant to their units.

    There may be fewer residuals than parameters: the damping is never below what keeps the
    equations regular. A trial whose loss is not finite shrinks the region. Where rounding
    hides both the gain and what was promised, the gain is told by the slopes at the two ends;
    if these do not bear it out, the solve has stagnated.

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
        solver = choose_solver(self.linear_solver, graph.size)
        x = state["x"]
        if solver == CG:
            at, step = truncated_model(graph, x, state["scale"], self.maxcg)
        else:
            at = linearize(graph, x, state["scale"], solver)

            def step(radius: Any, guess: Any) -> tuple[Any, Any, Any]:
                found = damped_step(at.model, radius, guess)
                return found.step, found.damping, 0

        length = _length(at.scale * x)
        first = self.factor * ops.where(length > 0.0, length, 1.0)
        f = ops.where(ops.isnan(state["f"]), at.f, state["f"])
        start = _Trial(
            x=x,
            f=f,
            g=at.g,
            radius=ops.where(state["radius"] > 0.0, state["radius"], first),
            damping=state["damping"],
            moved=state["num_fg"] < 0,
            num_fg=state["num_fg"] + 1,
            num_hvp=state["num_hvp"],
            status=gradient_code(at, f, tolerance(self, "gtol")),
        )

        def goes_on(*loop: Any) -> Any:
            trial = _Trial(*loop)
            return ops.logical_and(trial.status == RUNNING, ops.logical_not(trial.moved))

        def attempt(*loop: Any) -> tuple[Any, ...]:
            return tuple(self._attempt(graph, state, at, f, step, _Trial(*loop)))

        ended = _Trial(*ops.while_loop(goes_on, attempt, tuple(start)))
        return {
            **{name: getattr(ended, name) for name in _KEPT},
            "scale": at.scale,
            "iteration": state["iteration"] + ops.cast(ended.moved, "int32"),
        }

    def _attempt(
        self,
        graph: GraphObjective,
        state: State,
        at: Linearized,
        f: Any,
        step: Callable[[Any, Any], tuple[Any, Any, Any]],
        before: _Trial,
    ) -> _Trial:
        """Try one step."""
        p, damping, products = step(before.radius, before.damping)
        s = p / at.scale
        x = state["x"] + s
        f_new, g_new = graph.value_and_grad(x)
        finite = ops.isfinite(f_new + ops.max(ops.abs(g_new)))
        slope = ops.vdot(at.g, s)
        promised = -slope - 0.5 * at.model.bend(p)
        gain = f - f_new
        hidden = ops.maximum(ops.abs(gain), promised) <= rounding_error(f, graph.epsilon)
        by_slopes = -0.5 * ops.vdot(s, at.g + g_new)
        told = ops.where(hidden, by_slopes, gain)
        ratio = told / ops.where(promised > 0.0, promised, 1.0)
        good = ops.logical_and(finite, promised > 0.0)
        moved = ops.logical_and(good, ratio >= _ACCEPTED)

        length = _length(p)
        # the first step tells how long steps are
        radius = ops.where(
            state["iteration"] == 0, ops.minimum(before.radius, length), before.radius
        )
        parabola = 0.5 * slope / ops.where(gain < 0.0, slope + gain, -1.0)
        shrunk = ops.clip(ops.where(gain < 0.0, parabola, 0.5), 0.1, 0.5)
        shrunk = ops.where(good, shrunk, 0.25)
        poor = ops.logical_or(ops.logical_not(good), ratio <= _POOR)
        grows = ops.logical_or(damping == 0.0, ratio >= _GOOD)
        smaller = shrunk * ops.minimum(radius, 10.0 * length)
        larger = ops.where(grows, 2.0 * length, radius)
        radius = ops.where(poor, smaller, larger)
        eased = ops.where(grows, 0.5 * damping, damping)
        damping = ops.where(poor, damping / shrunk, eased)

        after = _Trial(
            x=ops.where(moved, x, before.x),
            f=ops.where(moved, f_new, before.f),
            g=ops.where(moved, g_new, before.g),
            radius=radius,
            damping=damping,
            moved=moved,
            num_fg=before.num_fg + 1,
            num_hvp=before.num_hvp + products,
            status=before.status,
        )
        flat = ops.logical_and(
            good, ops.maximum(ops.abs(gain), promised) <= tolerance(self, "ftol") * f
        )
        flat = ops.logical_and(flat, ratio <= 2.0)
        small = ops.all(ops.abs(s) <= tolerance(self, "xtol") * ops.abs(x))
        small = ops.logical_and(moved, small)
        hopeless = ops.logical_and(hidden, ops.logical_not(moved))
        hopeless = ops.logical_or(hopeless, radius <= _EPSILON * _length(at.scale * state["x"]))
        return after._replace(status=self._status_after(after, flat, small, hopeless))

    def _status_after(self, after: _Trial, flat: Any, small: Any, hopeless: Any) -> Any:
        """Return the code of the reason to end after a step, or `RUNNING`."""
        spent = after.num_fg >= self.maxfun
        code = ops.where(spent, code_of(Status.MAX_EVALS), RUNNING)
        code = ops.where(hopeless, code_of(Status.STAGNATED), code)
        code = ops.where(small, code_of(Status.X_TOL), code)
        return ops.cast(ops.where(flat, code_of(Status.F_TOL), code), "int32")


def _length(v: Any) -> Any:
    return ops.sqrt(ops.vdot(v, v))


_KEPT: Final = ("x", "f", "g", "radius", "damping", "num_fg", "num_hvp", "status")
"""What of the last trial is the next state."""
