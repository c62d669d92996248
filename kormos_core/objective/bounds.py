"""Bounds in all the forms users give them, as one box on the flat vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.errors import BoundsError, UnsupportedError, nearest
from kormos_core.protocols import Bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core.objective.layout import Layout

__all__ = [
    "flat_bounds",
    "model_bounds",
    "name_unbounded",
    "project",
    "projected_gradient",
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
    lower = _fill(bounds[0], -np.inf, (size,), "bounds")
    upper = _fill(bounds[1], np.inf, (size,), "bounds")
    return _checked(lower, upper)


def model_bounds(bounds: Any, layout: Layout) -> Bounds | None:
    """Read bounds on a model's weights, those from Keras constraints included.

    Parameters
    ----------
    bounds : None, mapping, or what `flat_bounds` takes
        A mapping from a weight's path (``"dense/kernel"``) or a layer's name to a pair
        ``(lower, upper)`` of numbers, None, or arrays of the weight's shape.
    layout : Layout
        The trainable variables.

    Returns
    -------
    Bounds or None
        The box; `keras.constraints.NonNeg` on a weight gives it the lower limit 0.

    Raises
    ------
    BoundsError
        If a name fits no trainable weight, or a pair does not fit its weight.
    UnsupportedError
        If a weight has another Keras constraint.
    """
    box = Bounds(np.full(layout.size, -np.inf), np.full(layout.size, np.inf))
    for variable, place in zip(layout.variables, layout.slices(), strict=True):
        if _is_nonnegative(variable):
            box.lower[place] = 0.0
    if isinstance(bounds, Mapping):
        for name, pair in bounds.items():
            _bound_weights(box, layout, name, pair)
    elif (flat := flat_bounds(bounds, layout.size)) is not None:
        np.maximum(box.lower, flat.lower, out=box.lower)
        np.minimum(box.upper, flat.upper, out=box.upper)
    return _checked(box.lower, box.upper)


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


def name_unbounded(bounds: Bounds | None, layout: Layout | None = None) -> str:
    """Name parameters that bounds leave without a finite limit.

    Parameters
    ----------
    bounds : Bounds or None
        The box.
    layout : Layout or None
        The weights that the parameters are of; without it they are numbered.

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
    names = [
        f"{_name(int(i), layout)} in [{bounds.lower[i]:g}, {bounds.upper[i]:g}]"
        for i in places[:_MAX_NAMES]
    ]
    more = ", ..." if places.size > _MAX_NAMES else ""
    return f"{places.size} of {bounds.lower.size} have none: {', '.join(names)}{more}"


def _name(index: int, layout: Layout | None) -> str:
    if layout is not None:
        for variable, place in zip(layout.variables, layout.slices(), strict=True):
            if place.start <= index < place.stop:
                return f"{variable.path}[{index - place.start}]"
    return f"parameter {index}"


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


def _fill(limit: Any, default: float, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
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


def _checked(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Bounds | None:
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


def _is_nonnegative(variable: keras.Variable) -> bool:
    constraint = variable.constraint
    if constraint is None:
        return False
    if isinstance(constraint, keras.constraints.NonNeg):
        return True
    message = (
        f"the weight {variable.path!r} has the constraint {type(constraint).__name__}, which is "
        "no box: Keras projects onto it after every step, which a solver cannot. Allowed is "
        "NonNeg, which becomes a bound. Drop it and use bounds=, or train with a Keras optimizer."
    )
    raise UnsupportedError(message)


def _is_named(path: str, name: str) -> bool:
    """Tell whether a weight's path is, or ends in, a path, or lies in a layer of a name."""
    if "/" in name:
        return path == name or path.endswith(f"/{name}")
    return name in path.split("/")[:-1]


def _bound_weights(box: Bounds, layout: Layout, name: str, pair: Any) -> None:
    found = False
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        message = (
            f"the bounds of {name!r} are not a pair: {pair!r:.120}. "
            "Allowed is (lower, upper) with None for no limit. Pass such a pair."
        )
        raise BoundsError(message)
    for variable, place in zip(layout.variables, layout.slices(), strict=True):
        if not _is_named(variable.path, name):
            continue
        found = True
        shape = tuple(variable.shape)
        lower, upper = _fill(pair[0], -np.inf, shape, name), _fill(pair[1], np.inf, shape, name)
        box.lower[place] = np.maximum(box.lower[place], lower.ravel())
        box.upper[place] = np.minimum(box.upper[place], upper.ravel())
    if not found:
        paths = [variable.path for variable in layout.variables]
        known = [path.partition("/")[2] for path in paths] + paths  # without the model's name
        known += [layer for path in paths for layer in path.split("/")[:-1]]
        message = (
            f"bounds name {name!r}, which is no trainable weight and no layer with one."
            f"{nearest(name, known)} Trainable weights: {', '.join(paths)}."
        )
        raise BoundsError(message)
