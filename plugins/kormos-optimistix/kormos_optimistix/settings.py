"""The options that all of the solvers have."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import optimistix

from kormos_core.options import NONNEGATIVE, POSITIVE, optional, whole, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAX_EVALS", "NORMS", "RULES", "TOLERANCE", "Settings", "tolerances"]

TOLERANCE: Final = 1e-8
"""`rtol` and `atol`, which optimistix has no default for: what its documentation takes."""

MAX_EVALS: Final = 15000
"""Most evaluations."""

NORMS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "max": optimistix.max_norm,
        "rms": optimistix.rms_norm,
        "two": optimistix.two_norm,
    }
)
"""Norms by name."""

RULES: Final = {
    "rtol": POSITIVE,
    "atol": POSITIVE,
    "norm": words(*NORMS),
    "gtol": NONNEGATIVE,
    "max_evals": whole(1),
    "tol": optional(POSITIVE),
}
"""Rules for them."""


class Settings(Protocol):
    """A solver with its options."""

    @property
    def rtol(self) -> float:
        """Relative tolerance of optimistix's test."""
        ...

    @property
    def atol(self) -> float:
        """Absolute tolerance of it."""
        ...

    @property
    def norm(self) -> str:
        """Name of its norm."""
        ...

    @property
    def gtol(self) -> float:
        """Largest component of a gradient that counts as zero."""
        ...

    @property
    def max_evals(self) -> int:
        """Most evaluations."""
        ...

    @property
    def tol(self) -> float | None:
        """What replaces the defaults of `rtol` and `atol`."""
        ...

    def build(self) -> Any:
        """Return optimistix's solver."""
        ...


def tolerances(solver: Settings) -> dict[str, Any]:
    """Return what optimistix's solvers are told of when to end.

    Parameters
    ----------
    solver : Settings
        The solver.

    Returns
    -------
    dict of str to object
        ``rtol``, ``atol`` and ``norm``.
    """
    given = {"rtol": solver.rtol, "atol": solver.atol}
    if solver.tol is not None:
        given = {k: solver.tol if v == TOLERANCE else v for k, v in given.items()}
    return {**given, "norm": NORMS[solver.norm]}
