"""Dual annealing: generalized simulated annealing, and local searches where it led."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import scipy.optimize

from kormos_core import Status
from kormos_core.options import FLAG, NUMBER, Rule, check_options, whole, words
from kormos_scipy.global_run import Outcome, run_global
from kormos_scipy.local_search import BOUNDED, OPTIONS, LocalSearch, freeze_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.global_run import Search

__all__ = ["DualAnnealing"]


def _between(low: float, high: float, allowed: str, *, ends: bool) -> Rule:
    """Allow numbers above `low` and below `high`, which `ends` allows too."""
    return Rule(
        allowed,
        lambda value: NUMBER.accepts(value) and (low < value < high or (ends and value == high)),
    )


_RULES: Final = {
    "num_steps": whole(1),
    "initial_temp": _between(0.01, 5e4, "a number above 0.01, 50000 at most", ends=True),
    "restart_temp_ratio": _between(0.0, 1.0, "a number above 0 and below 1", ends=False),
    # SciPy's documentation allows 3, at which its distribution divides by zero
    "visit": _between(1.0, 3.0, "a number above 1 and below 3", ends=False),
    "accept": _between(-1e4, -5.0, "a number above -10000, -5 at most", ends=True),
    "maxfun": whole(1),
    "no_local_search": FLAG,
    "local_method": words(*BOUNDED),
    "local_options": OPTIONS,
    "rng": whole(0),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DualAnnealing:
    """Minimize in a box by dual annealing.

    Attributes
    ----------
    num_steps : int
        Most annealing steps: SciPy's ``maxiter``, which is kormos's iteration limit here. The
        lower one of both holds.
    initial_temp : float
        Temperature at first: the higher, the wider the search.
    restart_temp_ratio : float
        Part of it at which the annealing begins anew, from a random point.
    visit : float
        Shape of the distribution of jumps: the higher, the farther they go.
    accept : float
        Shape of the probability that a higher loss is accepted: the lower, the smaller.
    maxfun : int
        Evaluations after which the search ends; a local search that is on is ended first.
    no_local_search : bool
        Whether to anneal without local searches.
    local_method : str
        Method of the local searches, by its name here; one that keeps bounds.
    local_options : mapping of str to object, or None
        Its options; ``maxiter`` is 6 n where it is left out, at least 100 and at most 1000.
    rng : int
        Seed; the same one gives the same search.

    Notes
    -----
    An iteration is an annealing step: 2 n visits, and a local search where they have found
    something. Its row tells the best point so far. Cost: 2 n evaluations and the local search.
    Memory: that of the local method. There is no test of convergence: a search ends at a limit,
    and `MAX_ITER` is its usual end. It begins at ``x0``.

    References
    ----------
    Y. Xiang, D. Y. Sun, W. Fan, X. G. Gong, "Generalized simulated annealing algorithm and its
    application to the Thomson model", Phys. Lett. A 233(3), 1997,
    doi:10.1016/S0375-9601(97)00474-X.
    Y. Xiang, S. Gubian, B. Suomela, J. Hoeng, "Generalized Simulated Annealing for Global
    Optimization: The GenSA Package", R Journal 5(1), 2013, doi:10.32614/RJ-2013-002.
    """

    num_steps: int = 1000
    initial_temp: float = 5230.0
    restart_temp_ratio: float = 2e-5
    visit: float = 2.62
    accept: float = -5.0
    maxfun: int = 10_000_000
    no_local_search: bool = False
    local_method: str = "l-bfgs-b"
    local_options: Mapping[str, Any] | None = None
    rng: int = 0

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)
        freeze_options(self)

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
            "dual-annealing", self._search, objective, x0, maxiter=maxiter, callback=callback
        )

    def _search(self, search: Search) -> Outcome:
        local_maxiter = min(max(6 * search.size, 100), 1000)
        local = LocalSearch.of(self, search.samples, search.space, maxiter=local_maxiter)
        num_steps = min(self.num_steps, search.rows.limit)
        # A start anew takes a sample more, so that later rows are told that much early.
        search.rows.limit = num_steps
        search.rows.count_samples(2 * search.size, first=1, ends=False)
        raw = scipy.optimize.dual_annealing(
            search.samples.value,
            search.pairs,
            maxiter=num_steps,
            minimizer_kwargs={"method": local},
            initial_temp=self.initial_temp,
            restart_temp_ratio=self.restart_temp_ratio,
            visit=self.visit,
            accept=self.accept,
            maxfun=self.maxfun,
            rng=self.rng,
            no_local_search=self.no_local_search,
            x0=search.start,
        )
        if not raw.success:
            detail = f"It is maxfun={self.maxfun}; set a higher one to go on."
            return Outcome(status=Status.MAX_EVALS, detail=detail, raw=raw)
        word = "num_steps" if num_steps == self.num_steps else "maxiter"
        return Outcome(status=Status.MAX_ITER, detail=f"It is {word}={num_steps}.", raw=raw)
