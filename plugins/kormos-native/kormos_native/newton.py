"""What truncated Newton methods share: options, state, and when to end.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from kormos_core.loop import RUNNING, Progress, code_of, ops
from kormos_core.options import NONNEGATIVE, Rule, optional, whole
from kormos_core.result import Status
from kormos_native.rounding import rounding_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.loop import State

__all__ = [
    "GTOL",
    "RULES",
    "NewtonOptions",
    "accepted",
    "first_state",
    "gradient_tolerance",
    "progress",
    "status",
]

_SHARE: Final = Rule(
    "a number above 0, at most 1", lambda value: NONNEGATIVE.accepts(value) and 0 < value <= 1
)

RULES: Final = {
    "gtol": NONNEGATIVE,
    "ftol": NONNEGATIVE,
    "maxcg": optional(whole(1)),
    "maxfun": whole(1),
    "hvp_fraction": _SHARE,
    "tol": optional(NONNEGATIVE),
}
"""Rules for the options that the methods share."""

GTOL: Final = 1e-5
"""Default of the gradient's tolerance."""

_PATIENCE: Final = 5  # iterations that bring nothing visible


class NewtonOptions(Protocol):
    """The options that truncated Newton methods share; see `RULES`."""

    @property
    def gtol(self) -> float:
        """Tolerance of the gradient."""
        ...

    @property
    def ftol(self) -> float:
        """Tolerance of the loss."""
        ...

    @property
    def maxcg(self) -> int | None:
        """Most products an iteration."""
        ...

    @property
    def maxfun(self) -> int:
        """Most evaluations."""
        ...

    @property
    def hvp_fraction(self) -> float:
        """Share of the samples in a product."""
        ...

    @property
    def tol(self) -> float | None:
        """Tolerance of the gradient where that is left at its default."""
        ...


def first_state(x0: NDArray[np.float64]) -> dict[str, Any]:
    """Return what the states have in common, before the first evaluation.

    Parameters
    ----------
    x0 : ndarray, shape (n,), float64
        Starting point.

    Returns
    -------
    dict of str to ndarray
        ``x``, ``f``, ``g`` and counts; ``norm``, the Euclidean norm of the gradient that the
        last forcing ``term`` was made for; ``reference``, loss and norm of the gradient after
        the last visible progress, and iterations since; ``stage``, in the method's own words.
    """
    return {
        "x": x0,
        "f": np.float64(np.nan),
        "g": np.zeros_like(x0),
        "norm": np.float64(0.0),
        "term": np.float64(0.0),
        "reference": np.zeros(3),
        **dict.fromkeys(("stage", "iteration", "num_fg", "num_hvp", "status"), np.int32(RUNNING)),
    }


def progress(state: State) -> Progress:
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


def accepted(
    state: State, taken: Any, moved: Any, trial: tuple[Any, Any, Any], epsilon: float
) -> State:
    """Return the state after an evaluation, but for its status.

    Parameters
    ----------
    state : dict of str to tensor
        The state before it.
    taken, moved : tensor, scalar, bool
        Whether the trial is the latest point now, and whether that is an iteration.
    trial : tuple of tensor
        ``x``, ``f`` and ``g`` of the trial.
    epsilon : float
        Relative rounding error of the loss.

    Returns
    -------
    dict of str to tensor
        The state.
    """
    x, f, g = (ops.where(taken, new, state[name]) for name, new in zip("xfg", trial, strict=True))
    f_seen, norm_seen, idle = ops.unstack(state["reference"], 3)
    norm = ops.sqrt(ops.vdot(g, g))
    lower = f_seen - f > rounding_error(f_seen, epsilon)
    seen = ops.logical_or(ops.logical_or(lower, norm <= 0.5 * norm_seen), state["num_fg"] == 0)
    reference = (
        ops.where(seen, f, f_seen),
        ops.where(seen, norm, norm_seen),
        ops.where(seen, 0.0, idle + ops.cast(moved, "float64")),
    )
    return {
        **state,
        "x": x,
        "f": f,
        "g": g,
        "reference": ops.stack(reference),
        "iteration": state["iteration"] + ops.cast(moved, "int32"),
        "num_fg": state["num_fg"] + 1,
    }


def status(options: NewtonOptions, before: State, after: State, settled: Any, failure: Any) -> Any:
    """Return the code of the reason to end, or `RUNNING`.

    Parameters
    ----------
    options : NewtonOptions
        The method's options.
    before, after : dict of str to tensor
        The state before and after the evaluation.
    settled : tensor, scalar, bool
        Whether it ended an iteration whose step was not cut short: one that was says nothing
        of convergence.
    failure : tensor, scalar, int32
        The method's own reason, or `RUNNING`.

    Returns
    -------
    tensor, scalar, int32
        The code.

    Notes
    -----
    `Status.STAGNATED` is told after 5 iterations in which the loss fell by no more than its
    rounding errors and the gradient's norm was not halved.
    """
    f_old, f = before["f"], after["f"]
    spent = ops.where(after["num_fg"] >= options.maxfun, code_of(Status.MAX_EVALS), RUNNING)
    code = ops.where(failure == RUNNING, spent, failure)
    code = ops.where(after["reference"][2] >= _PATIENCE, code_of(Status.STAGNATED), code)
    if options.ftol > 0.0:
        size = ops.maximum(1.0, ops.maximum(ops.abs(f_old), ops.abs(f)))
        flat = ops.logical_and(settled, f_old - f <= options.ftol * size)
        code = ops.where(flat, code_of(Status.F_TOL), code)
    largest = ops.max(ops.abs(after["g"]))
    code = ops.where(largest <= gradient_tolerance(options), code_of(Status.GRAD_TOL), code)
    finite = ops.isfinite(f + largest)
    return ops.cast(ops.where(finite, code, code_of(Status.NONFINITE)), "int32")


def gradient_tolerance(options: NewtonOptions) -> float:
    """Return `gtol`, or `tol` where `gtol` is left at its default.

    Parameters
    ----------
    options : NewtonOptions
        The options.

    Returns
    -------
    float
        The tolerance.
    """
    return options.gtol if options.tol is None or options.gtol != GTOL else options.tol
