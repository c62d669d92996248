"""Bounds by parameter group, as one box on the flat vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kormos_core.box import checked, filled
from kormos_core.errors import BoundsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kormos_core import Bounds
    from kormos_torch.layout import Layout

__all__ = ["group_bounds"]


def group_bounds(groups: Iterable[Mapping[str, Any]], layout: Layout) -> Bounds | None:
    """Read the bounds of parameter groups.

    Parameters
    ----------
    groups : iterable of mapping
        As torch keeps them: ``"params"`` and ``"bounds"``, which is None or a pair
        ``(lower, upper)`` of None, numbers, or tensors that broadcast to each of the group's
        parameters.
    layout : Layout
        The parameters that are moved.

    Returns
    -------
    Bounds or None
        The box; None where nothing is bounded.

    Raises
    ------
    BoundsError
        If something is no such pair, does not fit its parameters, or excludes every value.
    """
    lower, upper = np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
    places = dict(zip(map(id, layout.parameters), layout.slices(), strict=True))
    for number, group in enumerate(groups):
        pair = group["bounds"]
        if pair is None:
            continue
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            message = (
                f"the bounds of parameter group {number} are not a pair: {pair!r:.120}. Allowed "
                "is (lower, upper) with None for no limit. Pass such a pair, or make a group for "
                "each pair."
            )
            raise BoundsError(message)
        for parameter in group["params"]:
            if id(parameter) not in places:
                continue  # it is frozen
            _refuse_complex(parameter, number)
            place, shape = places[id(parameter)], tuple(parameter.shape)
            name = f"parameter group {number}"
            lower[place] = filled(_array(pair[0]), -np.inf, shape, name).ravel()
            upper[place] = filled(_array(pair[1]), np.inf, shape, name).ravel()
    return checked(lower, upper)


def _array(limit: Any) -> Any:
    return limit.detach().cpu().double().numpy() if isinstance(limit, torch.Tensor) else limit


def _refuse_complex(parameter: torch.Tensor, number: int) -> None:
    if parameter.is_complex():
        message = (
            f"parameter group {number} has bounds and a complex parameter of shape "
            f"{tuple(parameter.shape)}: complex numbers have no order. Allowed are bounds on real "
            "ones. Keep real and imaginary part as two parameters."
        )
        raise BoundsError(message)
