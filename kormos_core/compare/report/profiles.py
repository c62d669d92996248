"""Performance profiles and data profiles: which share of the instances is solved at what cost.

Symbols: ``t`` costs (instances, solvers), infinite where the solver did not solve the
instance; ``r`` their ratios to the least of each instance.

References
----------
Dolan and Moré (2002), Benchmarking optimization software with performance profiles, Math.
Program. 91, section 2, doi:10.1007/s101070100263.
Moré and Wild (2009), Benchmarking derivative-free optimization algorithms, SIAM J. Optim.
20(1), section 2, doi:10.1137/080724083.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["CostError", "Profile", "data_profiles", "performance_profiles", "performance_ratios"]


class CostError(KormosError, ValueError):
    """Costs of which no profile can be made."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The share of the instances that a solver solved, as a step function of what it may cost.

    Attributes
    ----------
    solver : str
        The solver.
    x : ndarray, shape (k,), float64, rising
        Where the share steps up: ratios to the best, or costs.
    share : ndarray, shape (k,), float64, in [0, 1]
        The share from that step on; 0 before the first.
    """

    solver: str
    x: NDArray[np.float64]
    share: NDArray[np.float64]

    def at(self, x: float) -> float:
        """Return the share at a ratio or cost.

        Parameters
        ----------
        x : float
            The ratio or cost.

        Returns
        -------
        float
            The share of the instances that took no more, in [0, 1].
        """
        index = int(np.searchsorted(self.x, x, side="right"))
        return float(self.share[index - 1]) if index else 0.0

    @property
    def solved(self) -> float:
        """The share that was solved at any cost, in [0, 1]."""
        return float(self.share[-1]) if self.share.size else 0.0


def performance_ratios(costs: ArrayLike) -> NDArray[np.float64]:
    """Divide each instance's costs by the least of them.

    Parameters
    ----------
    costs : array_like, shape (instances, solvers)
        Costs t > 0; infinite where the solver did not solve the instance.

    Returns
    -------
    ndarray, shape (instances, solvers), float64
        Ratios r = t / min t over the solvers, at least 1; infinite where t is, thus in all of
        the row of an instance that nobody solved.

    Raises
    ------
    CostError
        If a cost is NaN, zero or negative, or the shape is another.

    References
    ----------
    Dolan and Moré (2002), section 2, the performance ratio. There a ratio r_M that no other
    reaches stands for what is not solved; infinity does here.
    """
    t = _checked(costs)
    least = t.min(axis=1, keepdims=True, initial=np.inf)
    return np.where(np.isfinite(t), t / np.where(np.isfinite(least), least, 1.0), np.inf)


def performance_profiles(costs: ArrayLike, solvers: Sequence[str]) -> tuple[Profile, ...]:
    """Make the performance profile of each solver.

    Parameters
    ----------
    costs : array_like, shape (instances, solvers)
        Costs t > 0; infinite where the solver did not solve the instance. Instances that
        nobody solved count, so that no share reaches 1.
    solvers : sequence of str
        Names of the columns.

    Returns
    -------
    tuple of Profile
        In the order of `solvers`; `Profile.x` are ratios. The share at 1 is that of the
        instances on which the solver was the best, alone or with others: ties count for all
        of them, so these shares may sum to more than 1.

    Raises
    ------
    CostError
        If a cost is NaN, zero or negative, or the shape does not fit.

    References
    ----------
    Dolan and Moré (2002), section 2, the profile rho_s.
    """
    _check_width(costs, solvers)
    return _step_functions(performance_ratios(costs), solvers)


def data_profiles(
    costs: ArrayLike, solvers: Sequence[str], *, num_parameters: ArrayLike | None = None
) -> tuple[Profile, ...]:
    """Make the data profile of each solver.

    Parameters
    ----------
    costs : array_like, shape (instances, solvers)
        Costs t > 0; infinite where the solver did not solve the instance.
    solvers : sequence of str
        Names of the columns.
    num_parameters : array_like or None, shape (instances,)
        Numbers n of parameters: costs are divided by n + 1 as in the source, where an
        evaluation has no gradient and n + 1 of them make a simplex one. None, for solvers
        with gradients, leaves costs as they are.

    Returns
    -------
    tuple of Profile
        In the order of `solvers`; `Profile.x` are costs.

    Raises
    ------
    CostError
        If a cost is NaN, zero or negative, or a shape does not fit.

    References
    ----------
    Moré and Wild (2009), section 2.2, the profile d_s.
    """
    _check_width(costs, solvers)
    t = _checked(costs)
    if num_parameters is None:
        return _step_functions(t, solvers)
    n = np.asarray(num_parameters, dtype=np.float64)
    if n.shape != t.shape[:1] or not (n > 0).all():
        message = (
            f"num_parameters has shape {n.shape}, least value {n.min(initial=np.inf):g}. Allowed "
            f"is a positive number for each of the {len(t)} instances. Give those, or None."
        )
        raise CostError(message)
    return _step_functions(t / (n[:, None] + 1.0), solvers)


def _step_functions(values: NDArray[np.float64], solvers: Sequence[str]) -> tuple[Profile, ...]:
    profiles = []
    for column, solver in enumerate(solvers):
        solved = values[np.isfinite(values[:, column]), column]
        x, counts = np.unique(solved, return_counts=True)
        share = np.cumsum(counts) / max(len(values), 1)
        profiles.append(Profile(solver=solver, x=x, share=share))
    return tuple(profiles)


def _checked(costs: ArrayLike) -> NDArray[np.float64]:
    t = np.asarray(costs, dtype=np.float64)
    if t.ndim != 2:
        message = (
            f"costs have shape {t.shape}. Allowed is (instances, solvers). Give a row for each "
            "instance."
        )
        raise CostError(message)
    if not (t > 0).all():
        row, column = np.argwhere(~(t > 0))[0]
        message = (
            f"the cost of instance {row}, solver {column} is {t[row, column]:g}. Allowed are "
            "positive numbers, and infinity for what was not solved. Leave out instances that "
            "a solver did not run on."
        )
        raise CostError(message)
    return t


def _check_width(costs: Any, solvers: Sequence[str]) -> None:
    shape = np.shape(costs)
    if len(shape) == 2 and shape[1] != len(solvers):
        message = (
            f"costs have shape {shape} for {len(solvers)} solvers. Allowed is a column for each "
            "solver. Name each column once."
        )
        raise CostError(message)
