"""L-BFGS of torch, one iteration of `torch.optim.LBFGS` at a time.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``d`` direction (n,),
``t`` step length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

import numpy as np
import torch

from kormos_core import Result, Status
from kormos_core.options import NONNEGATIVE, POSITIVE, check_options, optional, whole, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective

    Evaluation = tuple[float, NDArray[np.float64]]

__all__ = ["LBFGS"]

_RULES: Final = {
    "lr": POSITIVE,
    "max_eval": optional(whole(1)),
    "tolerance_grad": NONNEGATIVE,
    "tolerance_change": NONNEGATIVE,
    "history_size": whole(1),
    "line_search_fn": optional(words("strong_wolfe")),
    "tol": optional(NONNEGATIVE),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGS:
    """Minimize as `torch.optim.LBFGS` does (`kormos_core.BatchOptimizer`).

    Attributes
    ----------
    lr : float
        First step length of each line search; without one, of each step.
    max_eval : int or None
        Most evaluations of loss and gradient; None means five for four iterations.
    tolerance_grad : float
        Ends the solve once the largest component of the gradient is at most this.
    tolerance_change : float
        Ends the solve once the step's largest component, or the change of the loss, or the
        slope along the direction is below this.
    history_size : int
        Corrections that are kept: two vectors each.
    line_search_fn : {"strong_wolfe"} or None
        None makes steps of length `lr` without looking; torch's own default.
    tol : float or None
        Sets `tolerance_grad` where that is left at its default.

    Notes
    -----
    The iterates are those of ``torch.optim.LBFGS`` with the same options in one ``step``, bit
    for bit. What differs: the line search is on by default; `maxiter` is an argument of
    `minimize`; why the solve ended is told, and a change below its tolerance that is none at
    all, or for the worse, is `STAGNATED`. Cost of an iteration: an evaluation or two. Memory:
    ``2 * history_size + 10`` vectors.

    References
    ----------
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization",
    Math. Program. 45, 1989, doi:10.1007/BF01589116.
    """

    lr: float = 1.0
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 100
    line_search_fn: Literal["strong_wolfe"] | None = "strong_wolfe"
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return _Solve(self, objective, x0).run(maxiter, callback)


@final
class _Solve:
    """One solve: torch's optimizer of one flat parameter."""

    def __init__(self, solver: LBFGS, objective: Objective, x0: NDArray[np.float64]) -> None:
        self._solver = solver
        self._objective = objective
        self._x = torch.from_numpy(np.array(x0, dtype=np.float64)).requires_grad_()
        self._known: dict[bytes, Evaluation] = {}  # of the latest iteration
        self._num_evals = 0
        self._gtol = _gradient_tolerance(solver)
        self._torch = torch.optim.LBFGS(
            [self._x],
            lr=solver.lr,
            max_iter=1,
            max_eval=1,
            tolerance_grad=self._gtol,
            tolerance_change=solver.tolerance_change,
            history_size=solver.history_size,
            line_search_fn=solver.line_search_fn,
        )

    def run(self, maxiter: int, callback: Callback) -> Result:
        """Iterate until a tolerance or a limit is reached."""
        limit = self._solver.max_eval or max(1, maxiter * 5 // 4)
        before = self._evaluate()
        status = Status.GRAD_TOL if self._is_flat(before) else None
        done = 0
        while status is None:
            x = self._point()
            self._torch.param_groups[0]["max_eval"] = 1 + max(0, limit - self._num_evals)
            self._torch.step(self._closure)
            if np.array_equal(self._point(), x):
                status = self._standstill(before)
                break
            after = self._evaluate()
            self._known = {self._point().tobytes(): after}
            callback(self._point())
            done += 1
            status, before = self._judge(before, after), after
            if status is None and done >= maxiter:
                status = Status.MAX_ITER
            if status is None and self._num_evals >= limit:
                status = Status.MAX_EVALS
        return Result(
            x=self._point(),
            loss=before[0],
            status=status,
            message=status.value,
            num_iterations=done,
        )

    def _judge(self, before: Evaluation, after: Evaluation) -> Status | None:
        """Tell whether an iteration that moved was the last one, in torch's order of tests."""
        f, g = after
        if not (math.isfinite(f) and np.isfinite(g).all()):
            return Status.NONFINITE
        if self._is_flat(after):
            return Status.GRAD_TOL
        least, state = self._solver.tolerance_change, self._torch.state[self._x]
        is_short = float(state["d"].mul(state["t"]).abs().max()) <= least
        if not is_short and not abs(f - before[0]) < least:
            return None
        if f >= before[0]:
            return Status.STAGNATED
        return Status.X_TOL if is_short else Status.F_TOL

    def _standstill(self, before: Evaluation) -> Status:
        """Tell why no step was made: torch makes none where it promises next to nothing."""
        direction = self._torch.state[self._x]["d"].numpy()
        slope = float(before[1] @ direction)
        if -self._solver.tolerance_change < slope < 0.0:
            return Status.F_TOL
        return Status.LINESEARCH_FAILED

    def _is_flat(self, at: Evaluation) -> bool:
        return float(np.abs(at[1]).max()) <= self._gtol

    def _point(self) -> NDArray[np.float64]:
        return np.array(self._x.detach().numpy())

    def _evaluate(self) -> Evaluation:
        """Evaluate where torch is, unless that was done in this iteration."""
        x = self._point()
        key = x.tobytes()
        if key not in self._known:
            self._num_evals += 1
            self._known[key] = self._objective.value_and_grad(x)
        return self._known[key]

    def _closure(self) -> torch.Tensor:
        f, g = self._evaluate()
        self._x.grad = torch.from_numpy(np.array(g, dtype=np.float64))
        return torch.tensor(f, dtype=torch.float64)


def _gradient_tolerance(solver: LBFGS) -> float:
    """Return `tolerance_grad`, or `tol` where that is given and the other one is not."""
    own = solver.tolerance_grad
    is_default = own == type(solver).__dataclass_fields__["tolerance_grad"].default
    return solver.tol if solver.tol is not None and is_default else own
