"""Rules for the values of options, and the one sentence that refuses a bad one."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "FLAG",
    "NONNEGATIVE",
    "NUMBER",
    "POSITIVE",
    "Rule",
    "array",
    "check_options",
    "optional",
    "ordered",
    "whole",
    "within",
    "words",
]


@final
@dataclass(frozen=True, slots=True)
class Rule:
    """What values an option may take.

    Attributes
    ----------
    allowed : str
        The values in words, as the error tells them.
    accepts : callable
        Whether a value is one of them.
    ndim : int
        For an array its number of dimensions, else 0.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    ndim: int = 0


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and not math.isnan(value)


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


NUMBER: Final = Rule("a number", _is_number)
POSITIVE: Final = Rule(
    "a finite number above 0", lambda value: _is_number(value) and 0 < value < math.inf
)
NONNEGATIVE: Final = Rule(
    "a finite number, 0 or above", lambda value: _is_number(value) and 0 <= value < math.inf
)
FLAG: Final = Rule("True or False", lambda value: isinstance(value, (bool, np.bool_)))


def whole(least: int) -> Rule:
    """Allow whole numbers from `least` on.

    Parameters
    ----------
    least : int
        The smallest allowed value.

    Returns
    -------
    Rule
        The rule.
    """
    return Rule(
        f"a whole number, {least} or above", lambda value: _is_whole(value) and value >= least
    )


def within(low: float, high: float) -> Rule:
    """Allow numbers from `low` on and below `high`.

    Parameters
    ----------
    low, high : float
        The ends; `low` itself is allowed, `high` is not.

    Returns
    -------
    Rule
        The rule.
    """
    return Rule(
        f"a number from {low:g} on and below {high:g}",
        lambda value: _is_number(value) and low <= value < high,
    )


def words(*allowed: str) -> Rule:
    """Allow some strings.

    Parameters
    ----------
    *allowed : str
        The strings.

    Returns
    -------
    Rule
        The rule.
    """
    return Rule("one of " + ", ".join(map(repr, allowed)), lambda value: value in allowed)


def array(ndim: int) -> Rule:
    """Allow arrays of finite numbers.

    Parameters
    ----------
    ndim : int
        Number of dimensions.

    Returns
    -------
    Rule
        The rule; `check_options` also turns the array into nested tuples.
    """

    def accepts(value: object) -> bool:
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return False
        return numbers.ndim == ndim and bool(np.isfinite(numbers).all())

    return Rule(f"an array of finite numbers with {ndim} dimension(s)", accepts, ndim)


def optional(rule: Rule) -> Rule:
    """Allow None as well.

    Parameters
    ----------
    rule : Rule
        What else is allowed.

    Returns
    -------
    Rule
        The rule.
    """
    return Rule(
        f"{rule.allowed}, or None", lambda value: value is None or rule.accepts(value), rule.ndim
    )


def check_options(solver: Any, rules: Mapping[str, Rule]) -> None:
    """Refuse values that an option cannot take; freeze arrays into nested tuples.

    Tuples keep a solver immutable, comparable and hashable; SciPy takes them as arrays.

    Parameters
    ----------
    solver : dataclass instance
        The solver whose fields are its options.
    rules : mapping of str to Rule
        One for every field.

    Raises
    ------
    UnsupportedError
        When a value is not allowed.
    """
    for field in fields(solver):
        rule, value = rules[field.name], getattr(solver, field.name)
        if not rule.accepts(value):
            raise UnsupportedError(
                f"option {field.name}={value!r} of {type(solver).__name__} is not usable. "
                f"Allowed: {rule.allowed}. Left out it is {field.default!r}."
            )
        if rule.ndim and value is not None:
            frozen = _frozen(np.asarray(value, dtype=np.float64).tolist())
            object.__setattr__(solver, field.name, frozen)


def ordered(solver: object, what: str, *, holds: bool, cure: str) -> None:
    """Refuse options that contradict each other.

    Parameters
    ----------
    solver : object
        The solver.
    what : str
        The options and their values.
    holds : bool
        Whether they are in order.
    cure : str
        What is allowed, as a sentence.

    Raises
    ------
    UnsupportedError
        When they are not.
    """
    if not holds:
        raise UnsupportedError(
            f"options {what} of {type(solver).__name__} contradict each other. {cure}"
        )


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
