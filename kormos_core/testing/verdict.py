"""What became of a check."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from kormos_core.errors import KormosError
from kormos_core.testing.checks import CHECKS, find_check
from kormos_core.testing.law import CannotRunError, LawBrokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kormos_core.testing.case import Case
    from kormos_core.testing.check import Check

__all__ = ["Outcome", "Verdict", "judge", "judge_all"]

Outcome = Literal[
    "passed", "failed", "does not apply", "cannot run", "known failure", "passed unexpectedly"
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a check.

    Attributes
    ----------
    check : Check
        The check.
    outcome : str
        One of ``"passed"``, ``"failed"``, ``"does not apply"``, ``"cannot run"``, ``"known
        failure"``, and ``"passed unexpectedly"`` for a known failure that is none.
    message : str
        The reason; empty where it passed.
    seconds : float
        What it took.
    error : Exception or None
        What the check has raised.
    """

    check: Check
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0
    error: Exception | None = None

    @property
    def is_bad(self) -> bool:
        """Whether the solver does not conform."""
        return self.outcome in {"failed", "passed unexpectedly"}


def judge(check: Check, case: Case, known_failures: Mapping[str, str] | None = None) -> Verdict:
    """Make a check.

    Parameters
    ----------
    check : Check
        The check.
    case : Case
        The solver.
    known_failures : mapping of str to str, optional
        Names of checks that are known to fail, and why. They must fail.

    Returns
    -------
    Verdict
        What became of it.
    """
    began = time.perf_counter()
    known = (known_failures or {}).items()
    reason = next((why for name, why in known if check.is_named(name)), None)
    outcome: Outcome
    message = ""
    error: Exception | None = None
    try:
        why_not = check.why_not(case)
        if not why_not:
            check.run(case)
        outcome, message = ("does not apply", why_not) if why_not else ("passed", "")
    except CannotRunError as lack:
        outcome, message = "cannot run", str(lack)
    except LawBrokenError as broken:
        outcome, message, error = "failed", str(broken), broken
    except Exception as raised:  # noqa: BLE001 - whatever a plugin raises is told
        outcome, message, error = "failed", _told(raised), raised
    if reason is not None and outcome == "failed":
        outcome, message = "known failure", reason
    elif reason is not None and outcome != "cannot run":
        found = message or "it passes"
        outcome = "passed unexpectedly"
        message = f"known to fail ({reason}), and {found}. Drop it from the known failures."
    seconds = time.perf_counter() - began
    return Verdict(check=check, outcome=outcome, message=message, seconds=seconds, error=error)


def judge_all(
    case: Case,
    names: Iterable[str] = (),
    known_failures: Mapping[str, str] | None = None,
) -> Iterator[Verdict]:
    """Make several checks, one after the other.

    Parameters
    ----------
    case : Case
        The solver.
    names : iterable of str
        Their names; all checks where it is empty.
    known_failures : mapping of str to str, optional
        As of `judge`.

    Yields
    ------
    Verdict
        What became of each.

    Raises
    ------
    UnknownCheckError
        If a name is none of a check.
    """
    for name in known_failures or ():
        find_check(name)
    for check in [find_check(name) for name in names] or CHECKS:
        yield judge(check, case, known_failures)


def _told(error: Exception) -> str:
    """Tell an error of a solver's own, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, KormosError):
        place = ""
    return f"{type(error).__name__}: {error}{place}"
