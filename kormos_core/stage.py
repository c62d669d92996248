"""One optimizer of a chain, and how far a chain has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.errors import OptionError, nearest
from kormos_core.optimizer import BatchOptimizer
from kormos_core.request import overridden

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

    from kormos_core.request import SolverRequest

__all__ = ["Place", "Stage"]

_KERAS: Final = ("epochs", "batch_size", "shuffle", "callbacks", "pretrain_fn")
_SOLVER: Final = (
    *("epochs", "batch_size", "callbacks", "pretrain_fn"),
    *("options", "bounds", "constraints", "tol"),
)


@final
@dataclass(frozen=True, slots=True)
class Place:
    """How far a chain has come.

    Attributes
    ----------
    stage : int
        Number of the stage at work, from 0; as many as there are once all are done.
    first : int
        Number of the stage's first epoch.
    following : int
        Number of the epoch to come.
    """

    stage: int
    first: int
    following: int


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One optimizer of a chain, and what it is given.

    Attributes
    ----------
    optimizer : keras.optimizers.Optimizer
        One of Keras's, which takes steps in minibatches, or a `kormos.BatchOptimizer`.
    arguments : mapping of str to object
        Arguments of `fit` for this stage alone.
    """

    optimizer: keras.optimizers.Optimizer
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arguments that the stage cannot honor."""
        allowed = _SOLVER if self.is_batch else _KERAS
        unknown = sorted(set(self.arguments) - set(allowed))
        if unknown:
            hint = nearest(unknown[0], allowed)
            message = (
                f"the stage {self.name!r} cannot honor {unknown[0]}="
                f"{self.arguments[unknown[0]]!r:.80}. {hint}Allowed are {', '.join(allowed)}. "
                "Leave it out."
            )
            raise OptionError(message)
        if isinstance(self.optimizer, BatchOptimizer):
            self.request.create()  # a wrong option is told before anything is fitted

    @property
    def is_batch(self) -> bool:
        """Whether a solver of kormos does the work."""
        return isinstance(self.optimizer, BatchOptimizer)

    @property
    def name(self) -> str:
        """Full name of the solver, or Keras's name of the optimizer's class: ``"adam"``."""
        if isinstance(self.optimizer, BatchOptimizer):
            return self.optimizer.request.registered.name
        return type(self.optimizer).__name__.lower()

    @property
    def request(self) -> SolverRequest:
        """What is asked of the solver; for stages that have one."""
        assert isinstance(self.optimizer, BatchOptimizer)  # noqa: S101 - see `is_batch`
        given = {key: self.arguments[key] for key in self.arguments if key != "callbacks"}
        return overridden(self.optimizer.request, **given)
