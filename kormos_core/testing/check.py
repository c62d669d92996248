"""What a check is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.testing.case import Case

__all__ = ["Check"]

_KINDS = ("batch", "least-squares", "global")


def _always(_: Case) -> str:
    return ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One law, and the function that finds out whether a solver keeps it.

    Attributes
    ----------
    name : str
        Its name, in lower case with underscores.
    law : str
        The law, in a line.
    run : callable
        Takes a `Case`; raises where it breaks the law.
    exception : callable
        Takes a `Case`; says in half a sentence why the law is none of its concern, or
        nothing.
    solves : bool
        Whether the solver is made to solve something.
    is_heavy : bool
        Whether it takes ten seconds and more, in a process of its own.
    """

    name: str
    law: str
    run: Callable[[Case], None]
    exception: Callable[[Case], str] = _always
    solves: bool = True
    is_heavy: bool = False

    def is_named(self, name: str) -> bool:
        """Tell whether this is the check of a name.

        Parameters
        ----------
        name : str
            The name, in any case, with underscores or hyphens.

        Returns
        -------
        bool
            Whether it is.
        """
        return self.name == name.lower().replace("-", "_")

    def why_not(self, case: Case) -> str:
        """Say why the check does not apply to a solver.

        Parameters
        ----------
        case : Case
            The solver.

        Returns
        -------
        str
            Half a sentence; empty where the check applies.
        """
        if self.solves:
            spec = case.spec
            if spec.kind not in _KINDS:
                return f"it is a {spec.kind} solver, and kormos runs {', '.join(_KINDS)}"
            if spec.backends:
                from kormos_core.backends import current_backend

                here = current_backend().name
                if here not in spec.backends:
                    return f"it runs on {', '.join(sorted(spec.backends))}, and here is {here}"
        return self.exception(case)
