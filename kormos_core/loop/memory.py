"""All that a solve in the graph goes on from, as named arrays.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import keras
import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_core.loop.method import RUNNING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kormos_core.loop.method import State
    from kormos_core.run.chunk import Point

    Memory = dict[str, NDArray[Any]]

__all__ = ["Standing", "check_state", "pack", "standing", "unpack"]

_STATE: Final = "state_"
_BEST: Final = ("best_x", "best_f", "best_g")


class Standing(NamedTuple):
    """Where a solve stands.

    Attributes
    ----------
    x : ndarray, shape (n,), float64
        The latest accepted point.
    f : float
        The loss there.
    runs : bool
        Whether it may go on: it has not ended by itself.
    """

    x: NDArray[np.float64]
    f: float
    runs: bool


def pack(state: State, best: tuple[Any, Any, Any], last: Point, status: int) -> Memory:
    """Turn a method's state and two points into named arrays.

    Parameters
    ----------
    state : dict of str to tensor
        The state.
    best : tuple of tensor
        ``x``, ``f`` and ``g`` of the best point so far.
    last : Point
        The latest accepted point.
    status : int
        `RUNNING`, or the code of the reason to end.

    Returns
    -------
    dict of str to ndarray
        What `unpack` and `standing` read.
    """
    convert = keras.ops.convert_to_numpy
    arrays: Memory = {f"{_STATE}{name}": np.array(convert(value)) for name, value in state.items()}
    arrays |= {name: np.array(convert(value)) for name, value in zip(_BEST, best, strict=True)}
    return arrays | {"x": last.x, "f": np.array(last.f), "status": np.array(status)}


def unpack(memory: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], tuple[Any, Any, Any]]:
    """Read a method's state and the best point.

    Parameters
    ----------
    memory : mapping of str to ndarray
        What `pack` wrote.

    Returns
    -------
    state : dict of str to ndarray
        The method's state.
    best : tuple of ndarray
        ``x``, ``f`` and ``g`` of the best point so far.
    """
    state = {
        name.removeprefix(_STATE): array
        for name, array in memory.items()
        if name.startswith(_STATE)
    }
    x, f, g = (memory[name] for name in _BEST)
    return state, (x, f, g)


def standing(memory: Mapping[str, NDArray[Any]]) -> Standing:
    """Tell where a solve stands.

    Parameters
    ----------
    memory : mapping of str to ndarray
        What `pack` wrote.

    Returns
    -------
    Standing
        Where it stands.
    """
    return Standing(memory["x"], float(memory["f"]), int(memory["status"]) == RUNNING)


def check_state(state: dict[str, Any], expected: dict[str, Any], method: str) -> None:
    """Refuse a state that is not one of a method's.

    Parameters
    ----------
    state, expected : dict of str to ndarray
        The state, and one of the method's.
    method : str
        The method's name.

    Raises
    ------
    UnsupportedError
        If names, shapes or dtypes differ.
    """
    found, right = _kinds(state), _kinds(expected)
    if found != right:
        message = (
            f"the saved state does not fit {method}: it holds {found}. Allowed are {right}. "
            "Fit afresh, with resume=False."
        )
        raise UnsupportedError(message)


def _kinds(state: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{np.asarray(value).dtype}{list(np.shape(value))}"
        for name, value in sorted(state.items())
    }
