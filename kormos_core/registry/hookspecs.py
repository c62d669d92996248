"""What a plugin may implement, as pluggy specifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kormos_core.capabilities import HVPSpec, ProblemSpec, SolverSpec

__all__ = ["hookimpl", "hookspec", "kormos_hvps", "kormos_problems", "kormos_solvers"]

hookspec = pluggy.HookspecMarker("kormos")
"""Marks a specification of a hook; for the core alone."""

hookimpl = pluggy.HookimplMarker("kormos")
"""Marks a plugin's implementation of a hook."""


@hookspec
def kormos_solvers() -> Iterable[SolverSpec]:
    """Declare the solvers of a plugin.

    The module that implements it is cheap to import: no backend, no solver library.
    What a solver needs is imported when its factory is first used.

    Returns
    -------
    iterable of SolverSpec
        The solvers, their names unique within the plugin; the first is listed first.
    """
    raise NotImplementedError


@hookspec
def kormos_hvps() -> Iterable[HVPSpec]:
    """Declare kinds of Hessian products, for ``hvp="namespace:kind"``.

    The module that implements it is as cheap to import as that of `kormos_solvers`.

    Returns
    -------
    iterable of HVPSpec
        The kinds, their names unique within the plugin.
    """
    raise NotImplementedError


@hookspec
def kormos_problems() -> Iterable[ProblemSpec]:
    """Declare problems for `kormos compare`, each named ``"namespace:name"``.

    The module that implements it is as cheap to import as that of `kormos_solvers`.

    Returns
    -------
    iterable of ProblemSpec
        The problems, their names unique within the plugin.
    """
    raise NotImplementedError
