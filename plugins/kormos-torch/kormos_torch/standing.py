"""Where a solve stands: whether the next one can go on from there, and as tensors.

Symbols: ``x`` parameters (n,), ``f`` loss; float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from kormos_core.box import project
from kormos_core.state import SolverState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kormos_torch.objective import ClosureObjective
    from kormos_torch.solver import Solver

__all__ = ["memory_for", "to_state", "to_tensors"]

_SAME_LOSS: Final = {"float64": (1e-8, 1e-12)}  # relative, absolute: what reordered sums differ by
_SAME_LOSS_ELSE: Final = (1e-3, 1e-6)


def memory_for(
    state: SolverState | None,
    solver: Solver,
    objective: ClosureObjective,
    x: NDArray[np.float64],
) -> Mapping[str, NDArray[Any]] | None:
    """Return what a solve goes on from; None where it starts afresh.

    Parameters
    ----------
    state : SolverState or None
        Where the earlier solve stood.
    solver : Solver
        The solver of this one.
    objective : ClosureObjective
        The loss.
    x : ndarray, shape (n,), float64
        The parameters' present values.

    Returns
    -------
    mapping of str to ndarray, or None
        The solver's memory. None where it keeps none or had come to its end, or where
        solver, parameters, bounds or loss have changed.
    """
    if state is None or state.memory is None or state.solver != solver.registered.name:
        return None
    if state.method != repr(solver.method) or not np.array_equal(state.weights, x):
        return None
    from kormos_core.loop import standing

    where = standing(state.memory)
    if not where.runs or not np.array_equal(project(where.x, objective.bounds), where.x):
        return None
    f = objective.value(where.x)
    relative, absolute = _SAME_LOSS.get(objective.dtype, _SAME_LOSS_ELSE)
    return state.memory if abs(f - where.f) <= relative * abs(where.f) + absolute else None


def to_tensors(state: SolverState | None) -> dict[str, torch.Tensor]:
    """Turn a state into named tensors, which `torch.load` reads back with ``weights_only``."""
    arrays = {} if state is None else state.to_arrays()
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def to_state(tensors: Mapping[str, torch.Tensor]) -> SolverState | None:
    """Read a state from what `to_tensors` gave."""
    return SolverState.from_arrays({name: t.cpu().numpy() for name, t in tensors.items()})
