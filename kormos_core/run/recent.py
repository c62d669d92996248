"""The latest evaluations, so that no point is evaluated twice.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Evaluation", "Recent"]

_MEMORY: Final = 4  # an accepted point is one of the last few


@final
@dataclass(frozen=True, slots=True)
class Evaluation:
    """A point that was evaluated.

    Attributes
    ----------
    x : ndarray, shape (n,), float64
        The parameters.
    f : float
        The loss.
    g : ndarray, shape (n,), float64, or None
        The gradient, where it was made.
    """

    x: NDArray[np.float64]
    f: float
    g: NDArray[np.float64] | None


@final
class Recent:
    """The latest evaluations of a solve."""

    def __init__(self) -> None:
        self._held: Evaluation | None = None
        self._kept: deque[Evaluation] = deque(maxlen=_MEMORY)

    def keep(self, x: NDArray[np.float64], f: float, g: NDArray[np.float64] | None) -> None:
        """Keep an evaluation: ``x``, shape (n,), its loss ``f`` and gradient ``g``."""
        self._kept.append(Evaluation(x, f, g))

    def hold(self, x: NDArray[np.float64], f: float, g: NDArray[np.float64] | None) -> None:
        """Keep ``x``, shape (n,), its loss ``f`` and gradient ``g`` until others are held."""
        self._held = Evaluation(x, f, g)

    def recall(self, x: NDArray[np.float64]) -> Evaluation | None:
        """Return the latest evaluation at ``x``, shape (n,), if there is one."""
        for known in reversed(self._kept):
            if np.array_equal(known.x, x):
                return known
        held = self._held
        return held if held is not None and np.array_equal(held.x, x) else None
