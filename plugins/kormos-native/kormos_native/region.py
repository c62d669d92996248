"""Where the parameters may be: anywhere, or in a box.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,), ``d`` direction (n,), ``s`` step (n,),
``y`` change of the gradient over it (n,); all float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, final

from kormos_core.loop import ops

__all__ = ["Box", "Everywhere", "Region"]

_NEAR: Final = 1e-8  # a bound that close holds a parameter that is pushed against it


class Region(Protocol):
    """What a search in some region needs to know of it."""

    def trial(self, x: Any, step: Any, d: Any, /) -> Any:
        """Return the point at `step` on the path from `x` along `d`, shape (n,)."""
        ...

    def slope(self, x: Any, g: Any, d: Any, /) -> Any:
        """Return the derivative, by `g`, of the loss along the path that goes on from `x`."""
        ...

    def reduced(self, x: Any, g: Any, /) -> Any:
        """Return `g` at `x`, 0 for parameters that the region holds, shape (n,)."""
        ...

    def direction(self, x: Any, g: Any, product: Any, /) -> Any:
        """Return the direction in which the free parameters follow ``-product``."""
        ...

    def learnt(self, s: Any, y: Any, /) -> Any:
        """Return the part of `y` that tells the curvature where the step went."""
        ...

    def residual(self, x: Any, g: Any, /) -> Any:
        """Return the largest component of `g`, projected at `x` onto the region, a scalar."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Everywhere:
    """The whole space (`Region`)."""

    def trial(self, x: Any, step: Any, d: Any) -> Any:
        """Return the point at `step` along the straight line."""
        return x + step * d

    def slope(self, x: Any, g: Any, d: Any) -> Any:
        """Return the directional derivative; `x` does not matter."""
        del x
        return ops.sum(g * d)

    def reduced(self, x: Any, g: Any) -> Any:
        """Return `g`; `x` does not matter."""
        del x
        return g

    def direction(self, x: Any, g: Any, product: Any) -> Any:
        """Return ``-product``; `x` and `g` do not matter."""
        del x, g
        return -product

    def learnt(self, s: Any, y: Any) -> Any:
        """Return `y`; `s` does not matter."""
        del s
        return y

    def residual(self, x: Any, g: Any) -> Any:
        """Return the largest component of `g`; `x` does not matter."""
        del x
        return ops.max(ops.abs(g))


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A box, searched along paths that are projected onto it (`Region`).

    Attributes
    ----------
    lower, upper : tensor, shape (n,), float64
        Its limits; infinite where there is none.

    Notes
    -----
    A parameter is held where it is within ``min(1e-8, residual)`` of a bound, in absolute
    terms, and the gradient pushes it against that bound; it goes to the bound with step 1.

    References
    ----------
    D. P. Bertsekas, "Projected Newton Methods for Optimization Problems with Simple
    Constraints", SIAM J. Control Optim. 20(2), 1982, section 2, doi:10.1137/0320018.
    """

    lower: Any
    upper: Any

    def trial(self, x: Any, step: Any, d: Any) -> Any:
        """Return the projection of the point at `step` along the straight line."""
        return self._project(x + step * d)

    def slope(self, x: Any, g: Any, d: Any) -> Any:
        """Return ``g' d`` over the parameters that go on moving along `d` from `x`."""
        above = ops.logical_or(x > self.lower, d > 0.0)
        below = ops.logical_or(x < self.upper, d < 0.0)
        return ops.sum(ops.where(ops.logical_and(above, below), g * d, 0.0))

    def reduced(self, x: Any, g: Any) -> Any:
        """Return `g`, 0 for the parameters that are held."""
        low, high = self._held(x, g)
        return ops.where(ops.logical_or(low, high), 0.0, g)

    def direction(self, x: Any, g: Any, product: Any) -> Any:
        """Return ``-product``, and for those that are held the way to their bound."""
        low, high = self._held(x, g)
        return ops.where(low, self.lower - x, ops.where(high, self.upper - x, -product))

    def learnt(self, s: Any, y: Any) -> Any:
        """Return `y`, 0 where `s` is: so it is that of the loss on the face of the box."""
        return ops.where(s == 0.0, 0.0, y)

    def residual(self, x: Any, g: Any) -> Any:
        """Return the largest component of ``x - P(x - g)``."""
        return ops.max(ops.abs(x - self._project(x - g)))

    def _project(self, x: Any) -> Any:
        return ops.minimum(ops.maximum(x, self.lower), self.upper)

    def _held(self, x: Any, g: Any) -> tuple[Any, Any]:
        near = ops.minimum(_NEAR, self.residual(x, g))
        low = ops.logical_and(x - self.lower <= near, g > 0.0)
        high = ops.logical_and(self.upper - x <= near, g < 0.0)
        return low, high
