"""Small problems whose minima are known.

Symbols: ``x`` parameters (2,), ``f`` loss, ``r`` residuals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BELOW_ZERO",
    "BENT_BOX",
    "BOX",
    "PLANE",
    "QUADRATIC",
    "ROSENBROCK",
    "Problem",
]

_ROOT: Final = 2.0**0.5
_LOWER: Final = (-5.0, -4.5)  # not the same on either side: no minimum is in the middle
_UPPER: Final = (4.5, 6.0)
_STEEP: Final = ((1.0, 2.0), (0.0, 4.0))  # its condition squared is that of the quadratic: 26


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A loss of two parameters, half a sum of squares and a constant.

    The residuals are ``slopes @ (x - center)`` and Rosenbrock's,
    ``bend * (10 (x_1 - x_0**2), 1 - x_0)``.

    Attributes
    ----------
    name : str
        What it is.
    x0 : tuple of float
        Starting point.
    minimum : float
        The least loss, within the bounds and constraints.
    slopes : tuple of tuple of float
        Slopes of the linear residuals, shape (2, 2).
    center : tuple of float
        Where these vanish.
    bend : float
        Factor of Rosenbrock's residuals.
    shift : float
        The constant; where residuals are asked for it is the square of one, and so not
        negative.
    lower, upper : tuple of float, or None
        Bounds.
    """

    name: str
    x0: tuple[float, float]
    minimum: float
    slopes: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    center: tuple[float, float] = (0.0, 0.0)
    bend: float = 0.0
    shift: float = 0.0
    lower: tuple[float, float] | None = None
    upper: tuple[float, float] | None = None

    def loss(self, x: NDArray[np.float64]) -> float:
        """Compute the loss in NumPy.

        Parameters
        ----------
        x : ndarray, shape (2,), float64
            The point.

        Returns
        -------
        float
            The loss.
        """
        linear = np.array(self.slopes) @ (x - np.array(self.center))
        bent = self.bend * np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])
        return float(self.shift + 0.5 * (linear @ linear + bent @ bent))

    def within_box(self) -> Problem:
        """Return the problem in a box, for a solver that requires one.

        Returns
        -------
        Problem
            Itself where it has bounds; else one whose box holds start and minimum.
        """
        if self.lower is not None:
            return self
        return replace(self, lower=_LOWER, upper=_UPPER)

    @property
    def fall(self) -> float:
        """Loss at the start above the least one."""
        return self.loss(np.array(self.x0)) - self.minimum

    def left(self, x: NDArray[np.float64]) -> float:
        """Tell how much of the way down is left.

        Parameters
        ----------
        x : ndarray, shape (2,), float64
            The point.

        Returns
        -------
        float
            1 at the start, 0 at the minimum; NaN where `x` is not finite.
        """
        return (self.loss(x) - self.minimum) / self.fall


QUADRATIC: Final = Problem(
    name="a convex quadratic of condition 26",
    x0=(4.0, 3.0),
    minimum=2.0,
    slopes=_STEEP,
    center=(1.0, -2.0),
    shift=2.0,
)
"""Linear least squares, with residuals that do not vanish."""

ROSENBROCK: Final = Problem(name="Rosenbrock's function", x0=(-1.2, 1.0), minimum=0.0, bend=_ROOT)
"""H. H. Rosenbrock, An automatic method for finding the greatest or least value of a
function, 1960, doi:10.1093/comjnl/3.3.175."""

BELOW_ZERO: Final = replace(
    QUADRATIC, name="a quadratic whose minimum is -10", minimum=-10.0, shift=-10.0
)
"""Where a relative tolerance must not take the sign of the loss."""

BOX: Final = Problem(
    name="a quadratic whose minimum is in a corner of the box",
    x0=(0.5, 0.5),
    minimum=50.5,
    slopes=((1.0, 0.0), (0.0, 5.0)),
    center=(2.0, -3.0),
    lower=(-1.0, -1.0),
    upper=(1.0, 1.0),
)
"""The gradient at the start is 50 times as long as the box."""

BENT_BOX: Final = Problem(
    name="Rosenbrock's function with its valley cut off by a bound",
    x0=(-1.2, 1.0),
    minimum=0.25,
    bend=_ROOT,
    lower=(-1.5, -0.5),
    upper=(0.5, 2.0),
)
"""The minimum is at (0.5, 0.25)."""

PLANE: Final = Problem(
    name="a quadratic under the constraint x_0 + x_1 <= 1",
    x0=(0.0, 0.0),
    minimum=1.6,
    slopes=((1.0, 0.0), (0.0, 2.0)),
    center=(2.0, 1.0),
)
"""The minimum is at (0.4, 0.6), where the gradient is (-1.6, -1.6)."""
