"""Names of the solvers to compare: those of the plugins, and Keras's own optimizers."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from kormos_core.errors import OptionError, UnknownSolverError, nearest
from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kormos_core.registry import Registered

__all__ = ["Contestant", "find_contestants", "split_names"]

_CALL = re.compile(r"(?P<name>[^()]+)(?:\((?P<options>.*)\))?", re.DOTALL)


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
    options : mapping of str to object
        Its options; what is left out has its default.
    """

    name: str
    registered: Registered | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and options: ``"adam(learning_rate=0.01)"``."""
        options = ", ".join(f"{name}={value!r}" for name, value in sorted(self.options.items()))
        return f"{self.name}({options})" if options else self.name

    @property
    def is_tuned(self) -> bool:
        """Whether a learning rate is to be found for it: Keras's own, and none is given."""
        return self.registered is None and "learning_rate" not in self.options


def split_names(text: str) -> list[str]:
    """Split a list of names at its commas, those within parentheses aside.

    Parameters
    ----------
    text : str
        Such as ``"native:lbfgs, adam(learning_rate=0.01, beta_1=0.8)"``.

    Returns
    -------
    list of str
        The names, none of them empty.
    """
    return [name.strip() for name in re.split(r",(?![^()]*\))", text) if name.strip()]


def find_contestants(
    names: Iterable[str] | Mapping[str, Mapping[str, Any] | None],
) -> tuple[Contestant, ...]:
    """Find what each name means; a name that Keras knows stays Keras's.

    Parameters
    ----------
    names : iterable of str, or mapping of str to mapping
        Full names, aliases, or names of Keras's optimizers, with options in parentheses where
        there are any: ``"adam(learning_rate=0.01)"``. Or a mapping from names to options.

    Returns
    -------
    tuple of Contestant
        One for each name, in order.

    Raises
    ------
    UnknownSolverError
        If nobody has a name, or none is given.
    OptionError
        If options cannot be read, or are not taken.
    KormosError
        If a name cannot be resolved for another reason.
    """
    if isinstance(names, Mapping):
        found = tuple(_find(name, dict(options or {})) for name, options in names.items())
    else:
        found = tuple(_find(*_read(name)) for name in names)
    if not found:
        message = (
            "there is no solver to compare: the list is empty. Allowed are the names that "
            "`kormos solvers` lists, and Keras's own such as 'adam'. Give at least one."
        )
        raise UnknownSolverError(message)
    return found


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``name(option=value, ...)``; the values are Python's literals."""
    call = _CALL.fullmatch(text.strip())
    if call is None:
        raise OptionError(_unreadable(text))
    if call["options"] is None:
        return call["name"].strip(), {}
    try:
        tree = ast.parse(f"f({call['options']})", mode="eval").body
        assert isinstance(tree, ast.Call)  # noqa: S101 - it is what was written
        if tree.args:
            raise OptionError(_unreadable(text))
        options = {str(word.arg): ast.literal_eval(word.value) for word in tree.keywords}
    except (SyntaxError, ValueError) as error:
        raise OptionError(_unreadable(text)) from error
    return call["name"].strip(), options


def _unreadable(text: str) -> str:
    return (
        f"the solver {text!r} cannot be read. Allowed is a name, or a name with options such as "
        "adam(learning_rate=0.01) or native:lbfgs(maxcor=20). Write it so."
    )


def _find(name: str, options: dict[str, Any]) -> Contestant:
    if ":" not in name and _is_of_keras(name):
        _check_options(name, options)
        return Contestant(name=name.lower(), options=options)
    try:
        registered = installed().resolve(name)
    except UnknownSolverError as error:
        guess = nearest(name, _names_of_keras()) if ":" not in name else ""
        if not guess:
            raise
        message = f"{error} Keras's own optimizers may stand in the list too.{guess}"
        raise UnknownSolverError(message) from None
    if options:
        registered.create(options)  # which refuses what it does not take
    return Contestant(name=registered.name, registered=registered, options=options)


def _is_of_keras(name: str) -> bool:
    import keras

    try:
        keras.optimizers.get(name)
    except (KeyError, TypeError, ValueError):  # the first two: base classes and wrappers
        return False
    return True


def _check_options(name: str, options: dict[str, Any]) -> None:
    import keras

    if not options:
        return
    try:
        keras.optimizers.get({"class_name": name.lower(), "config": options})
    except (TypeError, ValueError) as error:
        message = (
            f"Keras's {name} does not take the options {options}: {error}. Allowed are the "
            "arguments of its class. Correct them."
        )
        raise OptionError(message) from error


def _names_of_keras() -> list[str]:
    import keras

    return [name.lower() for name in vars(keras.optimizers) if _is_of_keras(name)]
