"""Trial steps of a line search, from cubic and quadratic interpolation.

Symbols: ``f`` loss and ``slope`` directional derivative at a ``step``; float64 scalars.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from kormos_core.loop import ops

__all__ = ["Interval", "Point", "next_interval", "select", "trial_step"]

_INWARD: Final = 0.66  # most of the way to the other end that a flatter trial may go
_LEAST: Final = 0.1  # extrapolation goes on by at least this much of the last stretch
_MOST: Final = 4.0  # and at most by this


class Point(NamedTuple):
    """A step that was evaluated.

    Attributes
    ----------
    step : tensor, scalar, float64
        The step.
    f, slope : tensor, scalar, float64
        Loss and directional derivative there.
    """

    step: Any
    f: Any
    slope: Any

    def tilted(self, tilt: Any) -> Point:
        """Return the point on the graph of ``f(step) - tilt step``.

        Parameters
        ----------
        tilt : tensor, scalar, float64
            What is taken from the slope.

        Returns
        -------
        Point
            The same step.
        """
        return Point(self.step, self.f - tilt * self.step, self.slope - tilt)


class Interval(NamedTuple):
    """Two steps between which a minimizer is looked for.

    Attributes
    ----------
    best : Point
        The end of the lower loss.
    other : Point
        The other end.
    bracketed : tensor, scalar, bool
        Whether a minimizer lies between; until then the search goes on beyond `best`.
    """

    best: Point
    other: Point
    bracketed: Any


class _Shape(NamedTuple):
    """How the trial lies to the interval: the cases of Moré and Thuente."""

    higher: Any  # case 1
    turned: Any  # case 2, unless higher
    flatter: Any  # case 3, unless one of these; else case 4


def select(condition: Any, first: Any, second: Any) -> Any:
    """Return one of two points or intervals, component by component.

    Parameters
    ----------
    condition : tensor, scalar, bool
        Whether it is the first.
    first, second : Point or Interval
        The two.

    Returns
    -------
    Point or Interval
        One of them.
    """
    return type(first)(
        *(
            select(condition, *pair) if isinstance(pair[0], tuple) else ops.where(condition, *pair)
            for pair in zip(first, second, strict=True)
        )
    )


def next_interval(interval: Interval, trial: Point, tilt: Any) -> Interval:
    """Return the interval after a trial (Moré and Thuente, updating algorithm).

    Parameters
    ----------
    interval : Interval
        The interval before it.
    trial : Point
        What was found at the trial step.
    tilt : tensor, scalar, float64
        Tilt of the function that is searched.

    Returns
    -------
    Interval
        The interval in which the search goes on.
    """
    best, other, bracketed = interval
    shape = _shape(best.tilted(tilt), trial.tilted(tilt))
    return Interval(
        select(shape.higher, best, trial),
        select(shape.higher, trial, select(shape.turned, best, other)),
        ops.logical_or(bracketed, ops.logical_or(shape.higher, shape.turned)),
    )


def trial_step(interval: Interval, trial: Point, tilt: Any, limit: Any) -> Any:
    """Return the step to try next (Moré and Thuente, section 4, cases 1 to 4).

    Parameters
    ----------
    interval : Interval
        The interval before the trial.
    trial : Point
        What was found at the trial step.
    tilt : tensor, scalar, float64
        Tilt of the function that is searched.
    limit : tensor, scalar, float64
        Extrapolation stays below the middle between the trial and this step.

    Returns
    -------
    tensor, scalar, float64
        The step; not finite where the interpolation breaks down.
    """
    best, other, flat = (point.tilted(tilt) for point in (*interval[:2], trial))
    shape = _shape(best, flat)
    near = ops.logical_or(shape.higher, ops.logical_or(shape.turned, shape.flatter))
    cubic = _cubic(select(near, best, other), flat)
    secant = flat.step - (flat.step - best.step) * flat.slope / (flat.slope - best.slope)
    reach = ops.where(
        interval.bracketed,
        _INWARD * ops.abs(other.step - flat.step),
        ops.minimum(_MOST * (flat.step - best.step), 0.5 * (limit - flat.step)),
    )
    bold = ops.where(ops.abs(cubic - flat.step) > ops.abs(secant - flat.step), cubic, secant)
    flatter = _case_3(best, flat, (cubic, secant), reach, interval.bracketed)
    steeper = ops.where(interval.bracketed, cubic, flat.step + reach)
    lower = ops.where(shape.turned, bold, ops.where(shape.flatter, flatter, steeper))
    return ops.where(shape.higher, _case_1(best, flat, cubic), lower)


def _shape(best: Point, trial: Point) -> _Shape:
    return _Shape(
        trial.f > best.f,
        trial.slope * best.slope < 0.0,
        ops.abs(trial.slope) <= ops.abs(best.slope),
    )


def _cubic(a: Point, b: Point) -> Any:
    """Return the minimizer of the cubic through two points; NaN where it has none."""
    stretch = b.step - a.step
    z = 3.0 * (a.f - b.f) / stretch + a.slope + b.slope
    size = ops.maximum(ops.abs(z), ops.maximum(ops.abs(a.slope), ops.abs(b.slope)))
    root = size * ops.sqrt((z / size) ** 2 - (a.slope / size) * (b.slope / size))
    w = ops.sign(stretch) * root
    return b.step - stretch * (b.slope + w - z) / (b.slope - a.slope + 2.0 * w)


def _case_1(best: Point, trial: Point, cubic: Any) -> Any:
    """Return the cubic's minimizer, or the mean with that of the quadratic."""
    stretch = trial.step - best.step
    curvature = (best.f - trial.f) / stretch + best.slope
    quadratic = best.step + 0.5 * stretch * best.slope / curvature
    nearer = ops.abs(cubic - best.step) < ops.abs(quadratic - best.step)
    return ops.where(nearer, cubic, 0.5 * (cubic + quadratic))


def _case_3(best: Point, trial: Point, minima: tuple[Any, Any], reach: Any, bracketed: Any) -> Any:
    """Go on from the trial by the distance to one of two minimizers, at most by `reach`.

    The nearer one is taken within a bracket, the farther one without. A cubic that has no
    minimizer beyond the trial decreases for ever.
    """
    stretch = trial.step - best.step
    forward = ops.sign(stretch)
    by_cubic, by_secant = (forward * (step - trial.step) for step in minima)
    by_cubic = ops.where(by_cubic > 0.0, by_cubic, math.inf)
    nearer = ops.minimum(by_cubic, by_secant)
    farther = ops.maximum(ops.maximum(by_cubic, by_secant), _LEAST * stretch)
    return trial.step + forward * ops.minimum(ops.where(bracketed, nearer, farther), reach)
