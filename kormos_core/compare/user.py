"""A user's own model and data as a problem: `module:function`."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from kormos_core.compare.problem import Data, Problem, UnknownProblemError
from kormos_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

__all__ = ["find", "make_problem"]

_FORM = (
    "Allowed is a function without arguments that returns (model, x, y), the model compiled with "
    "its loss and x and y arrays, or a kormos_core.compare.Problem."
)


@final
@dataclass(frozen=True, slots=True)
class _Own:
    """A function that makes model and data; it is called afresh for each of them."""

    name: str
    function: Callable[[], Any]

    def load(self) -> Data:
        """Return the data that the function gives."""
        import numpy as np

        _, x, y = _call(self.name, self.function)
        return Data(x=np.asarray(x), y=np.asarray(y))

    def build(self, dtype: str, start: int = 0) -> keras.Model:
        """Return the model that the function gives; Keras's `floatx` is its dtype."""
        del dtype, start
        model: keras.Model
        model, x, _ = _call(self.name, self.function)
        if not model.built:
            model(x[:1])
        return model

    def loss(self) -> None:
        """Return None: the model has its loss."""


def _call(name: str, function: Callable[[], Any]) -> Any:
    """Call a function, and see that it gives model and data, or a problem."""
    import keras

    try:
        made = function()
    except Exception as error:
        message = f"{name!r} raised {type(error).__name__}: {error}. {_FORM} Correct it."
        raise DataError(message) from error
    if isinstance(made, Problem):
        return made
    parts = made if isinstance(made, tuple) else (made,)
    arrays = len(parts) == 3 and all(hasattr(part, "shape") for part in parts[1:])
    if arrays and isinstance(parts[0], keras.Model):
        return made
    what = f"({', '.join(type(part).__name__ for part in parts)})"
    message = f"{name!r} returned {what}. {_FORM} Return that."
    raise DataError(message)


def find(name: str) -> Problem | Callable[[], Any]:
    """Import what a user names, without calling it.

    Parameters
    ----------
    name : str
        ``"package.module:function"``; the module may lie in the current folder.

    Returns
    -------
    Problem or callable
        What the module has under that name.

    Raises
    ------
    UnknownProblemError
        If the module cannot be imported, or has no such function.
    """
    module_name, _, attribute = name.partition(":")
    if (folder := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        message = (
            f"the problem {name!r} cannot be had: importing {module_name!r} gave "
            f"{type(error).__name__}: {error}. Allowed is module:function, the module being in "
            "this folder or installed. `kormos compare --list` lists what is there already."
        )
        raise UnknownProblemError(message) from error
    found = getattr(module, attribute, None)
    if isinstance(found, Problem):
        return found
    if not callable(found):
        what = "nothing of that name" if found is None else f"a {type(found).__name__}"
        message = (
            f"the problem {name!r} cannot be had: {module_name!r} has {what}. {_FORM} "
            "Name such a function."
        )
        raise UnknownProblemError(message)
    return found  # type: ignore[no-any-return]


def make_problem(name: str) -> Problem:
    """Make the problem of a user's function, which is called to see what it gives.

    Parameters
    ----------
    name : str
        As `find` takes it.

    Returns
    -------
    Problem
        The problem.

    Raises
    ------
    UnknownProblemError
        If there is no such function.
    DataError
        If the function raises, or returns something else.
    """
    found = find(name)
    made = found if isinstance(found, Problem) else _call(name, found)
    if isinstance(made, Problem):
        return made.renamed(name, made.sets)
    assert not isinstance(found, Problem)  # noqa: S101 - it was called
    module_name, _, attribute = name.partition(":")
    summary = f"{attribute} of {module_name}"
    return Problem(name=name, summary=summary, recipe=_Own(name, found))
