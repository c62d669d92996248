"""Going on where an earlier fit stood.

Symbols: ``x`` parameters (n,), ``f`` loss; float64.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from kormos_core.errors import RestartWarning, UnsupportedError
from kormos_core.loop import standing
from kormos_core.objective import FrozenNoise, project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kormos_core.loop import Standing
    from kormos_core.objective import ModelObjective
    from kormos_core.protocols import BatchOptimizer
    from kormos_core.registry import Registered
    from kormos_core.state import SolverState

__all__ = ["Start", "check_resume", "start"]

_SAME_LOSS: Final = {"float64": (1e-8, 1e-12)}  # relative, absolute: what reordered sums differ by
_SAME_LOSS_ELSE: Final = (1e-3, 1e-6)


@final
@dataclass(frozen=True, slots=True)
class Start:
    """Where a solve begins.

    Attributes
    ----------
    x : ndarray, shape (n,), float64
        Its first point.
    memory : mapping of str to ndarray, or None
        What it goes on from; None for a fresh start.
    """

    x: NDArray[np.float64]
    memory: Mapping[str, NDArray[Any]] | None = None


def check_resume(resume: Any) -> None:
    """Refuse what does not say whether to go on.

    Parameters
    ----------
    resume : object
        What a user passed.

    Raises
    ------
    UnsupportedError
        If it is none of "auto", True and False.
    """
    if resume != "auto" and not isinstance(resume, bool):
        message = (
            f"resume is not usable: {resume!r}. Allowed are 'auto', True and False. "
            "Pass one of them."
        )
        raise UnsupportedError(message)


def start(
    state: SolverState | None,
    objective: ModelObjective,
    registered: Registered,
    method: BatchOptimizer,
    *,
    required: bool,
) -> Start:
    """Return where a fit that is to go on begins.

    Parameters
    ----------
    state : SolverState or None
        Where the earlier fit stood.
    objective : ModelObjective
        The loss of this fit; it takes the noise of the earlier one.
    registered : Registered
        The solver's entry in the registry.
    method : BatchOptimizer
        The solver with its options.
    required : bool
        Whether a fresh start will not do.

    Returns
    -------
    Start
        Point and memory of the earlier fit, or a fresh start from the model's weights.

    Raises
    ------
    UnsupportedError
        If `required`, and the solver cannot go on; the message says why.

    Warns
    -----
    RestartWarning
        If there was a state, and the solver cannot go on from it.
    """
    weights = objective.program.layout.read()
    obstacle = _obstacle(state, registered, method, weights)
    if state is not None and state.memory is not None and not obstacle:
        where = standing(state.memory)
        fresh = objective.noise
        objective.freeze_noise(FrozenNoise(state.noise))
        obstacle = _difference(where, objective)
        if not obstacle:
            return Start(where.x, state.memory)
        objective.freeze_noise(fresh)
    if required:
        message = (
            f"{registered.name} cannot go on where an earlier fit stood: {obstacle}. Allowed is "
            "a fresh start from the model's weights. Pass resume=False."
        )
        raise UnsupportedError(message)
    if state is not None:
        message = f"{registered.name} starts afresh from the model's weights: {obstacle}."
        warnings.warn(message, RestartWarning, stacklevel=5)
    return Start(weights)


def _obstacle(
    state: SolverState | None,
    registered: Registered,
    method: BatchOptimizer,
    weights: NDArray[np.float64],
) -> str:
    """Say why a solver cannot go on, or nothing."""
    if state is None:
        return "the model has not been fitted by it, or was saved without its optimizer"
    if state.solver != registered.name:
        return f"the earlier fit was made by {state.solver}"
    if "resume" not in registered.spec.supports or state.memory is None:
        return "its memory stays within its library and cannot be kept"
    if state.method != repr(method):
        return f"its options have changed, from {state.method} to {method!r}"
    if not np.array_equal(state.weights, weights):
        return "the model's weights have changed since"
    return ""


def _difference(where: Standing, objective: ModelObjective) -> str:
    """Say what has changed about the loss, or nothing."""
    if not where.runs:
        return "the earlier fit had come to its end"
    if not np.array_equal(project(where.x, objective.bounds), where.x):
        return "its bounds have changed"
    f = objective.value(where.x)
    relative, absolute = _SAME_LOSS.get(objective.numerics.precision, _SAME_LOSS_ELSE)
    if not abs(f - where.f) <= relative * abs(where.f) + absolute:
        return f"the loss there is {f:.9g} now and was {where.f:.9g}, so data or loss have changed"
    return ""
