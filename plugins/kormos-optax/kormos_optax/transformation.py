"""The user's own transformation of gradients.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import optax

from kormos_core.errors import OptionError
from kormos_core.loop import minimize_in_graph
from kormos_core.options import Rule, check_options
from kormos_optax import full_batch
from kormos_optax.full_batch import GTOL, MAX_EVALS, PATIENCE, RULES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, Progress, State

__all__ = ["Transformation"]

_TRANSFORMATION = Rule(
    "an optax.GradientTransformation, such as optax.chain(...) gives",
    lambda value: value is None or isinstance(value, optax.GradientTransformation),
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """Minimize by a transformation of gradients of optax (`kormos_core.loop.LoopMethod`).

    Attributes
    ----------
    transformation : optax.GradientTransformation
        From gradients to updates; without it nothing can be solved. It is given ``value``,
        ``grad`` and ``value_fn`` too.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    patience : int
        Ends the solve once so many steps have brought no lower loss.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `gtol` where it is left at its default.

    Notes
    -----
    Cost: one evaluation of loss and gradient a step, and those of a line search within the
    transformation, which must tell their number as optax's do. Memory: that of the
    transformation and some six vectors.

    It is deterministic and full-batch: every step sees the gradient of the whole loss. To
    optax the parameters are one flat vector, so that what looks at layers sees one.

    A transformation is made of functions, which are equal to nothing but themselves: what was
    compiled for one is used again for the same object alone, and a model file cannot keep it.
    """

    transformation: optax.GradientTransformation | None = None
    gtol: float = GTOL
    patience: int = PATIENCE
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"transformation": _TRANSFORMATION, **RULES})

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        if self.transformation is None:
            message = (
                "optax:transformation has no transformation. Allowed is "
                f"{_TRANSFORMATION.allowed}. Give it as the option transformation."
            )
            raise OptionError(message)
        return minimize_in_graph(self, objective, x0, maxiter=maxiter, callback=callback)

    def build(self) -> Any:
        """Return the transformation."""
        return self.transformation

    def init(self, x0: NDArray[np.float64], bounds: Bounds | None) -> dict[str, Any]:
        """Return the state before the first evaluation at `x0`; `bounds` are not supported."""
        del bounds
        return full_batch.init(self, x0)

    def advance(self, graph: GraphObjective, state: State) -> State:
        """Return the `state` of minimizing `graph` after one more step."""
        return full_batch.advance(self, graph, state)

    def progress(self, state: State) -> Progress:
        """Tell how far a `state` is."""
        return full_batch.progress(state)
