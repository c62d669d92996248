"""The parameters that SciPy moves: those that their bounds do not fix.

Symbols: ``x`` all parameters (n,), ``z`` the free ones (m,), m <= n; all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from kormos_core.errors import BoundsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Bounds

__all__ = ["Space"]

# Weights in float32 carry bounds and start to seven digits: a start that is outside by no
# more was meant to lie on the bound.
_ROUNDING = 1e-6


@final
@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Free parameters, and the way from them to all of them and back.

    SciPy drops fixed variables for some methods, hands the callback vectors that are too
    short for others, and gives interior points a box of no volume for the rest. Here it
    never meets one.

    Attributes
    ----------
    x0 : ndarray, shape (n,), float64
        The start, inside the box.
    lower, upper : ndarray, shape (n,), float64, or None
        The box; None where there is none.
    free : ndarray, shape (n,), bool, or None
        Which parameters are free; None where all are.
    """

    x0: NDArray[np.float64]
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None
    free: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, x0: NDArray[np.float64], bounds: Bounds | None, *, drops_narrow: bool) -> Space:
        """Build the space of a start and its bounds.

        Parameters
        ----------
        x0 : ndarray, shape (n,), float64
            The start.
        bounds : Bounds or None
            The box, or None.
        drops_narrow : bool
            Whether the method takes intervals that are narrower than rounding for points.

        Returns
        -------
        Space
            The space.

        Raises
        ------
        BoundsError
            When the bounds do not fit the start.
        """
        x0 = np.array(x0, dtype=np.float64)
        if bounds is None:
            return cls(x0)
        lower = np.array(bounds.lower, dtype=np.float64)
        upper = np.array(bounds.upper, dtype=np.float64)
        _check(x0, lower, upper)
        if not (np.isfinite(lower).any() or np.isfinite(upper).any()):
            return cls(x0)
        free = upper - lower > (_width(lower, upper) if drops_narrow else 0.0)
        return cls(np.clip(x0, lower, upper), lower, upper, None if bool(free.all()) else free)

    @property
    def num_free(self) -> int:
        """Number of free parameters m."""
        return self.x0.size if self.free is None else int(self.free.sum())

    def reduce(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the free components of a vector.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            All parameters, or a gradient.

        Returns
        -------
        ndarray, shape (m,), float64
            Its free components; a copy.
        """
        return x.copy() if self.free is None else x[self.free]

    def expand(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Complete the free parameters, and project them into the box.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        ndarray, shape (n,), float64
            All parameters; a copy.
        """
        if self.lower is None or self.upper is None:
            return np.array(z, dtype=np.float64)
        return np.clip(self.fill(z), self.lower, self.upper)

    def fill(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Complete the free parameters, wherever they are.

        Parameters
        ----------
        z : ndarray, shape (m,), float64
            The free parameters.

        Returns
        -------
        ndarray, shape (n,), float64
            All parameters; a copy.
        """
        if self.free is None:
            return np.array(z, dtype=np.float64)
        x = self.x0.copy()
        x[self.free] = z
        return x

    def embed(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Complete a direction with zeros.

        Parameters
        ----------
        v : ndarray, shape (m,), float64
            Direction of the free parameters.

        Returns
        -------
        ndarray, shape (n,), float64
            Direction that leaves the fixed parameters alone; a copy.
        """
        if self.free is None:
            return np.array(v, dtype=np.float64)
        direction = np.zeros_like(self.x0)
        direction[self.free] = v
        return direction

    def reduce_matrix(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the rows and columns of the free parameters.

        Parameters
        ----------
        matrix : ndarray, shape (n, n), float64
            The Hessian.

        Returns
        -------
        ndarray, shape (m, m), float64
            Its free part; a copy.
        """
        return matrix.copy() if self.free is None else matrix[np.ix_(self.free, self.free)]

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Take the bounds of the free parameters.

        Returns
        -------
        tuple of two ndarrays, shapes (m,), float64, or None
            Lower and upper bounds; None where there is no box.
        """
        if self.lower is None or self.upper is None:
            return None
        return self.reduce(self.lower), self.reduce(self.upper)


def _check(
    x0: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> None:
    if not lower.shape == upper.shape == x0.shape:
        raise BoundsError(
            f"bounds of shapes {lower.shape} and {upper.shape} do not fit {x0.size} parameters. "
            "Give one lower and one upper bound for each."
        )
    bad = ~(lower <= upper)
    if bad.any():
        i = int(bad.argmax())
        raise BoundsError(
            f"bounds of parameter {i} are [{lower[i]}, {upper[i]}]. "
            "The lower one is at most the upper one."
        )
    slack = _ROUNDING * (1.0 + np.abs(x0))
    outside = (x0 < lower - slack) | (x0 > upper + slack)
    if outside.any():
        i = int(outside.argmax())
        raise BoundsError(
            f"parameter {i} starts at {x0[i]}, outside its bounds [{lower[i]}, {upper[i]}]. "
            "Start inside the bounds, or widen them."
        )


def _width(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> float:
    """Return the width below which COBYLA and COBYQA take an interval for a point."""
    ends = np.concatenate([lower, upper])
    largest = np.abs(ends[np.isfinite(ends)]).max(initial=1.0)
    return float(10.0 * np.finfo(np.float64).eps * lower.size * largest)
