"""What a run is allowed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from kormos_core.errors import KormosError

__all__ = ["DEFAULT_TIME_S", "BudgetError", "Limits"]

DEFAULT_TIME_S: Final = 3.0
"""Seconds of each run where no limit at all is given."""


class BudgetError(KormosError, ValueError):
    """A limit of a comparison that cannot be kept."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run is allowed; None is without limit.

    Attributes
    ----------
    time_s : float or None
        Seconds of the solve, without tracing and compiling.
    evals : int or None
        Sweeps over the data: losses, with gradients or without, and Hessian products; epochs
        of Keras's optimizers.
    iterations : int or None
        Accepted iterations; epochs of Keras's optimizers.
    batch_size : int
        Samples of a minibatch of Keras's optimizers.

    Raises
    ------
    BudgetError
        If one is not positive.
    """

    time_s: float | None = None
    evals: int | None = None
    iterations: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Refuse what cannot be kept."""
        for field in dataclasses.fields(self):
            value, whole = getattr(self, field.name), field.name != "time_s"
            kinds = (int,) if whole else (int, float)
            fine = isinstance(value, kinds) and not isinstance(value, bool) and value > 0
            if value is not None and not (fine and math.isfinite(value)):
                what = "a whole number above 0" if whole else "a number of seconds above 0"
                message = (
                    f"{field.name}={value!r:.80} of the budget cannot be kept. Allowed is {what}, "
                    "or None for no limit. Correct it."
                )
                raise BudgetError(message)
        if self.batch_size is None:
            message = "batch_size=None is no minibatch. Allowed is a number above 0. Give one."
            raise BudgetError(message)

    @classmethod
    def of(cls, budget: Limits | Mapping[str, Any] | float | None) -> Limits:
        """Read a budget in any form that `kormos.compare` takes.

        Parameters
        ----------
        budget : Limits, mapping, float or None
            A mapping has the names of the attributes; a number is `time_s`.

        Returns
        -------
        Limits
            The same; with `DEFAULT_TIME_S` where nothing is limited.

        Raises
        ------
        BudgetError
            If it cannot be read or kept.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if budget is None:
            limits = cls()
        elif isinstance(budget, Limits):
            limits = budget
        elif isinstance(budget, Mapping):
            unknown = sorted(set(budget) - set(names))
            if unknown:
                message = (
                    f"unknown limits {unknown} of the budget. Allowed: {', '.join(names)}. "
                    "Correct them."
                )
                raise BudgetError(message)
            limits = cls(**budget)
        else:
            limits = cls(time_s=budget)
        if limits.time_s is None and limits.evals is None and limits.iterations is None:
            limits = dataclasses.replace(limits, time_s=DEFAULT_TIME_S)
        return limits

    def as_dict(self) -> dict[str, Any]:
        """Return the limits as a mapping for JSON; `time_s` as a float, 3 being 3.0."""
        time_s = None if self.time_s is None else float(self.time_s)
        return {**dataclasses.asdict(self), "time_s": time_s}

    @property
    def most_epochs(self) -> int:
        """Epochs of Keras's optimizers that no limit but the one of time allows."""
        most = [limit for limit in (self.evals, self.iterations) if limit is not None]
        return min(most, default=10**6)
