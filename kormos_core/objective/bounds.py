"""Bounds on a model's weights in all the forms users give them, as one box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.box import checked, filled, flat_bounds, tell_unbounded
from kormos_core.errors import BoundsError, UnsupportedError, nearest
from kormos_core.protocols import Bounds

if TYPE_CHECKING:
    from kormos_core.objective.layout import Layout

__all__ = ["model_bounds", "name_unbounded"]


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
    return checked(box.lower, box.upper)


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
    return tell_unbounded(bounds, lambda index: _name(index, layout))


def _name(index: int, layout: Layout | None) -> str:
    if layout is not None:
        for variable, place in zip(layout.variables, layout.slices(), strict=True):
            if place.start <= index < place.stop:
                return f"{variable.path}[{index - place.start}]"
    return f"parameter {index}"


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
        lower, upper = filled(pair[0], -np.inf, shape, name), filled(pair[1], np.inf, shape, name)
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
