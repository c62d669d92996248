"""An accepted iterate, and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Iterate", "Observer"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Iterate:
    """One accepted iterate.

    Attributes
    ----------
    number : int
        Its number, from 1.
    x : ndarray, shape (n,), float64
        The point; where it went by inside the graph, the latest that is known.
    loss : float
        The loss there.
    grad_norm : float
        Euclidean norm of the (projected) gradient there; NaN for solvers that take no
        gradients.
    fg_evals, hessp_evals : int
        Evaluations so far.
    """

    number: int
    x: NDArray[np.float64]
    loss: float
    grad_norm: float
    fg_evals: int
    hessp_evals: int


class Observer(Protocol):
    """What a run tells of its progress; `begin` and `iterate` may raise `StopSolve`."""

    def begin(self, number: int, /) -> None:
        """Take note that work on iteration `number`, from 1, begins."""
        ...

    def iterate(self, iterate: Iterate, /) -> None:
        """Take an accepted `iterate`."""
        ...

    def passed(self, iterate: Iterate, /) -> None:
        """Take note of an `iterate` that went by inside the graph; its `x` is not known."""
        ...
