"""What became of one installed plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from kormos_core.capabilities import HVPSpec, ProblemSpec, SolverSpec

__all__ = ["Plugin", "PluginStatus", "canonical"]

PluginStatus = Literal["loaded", "broken", "conflict", "disabled"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One entry point of the group ``kormos``, and what became of it.

    Attributes
    ----------
    namespace : str
        The entry point's name in lower case; empty where the distribution's entry
        points cannot be read.
    distribution : str
        Name of the distribution that declares the entry point.
    version : str
        Its version.
    target : str
        The entry point's value: ``"package.module"`` or ``"package.module:object"``.
    status : {"loaded", "broken", "conflict", "disabled"}
        Whether it can be used; ``"conflict"`` where another distribution claims the
        same namespace.
    solvers : tuple of SolverSpec
        What it declares, in its own order.
    skipped : tuple of SolverSpec
        Solvers that it declares for a later plugin interface than this core speaks.
    hvps : tuple of HVPSpec
        Kinds of Hessian products that it declares.
    problems : tuple of ProblemSpec
        Problems of the comparison that it declares.
    skipped_others : tuple of HVPSpec or ProblemSpec
        Kinds and problems that it declares for a later plugin interface.
    reason : str
        Why it cannot be used; empty where it can.
    traceback : str
        Where it broke; empty where it did not.
    """

    namespace: str
    distribution: str
    version: str
    target: str
    status: PluginStatus = "loaded"
    solvers: tuple[SolverSpec, ...] = ()
    skipped: tuple[SolverSpec, ...] = ()
    hvps: tuple[HVPSpec, ...] = ()
    problems: tuple[ProblemSpec, ...] = ()
    skipped_others: tuple[HVPSpec | ProblemSpec, ...] = ()
    reason: str = ""
    traceback: str = ""

    @property
    def label(self) -> str:
        """Distribution and version: ``"kormos-scipy 0.2.0"``."""
        return f"{self.distribution} {self.version}"

    @property
    def title(self) -> str:
        """Namespace and origin: ``"scipy (kormos-scipy 0.2.0)"``."""
        return f"{self.namespace} ({self.label})" if self.namespace else self.label

    @property
    def num_faults(self) -> int:
        """How many things about it want the user's attention."""
        skipped = len(self.skipped) + len(self.skipped_others)
        return (self.status in {"broken", "conflict"}) + skipped


def canonical(name: str) -> str:
    """Normalize a distribution's name as packaging tools do.

    Parameters
    ----------
    name : str
        As its author writes it: ``"Kormos_SciPy"``.

    Returns
    -------
    str
        Lower case, each run of hyphens, underscores and dots one hyphen:
        ``"kormos-scipy"``.
    """
    return re.sub(r"[-_.]+", "-", name).lower()
