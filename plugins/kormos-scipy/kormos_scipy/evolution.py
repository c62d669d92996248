"""Differential evolution: a population of points, each challenged by a mix of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike  # noqa: TC002 - kormos reads the fields' types at run time

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.options import (
    FLAG,
    NONNEGATIVE,
    Rule,
    array,
    check_options,
    whole,
    within,
    words,
)
from kormos_scipy.global_run import Outcome, run_global
from kormos_scipy.local_search import BOUNDED, OPTIONS, LocalSearch, freeze_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.global_run import Search

__all__ = ["DifferentialEvolution"]

_FACTOR: Final = within(0.0, 2.0)
_POPULATION: Final = array(2)
_INITS: Final = words("latinhypercube", "sobol", "halton", "random")
_STRATEGIES: Final = tuple(
    f"{what}{how}"
    for how in ("bin", "exp")
    for what in ("best1", "rand1", "randtobest1", "currenttobest1", "best2", "rand2")
)
_LEAST: Final = 5  # members of a population


def _is_mutation(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len(value) == 2 and all(map(_FACTOR.accepts, value)) and value[0] < value[1]
    return _FACTOR.accepts(value)


def _is_init(value: Any) -> bool:
    if isinstance(value, str):
        return _INITS.accepts(value)
    return _POPULATION.accepts(value) and len(np.asarray(value)) >= _LEAST


_RULES: Final = {
    "strategy": words(*_STRATEGIES),
    "max_generations": whole(1),
    "popsize": whole(1),
    "tol": NONNEGATIVE,
    "atol": NONNEGATIVE,
    "mutation": Rule(f"{_FACTOR.allowed}, or two of them in rising order", _is_mutation),
    "recombination": Rule(
        "a number from 0 to 1", lambda value: NONNEGATIVE.accepts(value) and value <= 1
    ),
    "init": Rule(
        f"{_INITS.allowed}, or an array of finite numbers with 2 dimensions and {_LEAST} rows or "
        "more",
        _is_init,
    ),
    "updating": words("immediate", "deferred"),
    "polish": FLAG,
    "local_method": words(*BOUNDED),
    "local_options": OPTIONS,
    "rng": whole(0),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialEvolution:
    """Minimize in a box by differential evolution.

    Attributes
    ----------
    strategy : str
        How challengers are made: the base (``best1``, ``rand1``, ``randtobest1``,
        ``currenttobest1``, ``best2``, ``rand2``) and the crossover (``bin``, ``exp``).
    max_generations : int
        Most generations: SciPy's ``maxiter``, which is kormos's iteration limit here. The
        lower one of both holds.
    popsize : int
        Members of the population are this times n.
    tol, atol : float
        Ends the search once the losses' standard deviation over the population is at most
        ``atol + tol * |mean|``.
    mutation : float or tuple of two floats
        Factor of differences; of a pair a new one is drawn between them in each generation.
    recombination : float
        Share of components that a challenger takes over.
    init : str or array_like, shape (s, n)
        How the first population is drawn, or the population itself, clipped to the bounds.
    updating : {"immediate", "deferred"}
        Whether a better point counts at once, or in the next generation.
    polish : bool
        Whether a local search from the best member follows.
    local_method : str
        Method of that search, by its name here; one that keeps bounds.
    local_options : mapping of str to object, or None
        Its options, ``maxiter`` among them.
    rng : int
        Seed; the same one gives the same search.

    Notes
    -----
    An iteration is a generation; its row tells the best point so far. ``x0`` replaces the first
    member. Cost: `popsize` n evaluations of the loss to start and in each generation. Memory:
    some five times the population, `popsize` n² numbers. The local search has the exact
    gradient, where SciPy takes differences. Of SciPy's arguments ``workers`` and ``vectorized``
    are left out, as the loss is compiled here for one point at a time, and ``integrality``, as
    the first accepted point, ``x0``, need not be whole.

    References
    ----------
    R. Storn, K. Price, "Differential Evolution - a Simple and Efficient Heuristic for Global
    Optimization over Continuous Spaces", J. Glob. Optim. 11, 1997,
    doi:10.1023/A:1008202821328.
    """

    strategy: str = "best1bin"
    max_generations: int = 1000
    popsize: int = 15
    tol: float = 0.01
    atol: float = 0.0
    mutation: float | tuple[float, float] = (0.5, 1.0)
    recombination: float = 0.7
    init: str | ArrayLike = "latinhypercube"
    updating: str = "immediate"
    polish: bool = True
    local_method: str = "l-bfgs-b"
    local_options: Mapping[str, Any] | None = None
    rng: int = 0

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)
        freeze_options(self)
        if isinstance(self.mutation, list):
            object.__setattr__(self, "mutation", tuple(self.mutation))
        if not isinstance(self.init, str):
            rows = np.asarray(self.init, dtype=np.float64).tolist()
            object.__setattr__(self, "init", tuple(map(tuple, rows)))

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run_global(
            "differential-evolution",
            self._search,
            objective,
            x0,
            maxiter=maxiter,
            callback=callback,
        )

    def _search(self, search: Search) -> Outcome:
        local = LocalSearch.of(self, search.samples, search.space) if self.polish else None
        num_generations = min(self.max_generations, search.rows.limit)

        def evolved(*_: object, **__: object) -> None:
            search.rows.report()

        raw = scipy.optimize.differential_evolution(
            search.samples.value,
            search.pairs,
            strategy=self.strategy,
            maxiter=num_generations,
            popsize=self.popsize,
            tol=self.tol,
            mutation=self.mutation,
            recombination=self.recombination,
            rng=self.rng,
            callback=evolved,
            polish=local or False,
            init=self._first_population(search),
            atol=self.atol,
            updating=self.updating,
            x0=_inside(search),
        )
        if raw.success:
            detail = "Those of the population differ by atol + tol * |mean| at most."
            return Outcome(status=Status.F_TOL, detail=detail, raw=raw)
        word = "max_generations" if num_generations == self.max_generations else "maxiter"
        detail = f"It is {word}={num_generations}."
        return Outcome(status=Status.MAX_ITER, detail=detail, raw=raw)

    def _first_population(self, search: Search) -> Any:
        if isinstance(self.init, str):
            return self.init
        members, num_parameters = np.array(self.init, dtype=np.float64), search.space.x0.size
        if members.shape[1] != num_parameters:
            raise UnsupportedError(
                f"option init of shape {members.shape} does not fit {num_parameters} parameters. "
                f"Give it a row for each member and {num_parameters} columns."
            )
        return members if search.space.free is None else members[:, search.space.free]


def _inside(search: Search) -> NDArray[np.float64]:
    """Return the start where SciPy, which scales it to 0 to 1, finds it inside the bounds."""
    start, (lower, upper) = search.start, np.array(search.pairs).T
    middle = 0.5 * (lower + upper)
    scaled = (start - middle) * (1 / np.fabs(lower - upper)) + 0.5
    outside = (scaled < 0.0) | (scaled > 1.0)  # by rounding: it lies on a bound
    rounding = 4.0 * np.finfo(np.float64).eps * np.maximum(np.fabs(lower), np.fabs(upper))
    inner = np.clip(start - np.sign(start - middle) * rounding, lower, upper)
    return np.where(outside, inner, start)
