"""The gradient methods of optimistix.

Symbols: ``x`` parameters (n,), ``f`` loss; all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import optimistix

from kormos_core.loop import minimize_in_graph
from kormos_core.options import POSITIVE, check_options, words
from kormos_optimistix.settings import MAX_EVALS, RULES, TOLERANCE, tolerances
from kormos_optimistix.stepwise import Stepwise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["GradientDescent", "NonlinearCG"]

_FORMULAS: Final = ("polak_ribiere", "fletcher_reeves", "hestenes_stiefel", "dai_yuan")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NonlinearCG:
    """Minimize by nonlinear conjugate gradients: `optimistix.NonlinearCG`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the loss are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    method : {"polak_ribiere", "fletcher_reeves", "hestenes_stiefel", "dai_yuan"}
        Formula for the share of the last direction in the next one.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's. `gtol` and `max_evals` are kormos's: optimistix tests no gradient.
    Cost: one evaluation of loss and gradient a step of the backtracking search, which begins
    with a step of 1 each time. Memory: some ten vectors.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, section 5.2,
    doi:10.1007/978-0-387-40065-5.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    method: str = "polak_ribiere"
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"method": words(*_FORMULAS), **RULES})

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        method = Stepwise(solver=self)
        return minimize_in_graph(method, objective, x0, maxiter=maxiter, callback=callback)

    def build(self) -> Any:
        """Return optimistix's solver."""
        formula = getattr(optimistix, self.method)
        return optimistix.NonlinearCG(**tolerances(self), method=formula)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GradientDescent:
    """Minimize by steepest descent at a constant rate: `optimistix.GradientDescent`.

    Attributes
    ----------
    learning_rate : float
        Length of a step, in units of the gradient.
    rtol, atol : float
        Ends the solve once steps and changes of the loss are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's. `gtol` and `max_evals` are kormos's: optimistix tests no gradient,
    and has no default for `learning_rate`. Every step is accepted, one that goes up too. Cost:
    one evaluation of loss and gradient an iteration. Memory: some eight vectors.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, section 3.3,
    doi:10.1007/978-0-387-40065-5.
    """

    learning_rate: float = 0.01
    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"learning_rate": POSITIVE, **RULES})

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        method = Stepwise(solver=self)
        return minimize_in_graph(method, objective, x0, maxiter=maxiter, callback=callback)

    def build(self) -> Any:
        """Return optimistix's solver."""
        return optimistix.GradientDescent(self.learning_rate, **tolerances(self))
