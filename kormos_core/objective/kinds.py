"""The kinds of Hessian products, by name.

`auto` takes the backend's best exact kind. Besides the core's own kinds there are those
that plugins bring, named ``namespace:kind``.

Symbols: ``x`` parameters (n,), ``v`` direction (n,), ``hv`` product (n,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kormos_core.backends import current_backend
from kormos_core.curvature import AUTO, FINITE_DIFFERENCE, GAUSS_NEWTON, Kinds
from kormos_core.errors import UnsupportedError, nearest
from kormos_core.registry import installed

if TYPE_CHECKING:
    from kormos_core.backends import Linearize

__all__ = [
    "AUTO",
    "FINITE_DIFFERENCE",
    "HVP_KINDS",
    "check_kind",
    "kinds_of",
    "linearize",
]

HVP_KINDS = ("forward-over-reverse", "reverse-over-reverse", GAUSS_NEWTON, FINITE_DIFFERENCE)
"""Kinds of products that every backend has."""


def check_kind(kind: str) -> None:
    """Refuse a kind of Hessian product that there is not.

    Parameters
    ----------
    kind : str
        `AUTO`, one of `HVP_KINDS`, or a plugin's ``namespace:kind``.

    Raises
    ------
    UnsupportedError
        If it is none of them.
    """
    own = (AUTO, *HVP_KINDS)
    if kind in own:
        return
    brought = tuple(found.name for found in installed().hvps())
    if kind not in brought:
        allowed = (*own, *brought)
        message = (
            f"unknown kind of Hessian product: hvp={kind!r}.{nearest(str(kind), allowed)} "
            f"Allowed: {', '.join(allowed)}."
        )
        raise UnsupportedError(message)


def kinds_of(kind: str) -> Kinds:
    """Return the kinds to try where one is asked for.

    Parameters
    ----------
    kind : str
        The one to begin with, or `AUTO` for the backend's best.

    Returns
    -------
    Kinds
        It, the backend's exact kinds, and finite differences, which need no check.

    Raises
    ------
    UnsupportedError
        If there is no such kind.
    """
    check_kind(kind)
    if kind == FINITE_DIFFERENCE:
        return Kinds((kind,))
    own = tuple(current_backend().hvp_kinds)
    first = own[0] if kind == AUTO else kind
    order = (first, *(other for other in own if other != first), FINITE_DIFFERENCE)
    return Kinds(order, frozenset() if _is_exact(first) else frozenset({first}))


def _is_exact(kind: str) -> bool:
    """Tell whether a kind is the Hessian's own product and no approximation of it."""
    return installed().hvp(kind).spec.exact if ":" in kind else kind != GAUSS_NEWTON


def linearize(kind: str) -> Linearize:
    """Return what makes the product of a scalar function at a point.

    Parameters
    ----------
    kind : str
        An exact kind of the backend, or a plugin's.

    Returns
    -------
    callable
        Takes the function and ``x``; gives the function from ``v`` to ``hv``.
    """
    own = current_backend().hvp_kinds
    return own[kind] if kind in own else installed().hvp(kind).load()
