"""A user's function that is told of every accepted iterate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from kormos_core import Status, StopSolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.run import Iterate
    from kormos_torch.objective import ClosureObjective

__all__ = ["Told"]


@final
class Told:
    """Hand accepted iterates on (`kormos_core.run.Observer`).

    Parameters
    ----------
    callback : callable or None
        Takes an `Iterate`; the parameters are set to it. True, or `StopIteration` raised,
        ends the solve.
    objective : ClosureObjective
        What moves the parameters.
    """

    def __init__(
        self, callback: Callable[[Iterate], Any] | None, objective: ClosureObjective
    ) -> None:
        self._callback = callback
        self._objective = objective

    def begin(self, number: int) -> None:
        """Take note that iteration `number` begins: nobody is told of that."""

    def iterate(self, iterate: Iterate) -> None:
        """Set the parameters to an accepted `iterate` and hand it on."""
        if self._callback is None:
            return
        self._objective.show(iterate.x)
        try:
            stops = self._callback(iterate) is True
        except StopIteration:
            stops = True
        if stops:
            raise StopSolve(Status.STOPPED_BY_CALLBACK)

    def passed(self, iterate: Iterate) -> None:
        """Take note of an `iterate` whose point is not known: with a callback there is none."""
