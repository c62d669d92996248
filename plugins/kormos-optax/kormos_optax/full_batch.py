"""A transformation of gradients as a deterministic full-batch method: one evaluation a call.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kormos_core.errors import UnsupportedError
from kormos_core.loop import RUNNING, Progress, code_of
from kormos_core.options import NONNEGATIVE, optional, whole
from kormos_core.result import Status
from kormos_optax.evaluation import is_finite, loss_of
from kormos_optax.leaves import flat, named, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core.loop import GraphObjective, State

__all__ = ["GTOL", "LIMITS", "MAX_EVALS", "PATIENCE", "RULES", "FullBatch", "advance", "init"]

GTOL: Final = 1e-5
"""Largest component of a gradient that counts as zero, where nothing else is asked for."""

PATIENCE: Final = 100
"""Iterations without a lower loss that are waited for."""

MAX_EVALS: Final = 15000
"""Most evaluations."""

RULES: Final = {
    "gtol": NONNEGATIVE,
    "patience": whole(1),
    "max_evals": whole(1),
    "tol": optional(NONNEGATIVE),
}
"""Rules for the options that all of these methods have."""

LIMITS: Final = """gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    patience : int
        Ends the solve once so many steps have brought no lower loss.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `gtol` where it is left at its default."""
"""What they are, as the docstrings of the solvers tell it."""


class FullBatch(Protocol):
    """A method with its options."""

    @property
    def gtol(self) -> float:
        """Largest component of a gradient that counts as zero."""
        ...

    @property
    def patience(self) -> int:
        """Steps without a lower loss that end the solve."""
        ...

    @property
    def max_evals(self) -> int:
        """Most evaluations."""
        ...

    @property
    def tol(self) -> float | None:
        """What replaces the default of `gtol`."""
        ...

    def build(self) -> Any:
        """Return optax's transformation."""
        ...


def init(method: FullBatch, x0: NDArray[np.float64]) -> dict[str, Any]:
    """Return the state before the first evaluation.

    Parameters
    ----------
    method : FullBatch
        The method.
    x0 : ndarray, shape (n,), float64
        Starting point.

    Returns
    -------
    dict of str to ndarray
        The state; ``waited`` counts the steps since the loss was ``lowest``.
    """
    counts = ("iteration", "num_fg", "waited", "status")
    return {
        "x": x0,
        "f": np.float64(np.nan),
        "g": np.full_like(x0, np.nan),
        "lowest": np.float64(np.inf),
        **dict.fromkeys(counts, np.int32(RUNNING)),
        **flat(method.build().init(jnp.asarray(x0))),
    }


def progress(state: State) -> Progress:
    """Tell how far a `state` is; traced."""
    x, f, g = state["x"], state["f"], state["g"]
    none = jnp.int32(0)
    return Progress(state["iteration"], x, f, g, state["num_fg"], none, state["status"])


def advance(method: FullBatch, graph: GraphObjective, state: State) -> State:
    """Make a step and evaluate where it leads; the first call evaluates the start; traced.

    Parameters
    ----------
    method : FullBatch
        The method.
    graph : GraphObjective
        The objective.
    state : dict of str to tensor
        Where the method is.

    Returns
    -------
    dict of str to tensor
        Where it is then.
    """
    x, first = state["x"], state["num_fg"] == 0
    transformation = optax.with_extra_args_support(method.build())
    before = tree_of(state, jax.eval_shape(transformation.init, x))
    loss = _Watched(loss_of(graph))

    def step() -> tuple[Any, Any]:
        updates, after = transformation.update(
            state["g"], before, x, value=state["f"], grad=state["g"], value_fn=loss
        )
        return optax.apply_updates(x, updates), named(after)

    kept = {name: state[name] for name in named(before)}
    trial, moved_on = jax.lax.cond(first, lambda: (x, kept), lambda: _alike(step(), (x, kept)))
    searched = _num_searched(moved_on) if loss.was_called else 0
    f, g = graph.value_and_grad(trial)
    usable = is_finite(f, g)
    lower = usable & (f < state["lowest"])
    waited = jnp.where(lower, 0, state["waited"] + 1)
    num_fg = state["num_fg"] + 1 + jnp.where(first, 0, searched)
    gtol = method.gtol if method.tol is None or method.gtol != GTOL else method.tol
    status = jnp.where(waited >= method.patience, code_of(Status.STAGNATED), RUNNING)
    status = jnp.where(num_fg >= method.max_evals, code_of(Status.MAX_EVALS), status)
    status = jnp.where(jnp.max(jnp.abs(g)) <= gtol, code_of(Status.GRAD_TOL), status)
    moved = usable & ~first & jnp.any(trial != x)
    return {
        "x": jnp.where(usable, trial, x),
        "f": jnp.where(usable | first, f, state["f"]),
        "g": jnp.where(usable | first, g, state["g"]),
        "lowest": jnp.where(lower, f, state["lowest"]),
        "waited": waited,
        "iteration": state["iteration"] + moved,
        "num_fg": num_fg,
        "status": jnp.where(usable, status, code_of(Status.NONFINITE)),
        **moved_on,
    }


class _Watched:
    """A function that remembers whether it was called, which is while it is traced."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self.was_called = False

    def __call__(self, x: Any) -> Any:
        self.was_called = True
        return self._function(x)


def _alike(new: Any, old: Any) -> Any:
    """Cast to the dtypes of a state, which stay."""
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), new, old)


def _num_searched(leaves: dict[str, Any]) -> Any:
    """Return how often a transformation has evaluated the loss itself."""
    told = [leaf for name, leaf in leaves.items() if name.endswith(".num_linesearch_steps")]
    if not told:
        message = (
            "the transformation evaluates the loss by itself, and its state does not tell how "
            "often, so evaluations cannot be counted. Allowed are optax's line searches, which "
            "tell num_linesearch_steps. Use one of them."
        )
        raise UnsupportedError(message)
    return sum(told)
