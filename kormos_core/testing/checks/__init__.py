"""The checks, in the order in which they are made and told."""

from typing import Final

from kormos_core.errors import KormosError, nearest
from kormos_core.testing.check import Check
from kormos_core.testing.checks.capabilities import CAPABILITIES
from kormos_core.testing.checks.constraints import CONSTRAINTS
from kormos_core.testing.checks.declaration import DECLARATION
from kormos_core.testing.checks.faults import FAULTS
from kormos_core.testing.checks.limits import LIMITS
from kormos_core.testing.checks.memory import MEMORY
from kormos_core.testing.checks.minima import MINIMA
from kormos_core.testing.checks.results import RESULTS
from kormos_core.testing.checks.resuming import RESUMING

__all__ = ["CHECKS", "UnknownCheckError", "find_check"]

CHECKS: Final = (
    *DECLARATION,
    *MINIMA,
    *RESULTS,
    *LIMITS,
    *CONSTRAINTS,
    *FAULTS,
    *CAPABILITIES,
    *RESUMING,
    *MEMORY,
)
"""All checks."""


class UnknownCheckError(KormosError, LookupError):
    """A name that no check has."""


def find_check(name: str) -> Check:
    """Find a check by its name.

    Parameters
    ----------
    name : str
        The name, in any case, with underscores or hyphens.

    Returns
    -------
    Check
        The check.

    Raises
    ------
    UnknownCheckError
        If there is none of that name.
    """
    names = [check.name for check in CHECKS]
    for check in CHECKS:
        if check.is_named(name):
            return check
    message = f"unknown check {name!r}.{nearest(name, names)} Allowed: {', '.join(names)}."
    raise UnknownCheckError(message)
