"""The quasi-Newton methods of optimistix.

Symbols: ``x`` parameters (n,), ``f`` loss; all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import optimistix

from kormos_core.loop import minimize_in_graph
from kormos_core.options import FLAG, check_options, whole
from kormos_optimistix.settings import MAX_EVALS, RULES, TOLERANCE, tolerances
from kormos_optimistix.stepwise import Stepwise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result

__all__ = ["BFGS", "LBFGS"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BFGS:
    """Minimize by dense BFGS: `optimistix.BFGS`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the loss are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    use_inverse : bool
        Whether the inverse of the Hessian is estimated, or the Hessian itself and equations
        solved with it.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's. `gtol` and `max_evals` are kormos's: optimistix tests no gradient.
    Cost: one evaluation of loss and gradient a step of the backtracking search, and O(n²)
    operations. Memory: eight n x n matrices while the estimate is updated.

    References
    ----------
    J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, algorithm 6.1,
    doi:10.1007/978-0-387-40065-5.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    use_inverse: bool = True
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"use_inverse": FLAG, **RULES})

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
        return optimistix.BFGS(**tolerances(self), use_inverse=self.use_inverse)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LBFGS:
    """Minimize by limited-memory BFGS: `optimistix.LBFGS`.

    Attributes
    ----------
    rtol, atol : float
        Ends the solve once steps and changes of the loss are both below
        ``atol + rtol * size``, in the `norm`.
    norm : {"max", "rms", "two"}
        Norm of that test.
    use_inverse : bool
        Whether the inverse of the Hessian is estimated, or the Hessian itself and equations
        solved with it.
    history_length : int
        Number of past steps that describe the curvature.
    gtol : float
        Ends the solve once the largest component of the gradient is at most this.
    max_evals : int
        Most evaluations.
    tol : float or None
        Sets `rtol` and `atol` where they are left at their defaults.

    Notes
    -----
    Iterates are optimistix's. `gtol` and `max_evals` are kormos's: optimistix tests no gradient.
    Cost: one evaluation of loss and gradient a step of the backtracking search. Memory: some
    ``4 history_length + 12`` vectors.

    References
    ----------
    R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and
    their use in limited memory methods", Math. Program. 63, 1994, doi:10.1007/BF01582063.
    """

    rtol: float = TOLERANCE
    atol: float = TOLERANCE
    norm: str = "max"
    use_inverse: bool = True
    history_length: int = 10
    gtol: float = 0.0
    max_evals: int = MAX_EVALS
    tol: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, {"use_inverse": FLAG, "history_length": whole(1), **RULES})

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
        return optimistix.LBFGS(
            **tolerances(self), use_inverse=self.use_inverse, history_length=self.history_length
        )
