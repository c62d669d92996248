"""A solver of optimistix, one of its steps a call.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``r`` residuals (m,); all
float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optimistix

from kormos_core.loop import RUNNING, Progress, code_of
from kormos_core.result import Status
from kormos_optimistix.evaluation import function_of, placeholder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds
    from kormos_core.loop import GraphObjective, State
    from kormos_optimistix.settings import Settings

__all__ = ["PATIENCE", "Stepwise"]

PATIENCE: Final = 100
"""Evaluations without a lower loss that are waited for; a search halves its step in each."""

_PREFIX: Final = "optimistix"
_NO_TAGS: Final[frozenset[object]] = frozenset()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stepwise:
    """A solver of optimistix as a state and a function that advances it (`LoopMethod`).

    Attributes
    ----------
    solver : Settings
        The solver with its options.
    num_residuals : int or None
        Number of residuals m of a sum of squares; None for a scalar loss.
    """

    solver: Settings
    num_residuals: int | None = None

    def init(self, x0: NDArray[np.float64], bounds: Bounds | None) -> dict[str, Any]:
        """Return the state before the first evaluation at `x0`; `bounds` are not supported."""
        del bounds
        arrays, _ = self._begin(jnp.asarray(x0))
        counts = ("iteration", "num_fg", "waited", "status")
        return {
            "x": x0,
            "f": np.float64(np.nan),
            "g": np.full_like(x0, np.nan),
            "lowest": np.float64(np.inf),
            **dict.fromkeys(counts, np.int32(RUNNING)),
            **{name: np.asarray(leaf) for name, leaf in _named(arrays).items()},
        }

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the `state` of minimizing `graph` after one more step, of one evaluation."""
        x, solver = state["x"], self.solver.build()
        function = function_of(graph, self.num_residuals)
        like, static = self._begin(x)
        leaves = [state[name] for name in _named(like)]
        before = equinox.combine(jax.tree.unflatten(jax.tree.structure(like), leaves), static)
        new_x, after, _ = solver.step(function, x, None, {}, before, _NO_TAGS)
        told = solver.terminate(function, new_x, None, {}, after, _NO_TAGS)
        arrays, _ = equinox.partition(after, equinox.is_array)
        f, g = after.f_info.as_min(), _gradient(after.f_info)
        return {
            **self._judge(state, (new_x, f, g), told),
            **{
                name: jnp.asarray(leaf, state[name].dtype) for name, leaf in _named(arrays).items()
            },
        }

    def progress(self, state: State) -> Progress:
        """Tell how far a `state` is."""
        x, f, g = state["x"], state["f"], state["g"]
        none = jnp.int32(0)
        return Progress(state["iteration"], x, f, g, state["num_fg"], none, state["status"])

    def _begin(self, x: Any) -> tuple[Any, Any]:
        """Return the arrays of optimistix's first state, and what of it is none."""
        solver, function = self.solver.build(), placeholder(self.num_residuals)
        shape = () if self.num_residuals is None else (self.num_residuals,)
        form = jax.eval_shape(lambda: jnp.zeros(shape, x.dtype))
        first = solver.init(function, x, None, {}, form, None, _NO_TAGS)
        arrays, static = equinox.partition(first, equinox.is_array)
        return arrays, static

    def _judge(self, state: State, point: tuple[Any, Any, Any], told: tuple[Any, Any]) -> State:
        """Say whether the step is accepted, and whether it is the last one."""
        (new_x, f, g), (terminates, result) = point, told
        first = state["num_fg"] == 0
        num_fg = state["num_fg"] + 1
        usable = jnp.isfinite(f) & jnp.all(jnp.isfinite(g))
        moved = usable & ~first & jnp.any(new_x != state["x"])
        lower = usable & (f < state["lowest"])
        waited = jnp.where(lower, 0, state["waited"] + 1)
        # a step that was shortened to be accepted says nothing of convergence
        whole = moved & (state["waited"] == 0)
        failed = result != optimistix.RESULTS.successful
        status = _first(
            (~usable, Status.NONFINITE),
            (jnp.max(jnp.abs(g)) <= self.solver.gtol, Status.GRAD_TOL),
            (terminates & whole, Status.X_TOL),
            ((terminates & ~first) | failed, Status.STAGNATED),
            (waited >= PATIENCE, Status.STAGNATED),
            (num_fg >= self.solver.max_evals, Status.MAX_EVALS),
        )
        kept = usable | first
        return {
            "x": jnp.where(usable, new_x, state["x"]),
            "f": jnp.where(kept, f, state["f"]),
            "g": jnp.where(kept, g, state["g"]),
            "lowest": jnp.where(lower, f, state["lowest"]),
            "waited": waited,
            "iteration": state["iteration"] + moved,
            "num_fg": num_fg,
            "status": status,
        }


def _gradient(told: Any) -> Any:
    """Return the gradient of what optimistix knows at the accepted point."""
    squares: Any = optimistix.FunctionInfo.ResidualJac
    return told.compute_grad() if isinstance(told, squares) else told.grad


def _named(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by name: ``"optimistix.search_state.step_size"``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        ".".join((_PREFIX, jax.tree_util.keystr(path, simple=True, separator="."))): leaf
        for path, leaf in leaves
    }


def _first(*cases: tuple[Any, Status]) -> Any:
    """Return the code of the first case that holds, or `RUNNING`."""
    code = jnp.int32(RUNNING)
    for holds, status in reversed(cases):
        code = jnp.where(holds, code_of(status), code)
    return code
