"""What is asked of a method: refused where SciPy would only warn, and in SciPy's terms."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_scipy.global_specs import GLOBAL
from kormos_scipy.least_squares_specs import LEAST_SQUARES
from kormos_scipy.specs import SPECS

if TYPE_CHECKING:
    from kormos_core import Objective
    from kormos_scipy.methods import Method
    from kormos_scipy.space import Space

__all__ = ["check_request", "check_shapes", "options_as_they_apply", "options_for_scipy"]

# SciPy's iteration limit where kormos counts itself; it fits a C int.
_UNLIMITED = 2**31 - 1


def check_request(method: Method, objective: Objective, maxiter: int) -> None:
    """Refuse, as a second line of defense, what SciPy would ignore after a warning.

    Parameters
    ----------
    method : Method
        The method.
    objective : Objective
        What it is to minimize.
    maxiter : int
        Most accepted iterates.

    Raises
    ------
    UnsupportedError
        When the method cannot keep bounds or constraints, or the limit is below 1.
    """
    asked = {"bounds": objective.bounds is not None, "constraints": bool(objective.constraints)}
    for word in ("bounds", "constraints"):
        if asked[word] and word not in method.spec.supports:
            able = _able(method, word)
            cure = f", or use one that does: {able}" if able else ""
            raise UnsupportedError(
                f"scipy:{method.spec.name} does not honor {word}, and {word} are given. "
                f"Leave them out{cure}."
            )
    if maxiter < 1:
        raise UnsupportedError(
            f"iteration limit maxiter={maxiter!r} is not usable. "
            "Allowed: a whole number, 1 or above."
        )


def _able(method: Method, word: str) -> str:
    """Name the methods of its kind that honor something."""
    specs = [*SPECS.values(), *LEAST_SQUARES.values(), *GLOBAL.values()]
    return ", ".join(
        spec.name for spec in specs if spec.kind == method.spec.kind and word in spec.supports
    )


def check_shapes(method: Method, solver: Any, space: Space) -> None:
    """Refuse array options that do not fit the parameters.

    Parameters
    ----------
    method : Method
        The method.
    solver : dataclass instance
        The solver; its fields are SciPy's options.
    space : Space
        The parameters.

    Raises
    ------
    UnsupportedError
        When an array has another shape, or parameters are fixed by their bounds, which
        SciPy is then not told of.
    """
    for name, beyond in method.shapes.items():
        value = getattr(solver, name)
        if value is None:
            continue
        shape, wanted = np.shape(value), tuple(space.x0.size + more for more in beyond)
        if shape != wanted:
            raise UnsupportedError(
                f"option {name} of shape {shape} does not fit {space.x0.size} parameters. "
                f"Give it the shape {wanted}, or leave it out."
            )
        if space.free is not None:
            raise UnsupportedError(
                f"option {name} cannot be combined with parameters that their bounds fix: "
                f"{int((~space.free).sum())} of {space.x0.size}. Leave the option out."
            )


def options_as_they_apply(method: Method, solver: Any) -> dict[str, Any]:
    """Return the options, the general tolerance put where it applies.

    Parameters
    ----------
    method : Method
        The method.
    solver : dataclass instance
        The solver; its fields are SciPy's options, and the general tolerance ``tol``.

    Returns
    -------
    dict of str to object
        Values of all fields.
    """
    return {**_values(solver), **dict.fromkeys(_yielding(method, solver), solver.tol)}


def options_for_scipy(method: Method, solver: Any, maxiter: int) -> dict[str, Any]:
    """Return the options as SciPy takes them, and its iteration limit.

    An option that is given wins over the general tolerance in SciPy: those that are to
    yield are left out.

    Parameters
    ----------
    method : Method
        The method.
    solver : dataclass instance
        The solver; its fields are SciPy's options, and the general tolerance ``tol``.
    maxiter : int
        Most accepted iterates.

    Returns
    -------
    dict of str to object
        For the argument ``options`` of `scipy.optimize.minimize`.
    """
    left_out = _yielding(method, solver) | {"tol"}
    given = {name: value for name, value in _values(solver).items() if name not in left_out}
    for name in method.shapes:
        if given[name] is not None:
            given[name] = np.array(given[name], dtype=np.float64)
    if method.maxiter != "absent":
        given["maxiter"] = maxiter if method.maxiter == "same" else _UNLIMITED
    return given


def _values(solver: Any) -> dict[str, Any]:
    return {field.name: getattr(solver, field.name) for field in fields(solver)}


def _yielding(method: Method, solver: Any) -> set[str]:
    """Name the tolerances that the general one sets: those left at their defaults."""
    if solver.tol is None:
        return set()
    defaults = {field.name: field.default for field in fields(solver)}
    return {name for name in method.tol_options if getattr(solver, name) == defaults[name]}
