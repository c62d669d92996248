"""What a line search can tell from losses that are rounded.

Symbols: ``f`` loss and ``slope`` directional derivative at a ``step``; ``f0`` and
``slope0`` at step 0. All are float64 scalars.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kormos_core.loop import ops

if TYPE_CHECKING:
    from kormos_native.interpolation import Point


__all__ = ["Prospect", "change_by_slopes", "rounding_error"]

_ROUNDING: Final = 8.0  # rounding errors of a loss, in units of epsilon |f0|
_SCATTER: Final = 4.0  # how far scattered losses may be off, in units of the one that is seen


class Prospect(NamedTuple):
    """What a search may hope for, and what hides it.

    Attributes
    ----------
    gain : tensor, scalar, float64
        The largest decrease that a trial has promised.
    least : tensor, scalar, float64
        The least step at which the loss was not ``f0``.
    scatter : tensor, scalar, float64
        What the slopes leave unexplained of the difference there.
    """

    gain: Any
    least: Any
    scatter: Any

    def after(self, start: Point, trial: Point, finite: Any) -> Prospect:
        """Return the prospect after a trial.

        Parameters
        ----------
        start, trial : Point
            Step 0 and the trial.
        finite : tensor, scalar, bool
            Whether the trial's loss and slope are.

        Returns
        -------
        Prospect
            The parabola through the two slopes tells the gain; that of a trial which is not
            finite is what ``slope0`` promises.
        """
        linear = -start.slope * trial.step
        bend = trial.slope - start.slope
        bent = ops.logical_and(finite, bend > -0.5 * start.slope)
        gain = linear * ops.where(bent, -0.5 * start.slope / bend, 1.0)
        nearer = ops.logical_and(trial.step < self.least, trial.f != start.f)
        nearer = ops.logical_and(finite, nearer)
        unexplained = ops.abs(trial.f - start.f - change_by_slopes(start, trial))
        return Prospect(
            ops.maximum(self.gain, gain),
            ops.where(nearer, trial.step, self.least),
            ops.where(nearer, unexplained, self.scatter),
        )

    def hidden(self, f0: Any, epsilon: float) -> Any:
        """Tell whether rounding hides the gain.

        Parameters
        ----------
        f0 : tensor, scalar, float64
            The loss at step 0.
        epsilon : float
            Relative rounding error of the loss.

        Returns
        -------
        tensor, scalar, bool
            Whether it does; scattered losses are blamed up to ``sqrt(epsilon) |f0|``.
        """
        coarse = math.sqrt(epsilon) * ops.abs(f0)
        scatter = ops.minimum(_SCATTER * self.scatter, coarse)
        return self.gain <= ops.maximum(scatter, rounding_error(f0, epsilon))


def rounding_error(f0: Any, epsilon: float) -> Any:
    """Return how far rounding may put a loss near `f0` off.

    Parameters
    ----------
    f0 : tensor, scalar, float64
        The loss.
    epsilon : float
        Relative rounding error of the dtype that it is computed in.

    Returns
    -------
    tensor, scalar, float64
        The bound.
    """
    return _ROUNDING * epsilon * ops.abs(f0)


def change_by_slopes(start: Point, trial: Point) -> Any:
    """Return the change of the loss that two slopes tell.

    Parameters
    ----------
    start, trial : Point
        Step 0 and the trial.

    Returns
    -------
    tensor, scalar, float64
        The change, by the trapezoidal rule; exact for a parabola.
    """
    return 0.5 * trial.step * (start.slope + trial.slope)
