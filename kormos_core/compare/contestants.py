"""Names of the solvers to compare: those of the plugins, and Keras's own optimizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from kormos_core.errors import UnknownSolverError, nearest
from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kormos_core.registry import Registered

__all__ = ["Contestant", "find_contestants"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of the solvers to compare.

    Attributes
    ----------
    name : str
        Full name of a plugin's solver, or Keras's name of an optimizer.
    registered : Registered or None
        The solver's entry in the registry; None for Keras's optimizers.
    """

    name: str
    registered: Registered | None = None


def find_contestants(names: Iterable[str]) -> tuple[Contestant, ...]:
    """Find what each name means; a name that Keras knows stays Keras's.

    Parameters
    ----------
    names : iterable of str
        Full names, aliases, or names of Keras's optimizers.

    Returns
    -------
    tuple of Contestant
        One for each name, in order.

    Raises
    ------
    UnknownSolverError
        If nobody has a name, or none is given.
    KormosError
        If a name cannot be resolved for another reason.
    """
    found = tuple(_find(name) for name in names)
    if not found:
        message = (
            "there is no solver to compare: the list is empty. Allowed are the names that "
            "`kormos solvers` lists, and Keras's own such as 'adam'. Give at least one."
        )
        raise UnknownSolverError(message)
    return found


def _find(name: str) -> Contestant:
    if ":" not in name and _is_of_keras(name):
        return Contestant(name=name.lower())
    try:
        registered = installed().resolve(name)
    except UnknownSolverError as error:
        guess = nearest(name, _names_of_keras()) if ":" not in name else ""
        if not guess:
            raise
        message = f"{error} Keras's own optimizers may stand in the list too.{guess}"
        raise UnknownSolverError(message) from None
    return Contestant(name=registered.name, registered=registered)


def _is_of_keras(name: str) -> bool:
    import keras

    try:
        keras.optimizers.get(name)
    except (KeyError, TypeError, ValueError):  # the first two: base classes and wrappers
        return False
    return True


def _names_of_keras() -> list[str]:
    import keras

    return [name.lower() for name in vars(keras.optimizers) if _is_of_keras(name)]
