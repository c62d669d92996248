"""What a line search remembers between two evaluations.

Symbols: ``f`` loss and ``slope`` directional derivative at a ``step``; ``f0`` and
``slope0`` at step 0. All are float64 scalars.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from kormos_core.loop import ops
from kormos_native.interpolation import Interval, Point
from kormos_native.rounding import Prospect

__all__ = ["Memory"]


class Memory(NamedTuple):
    """The memory, which is packed into one vector: that is cheaper in a loop.

    Attributes
    ----------
    f0, slope0 : tensor, scalar, float64
        Step 0.
    best, f_best, slope_best : tensor, scalar, float64
        The best step so far.
    other, f_other, slope_other : tensor, scalar, float64
        The other end of the interval.
    bracketed : tensor, scalar, float64
        1 once the interval holds a minimizer, before that 0.
    second_stage : tensor, scalar, float64
        1 once the loss itself is searched, not the auxiliary function.
    width, width_before : tensor, scalar, float64
        Width of the interval, and what it was one trial earlier.
    limit : tensor, scalar, float64
        Least step where the loss is known not to be finite.
    gain, least, scatter : tensor, scalar, float64
        The prospect.
    closing : tensor, scalar, float64
        1 when the trial is the best step again, to end with.
    count : tensor, scalar, float64
        Evaluations so far.
    """

    f0: Any
    slope0: Any
    best: Any
    f_best: Any
    slope_best: Any
    other: Any
    f_other: Any
    slope_other: Any
    bracketed: Any
    second_stage: Any
    width: Any
    width_before: Any
    limit: Any
    gain: Any
    least: Any
    scatter: Any
    closing: Any
    count: Any

    @classmethod
    def fresh(cls, f0: Any, slope0: Any) -> Memory:
        """Return the memory of a search that begins at `f0` and `slope0`."""
        zero = ops.zeros_like(f0)
        inf = zero + math.inf
        ends = (zero, f0, slope0) * 2
        return cls(f0, slope0, *ends, zero, zero, inf, inf, inf, zero, inf, zero, zero, zero)

    @classmethod
    def unpack(cls, packed: Any) -> Memory:
        """Return the memory that is `packed` into a vector."""
        return cls(*ops.unstack(packed, len(cls._fields)))

    def pack(self) -> Any:
        """Return the memory as a vector."""
        return ops.stack(self)

    @property
    def start(self) -> Point:
        """Step 0."""
        return Point(0.0, self.f0, self.slope0)

    @property
    def interval(self) -> Interval:
        """The interval."""
        return Interval(
            Point(self.best, self.f_best, self.slope_best),
            Point(self.other, self.f_other, self.slope_other),
            self.bracketed > 0.0,
        )

    @property
    def prospect(self) -> Prospect:
        """What the search may hope for."""
        return Prospect(self.gain, self.least, self.scatter)
