"""Evaluated points, the searches between accepted ones, and what no solver recovers from.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Status

__all__ = ["Breakdown", "Point", "Search"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """An evaluated point.

    Attributes
    ----------
    x : ndarray, shape (n,), float64
        The parameters.
    loss : float
        The loss; ``inf`` where it or the gradient is not finite.
    grad : ndarray, shape (n,), float64, or None
        The gradient; None for a method that takes none.
    key : bytes
        The parameters' bits, by which the point is found again.
    """

    x: NDArray[np.float64]
    loss: float
    grad: NDArray[np.float64] | None
    key: bytes


@final
@dataclass(frozen=True, slots=True)
class Search:
    """What the trial points from one accepted point on looked like.

    Attributes
    ----------
    num_trials : int
        How many there were.
    spread : float
        Largest change of the loss over them.
    gain : float
        What the loss fell by, to the one that was accepted in the end.
    """

    num_trials: int = 0
    spread: float = 0.0
    gain: float = 0.0

    def widened(self, change: float) -> Search:
        """Add a trial point.

        Parameters
        ----------
        change : float
            What its loss differs by.

        Returns
        -------
        Search
            The search with it.
        """
        return Search(self.num_trials + 1, max(self.spread, change))


@final
class Breakdown(Exception):  # noqa: N818 - it ends a solve, it is no misuse
    """Numbers that are not finite, which the method cannot recover from.

    Parameters
    ----------
    status : Status
        What that means for the solve.
    what : str
        What was found.
    """

    def __init__(self, status: Status, what: str) -> None:
        self.status = status
        super().__init__(what)
