"""The verdicts on a solver as a report: rows for a table, and what is wrong in full."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.testing.verdict import judge_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kormos_core.testing.case import Case
    from kormos_core.testing.verdict import Verdict

__all__ = ["Report", "make_report"]

_HEADINGS: Final = ("check", "outcome", "seconds", "law or reason")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdicts on a solver.

    Attributes
    ----------
    solver : str
        Its full name, and where it comes from.
    verdicts : tuple of Verdict
        One for each check, in the order in which they were made.
    """

    solver: str
    verdicts: tuple[Verdict, ...]

    @property
    def name(self) -> str:
        """Full name of the solver."""
        return self.solver.partition(" ")[0]

    @property
    def conforms(self) -> bool:
        """Whether nothing failed but what was known to."""
        return not any(verdict.is_bad for verdict in self.verdicts)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """A row for each check below the headings; failures are told by `complaints`."""
        return [_HEADINGS, *map(_row, self.verdicts)]

    @property
    def complaints(self) -> list[str]:
        """What is wrong, in full."""
        return [f"{v.check.name}: {v.message}" for v in self.verdicts if v.is_bad]

    @property
    def summary(self) -> str:
        """How many checks there were of each outcome, in a line."""
        counts = Counter(verdict.outcome for verdict in self.verdicts)
        told = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        return f"{self.solver} {'conforms' if self.conforms else 'does not conform'}: {told}."

    def to_json(self) -> dict[str, Any]:
        """Return the report in JSON's types.

        Returns
        -------
        dict
            ``solver``, ``conforms``, and ``checks``: name, law, outcome, message, seconds.
        """
        return {
            "solver": self.solver,
            "conforms": self.conforms,
            "checks": [
                {
                    "name": verdict.check.name,
                    "law": verdict.check.law,
                    "outcome": verdict.outcome,
                    "message": verdict.message,
                    "seconds": round(verdict.seconds, 3),
                }
                for verdict in self.verdicts
            ],
        }


def make_report(
    case: Case,
    names: Iterable[str] = (),
    known_failures: Mapping[str, str] | None = None,
    *,
    announce: Callable[[str], None],
) -> Report:
    """Make checks and report them.

    Parameters
    ----------
    case : Case
        The solver.
    names : iterable of str
        Names of the checks; all where it is empty.
    known_failures : mapping of str to str, optional
        Names of checks that must fail, and why.
    announce : callable
        Called with a line after each check.

    Returns
    -------
    Report
        The verdicts.

    Raises
    ------
    UnknownCheckError
        If a name is none of a check.
    """
    verdicts = []
    for verdict in judge_all(case, names, known_failures):
        verdicts.append(verdict)
        announce(f"{case.name}: {verdict.check.name} {verdict.outcome}")
    return Report(solver=case.registered.label, verdicts=tuple(verdicts))


def _row(verdict: Verdict) -> tuple[str, ...]:
    told = verdict.check.law if verdict.is_bad else verdict.message or verdict.check.law
    return verdict.check.name, verdict.outcome, f"{verdict.seconds:.2f}", told
