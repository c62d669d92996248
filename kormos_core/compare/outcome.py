"""What a comparison found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from kormos_core.compare.problem import Problem

__all__ = ["Comparison", "Outcome"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One solver's row.

    Attributes
    ----------
    solver : str
        Its name.
    reason : str
        Why it stopped, or the first sentence of its error.
    failed : bool
        Whether it ended with an error; then there are no figures.
    status : str or None
        Name of the `Status`; None for Keras's optimizers, which have none, and for errors.
    message : str
        The reason in full.
    num_iterations : int or None
        Accepted iterations; epochs of Keras's optimizers.
    num_steps : int or None
        Minibatch steps of Keras's optimizers; None for batch solvers.
    fg_evals, hessp_evals : int or None
        Sweeps over the training data: for the loss, with its gradient or without, and for
        a Hessian-vector product.
    first_call_s : float or None
        Seconds of tracing and compiling, with the one evaluation that brings it about (for
        Keras's optimizers one epoch); undone before training begins.
    wall_time_s : float or None
        Seconds of training; the first call is not in it.
    loss, grad_norm : float or None
        Loss over the training data and the 2-norm of its gradient where the solver ended,
        measured by one objective for all.
    metric : float or None
        The problem's metric on the validation data.
    notes : tuple of str
        Warnings that it gave.
    """

    solver: str
    reason: str
    failed: bool = False
    status: str | None = None
    message: str = ""
    num_iterations: int | None = None
    num_steps: int | None = None
    fg_evals: int | None = None
    hessp_evals: int | None = None
    first_call_s: float | None = None
    wall_time_s: float | None = None
    loss: float | None = None
    grad_norm: float | None = None
    metric: float | None = None
    notes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The rows of all solvers on one problem.

    Attributes
    ----------
    problem : Problem
        The problem.
    dtype : str
        Dtype of parameters and data.
    seed : int
        Seed of initial weights and of the order of minibatches.
    num_parameters, num_samples, num_validation_samples : int
        Sizes.
    batch_size : int
        Samples of a minibatch of Keras's optimizers.
    start_loss : float
        Loss of the initial weights.
    outcomes : tuple of Outcome
        One row for each solver, in the order asked for.
    interrupted : bool
        Whether the user ended it before the last solver.
    """

    problem: Problem
    dtype: str
    seed: int
    num_parameters: int
    num_samples: int
    num_validation_samples: int
    batch_size: int
    start_loss: float
    outcomes: tuple[Outcome, ...]
    interrupted: bool = False

    @property
    def best(self) -> Outcome | None:
        """The row of the least loss; None where every solver failed."""
        finished = {
            index: row.loss
            for index, row in enumerate(self.outcomes)
            if row.loss is not None and math.isfinite(row.loss)
        }
        return self.outcomes[min(finished, key=finished.__getitem__)] if finished else None
