"""How a check speaks: a law that was broken, or a package that it lacks."""

from __future__ import annotations

from typing import final

__all__ = ["CannotRunError", "LawBrokenError", "demand"]


@final
class LawBrokenError(AssertionError):
    """A solver that breaks a law: the law, what was seen, what to do."""


@final
class CannotRunError(Exception):
    """A check that lacks something here, such as a package; it says what."""


def demand(holds: object, law: str, *, seen: str, do: str) -> None:
    """Raise where a law does not hold.

    Parameters
    ----------
    holds : object
        Whether it does; taken for its truth.
    law : str
        The law, as a sentence.
    seen : str
        What was seen instead.
    do : str
        What the author of the solver is to do, as a sentence.

    Raises
    ------
    LawBrokenError
        If it does not.
    """
    if not holds:
        message = f"{law} Seen: {seen}. {do}"
        raise LawBrokenError(message)
