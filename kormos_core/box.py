"""A box on the flat vector: read, checked, projected onto.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kormos_core.errors import BoundsError
from kormos_core.protocols import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "checked",
    "filled",
    "flat_bounds",
    "project",
    "projected_gradient",
    "tell_unbounded",
]

_MAX_NAMES = 3


def flat_bounds(bounds: Any, size: int) -> Bounds | None:
    """Read bounds on a flat vector.

    Parameters
    ----------
    bounds : None, object with lb and ub, pair, or sequence of pairs
        Such as `scipy.optimize.Bounds`; one ``(lower, upper)`` for all parameters; or
        one for each. None stands for no limit.
    size : int
        Number of parameters n.

    Returns
    -------
    Bounds or None
        The box; None where nothing is bounded.

    Raises
    ------
    BoundsError
        If the number of pairs is not n, or a lower limit lies above its upper one.
    """
    if bounds is None:
        return None
    if isinstance(bounds, Bounds):
        bounds = (bounds.lower, bounds.upper)
    elif hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = (bounds.lb, bounds.ub)
    elif isinstance(bounds, (str, bytes)) or not hasattr(bounds, "__len__"):
        raise BoundsError(_unreadable(bounds))
    elif not (len(bounds) == 2 and all(limit is None or np.ndim(limit) == 0 for limit in bounds)):
        bounds = _columns(bounds, size)
    lower = filled(bounds[0], -np.inf, (size,), "bounds")
    upper = filled(bounds[1], np.inf, (size,), "bounds")
    return checked(lower, upper)


def project(x: NDArray[np.float64], bounds: Bounds | None) -> NDArray[np.float64]:
    """Return the point of the box nearest to `x`, shape (n,)."""
    return x if bounds is None else np.clip(x, bounds.lower, bounds.upper)


def projected_gradient(
    x: NDArray[np.float64], g: NDArray[np.float64], bounds: Bounds | None
) -> NDArray[np.float64]:
    """Return ``x - P(x - g)``, shape (n,), which vanishes at a minimum in the box.

    Parameters
    ----------
    x, g : ndarray, shape (n,), float64
        Point in the box and gradient there.
    bounds : Bounds or None
        The box; without one the gradient itself is returned.

    Returns
    -------
    ndarray, shape (n,), float64
        The projected gradient.
    """
    return g if bounds is None else x - project(x - g, bounds)


def tell_unbounded(bounds: Bounds | None, name: Callable[[int], str] | None = None) -> str:
    """Name parameters that bounds leave without a finite limit.

    Parameters
    ----------
    bounds : Bounds or None
        The box.
    name : callable, optional
        From a parameter's number to its name; without it they are numbered.

    Returns
    -------
    str
        How many they are and the first of them; empty where there are none, or no box.
    """
    if bounds is None:
        return ""
    places = np.flatnonzero(~(np.isfinite(bounds.lower) & np.isfinite(bounds.upper)))
    if not places.size:
        return ""
    name = name or "parameter {}".format
    names = [
        f"{name(int(i))} in [{bounds.lower[i]:g}, {bounds.upper[i]:g}]"
        for i in places[:_MAX_NAMES]
    ]
    more = ", ..." if places.size > _MAX_NAMES else ""
    return f"{places.size} of {bounds.lower.size} have none: {', '.join(names)}{more}"


def filled(limit: Any, default: float, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    """Fill an array with a limit.

    Parameters
    ----------
    limit : float, array-like, sequence with None, or None
        The limit of all values, or one for each; None is no limit.
    default : float
        What no limit is: ``-inf`` or ``inf``.
    shape : tuple of int
        Shape of the array.
    name : str
        Whose limit it is, for the error.

    Returns
    -------
    ndarray, float64
        A new array of that shape.

    Raises
    ------
    BoundsError
        If it does not fit.
    """
    if isinstance(limit, (list, tuple)):
        limit = [default if entry is None else entry for entry in limit]
    try:
        values = np.asarray(default if limit is None else limit, dtype=np.float64)
        return np.array(np.broadcast_to(values, shape))
    except (TypeError, ValueError) as error:
        message = (
            f"a limit of {name!r} does not fit: {limit!r:.120}. Allowed is a number, None, or "
            f"an array of shape {shape}. Pass one of them."
        )
        raise BoundsError(message) from error


def checked(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Bounds | None:
    """Make a box of two limits.

    Parameters
    ----------
    lower, upper : ndarray, shape (n,), float64
        The limits.

    Returns
    -------
    Bounds or None
        The box; None where nothing is bounded.

    Raises
    ------
    BoundsError
        If a lower limit lies above its upper one, or one is NaN.
    """
    if np.isnan(lower).any() or np.isnan(upper).any() or (lower > upper).any():
        index = int(np.argmax(~(lower <= upper)))
        message = (
            f"bounds exclude every value of parameter {index}: lower {lower[index]}, upper "
            f"{upper[index]}. A lower limit may not lie above its upper one. Swap or widen them."
        )
        raise BoundsError(message)
    if np.isneginf(lower).all() and np.isposinf(upper).all():
        return None
    return Bounds(lower, upper)


def _unreadable(bounds: Any) -> str:
    return (
        f"bounds are not usable: {bounds!r:.120}. Allowed are pairs (lower, upper), an "
        "object with lb and ub, or a mapping from weight paths or layer names to pairs."
    )


def _columns(bounds: Any, size: int) -> tuple[list[Any], list[Any]]:
    pairs = list(bounds)
    if any(np.ndim(pair) == 0 or len(pair) != 2 for pair in pairs):
        raise BoundsError(_unreadable(bounds))
    if len(pairs) != size:
        message = (
            f"bounds have {len(pairs)} pairs for {size} parameters. Allowed is one pair for "
            "each parameter, or one for all. Name weights instead: {'layer/kernel': (0, None)}."
        )
        raise BoundsError(message)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
