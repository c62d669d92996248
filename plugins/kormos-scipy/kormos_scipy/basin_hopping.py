"""Basin hopping: a random step, a local search, and the choice to stay or to go back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import scipy.optimize

from kormos_core import Status
from kormos_core.options import NONNEGATIVE, POSITIVE, Rule, check_options, optional, whole, words
from kormos_scipy.global_run import Outcome, run_global
from kormos_scipy.local_search import LOCAL, OPTIONS, LocalSearch, freeze_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.global_run import Search

__all__ = ["BasinHopping"]

_RATE: Final = Rule(
    "a number above 0 and below 1", lambda value: POSITIVE.accepts(value) and value < 1
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BasinHopping:
    """Minimize by hops from one local minimum to the next.

    Attributes
    ----------
    niter : int
        Most hops; the local search from the start comes before them.
    T : float
        Temperature: a minimum that is higher by this is accepted with probability 1/e. Best
        of the size of the differences between the losses of neighboring minima; 0 accepts
        no higher one.
    stepsize : float
        Largest displacement of a parameter in a hop, at first.
    interval : int
        Hops between two adjustments of `stepsize`.
    niter_success : int or None
        Ends the search once the best minimum has stood for more than this many hops.
    target_accept_rate : float
        Share of accepted hops that `stepsize` is adjusted to.
    stepwise_factor : float
        What `stepsize` is multiplied with, or divided by.
    local_method : str
        Method of the local searches, by its name here; one that keeps bounds where there are
        any.
    local_options : mapping of str to object, or None
        Its options, ``maxiter`` among them.
    rng : int
        Seed; the same one gives the same search.

    Notes
    -----
    An iteration is a hop with its local search; the first is the search from the start. Its
    row tells the best point so far. Cost: a local search each. Memory: that of the local
    method. Without bounds hops go anywhere; with bounds a hop that leads outside is projected.
    What SciPy takes as a function, ``take_step`` and ``accept_test``, cannot be kept in a model
    file and is left out.

    References
    ----------
    D. J. Wales, J. P. K. Doye, "Global Optimization by Basin-Hopping and the Lowest Energy
    Structures of Lennard-Jones Clusters Containing up to 110 Atoms", J. Phys. Chem. A
    101(28), 1997, doi:10.1021/jp970984n.
    Z. Li, H. A. Scheraga, "Monte Carlo-minimization approach to the multiple-minima problem in
    protein folding", PNAS 84(19), 1987, doi:10.1073/pnas.84.19.6611.
    """

    niter: int = 100
    T: float = 1.0
    stepsize: float = 0.5
    interval: int = 50
    niter_success: int | None = None
    target_accept_rate: float = 0.5
    stepwise_factor: float = 0.9
    local_method: str = "l-bfgs-b"
    local_options: Mapping[str, Any] | None = None
    rng: int = 0

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "niter": whole(0),
            "T": NONNEGATIVE,
            "stepsize": POSITIVE,
            "interval": whole(1),
            "niter_success": optional(whole(1)),
            "target_accept_rate": _RATE,
            "stepwise_factor": _RATE,
            "local_method": words(*LOCAL),
            "local_options": OPTIONS,
            "rng": whole(0),
        }
        check_options(self, rules)
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
            "basinhopping",
            self._search,
            objective,
            x0,
            maxiter=maxiter,
            callback=callback,
            starts_with_grad="grad" in self._needs,
        )

    @property
    def _needs(self) -> frozenset[str]:
        from kormos_scipy.specs import SPECS

        return frozenset(SPECS[self.local_method].needs)

    def _search(self, search: Search) -> Outcome:
        local = LocalSearch.of(self, search.samples, search.space)
        num_hops = min(self.niter, search.rows.limit - 1)

        def found(*_: object) -> None:
            search.rows.report()

        raw = scipy.optimize.basinhopping(
            search.samples.value,
            search.start,
            niter=num_hops,
            T=self.T,
            stepsize=self.stepsize,
            minimizer_kwargs={"method": local},
            callback=found,
            interval=self.interval,
            niter_success=self.niter_success,
            rng=self.rng,
            target_accept_rate=self.target_accept_rate,
            stepwise_factor=self.stepwise_factor,
        )
        if self.niter_success is not None and "success condition" in str(raw.message):
            detail = f"The best one stood for more than niter_success={self.niter_success} hops."
            return Outcome(status=Status.F_TOL, detail=detail, raw=raw)
        word = "niter" if num_hops == self.niter else "maxiter"
        limit = self.niter if num_hops == self.niter else search.rows.limit
        return Outcome(status=Status.MAX_ITER, detail=f"It is {word}={limit}.", raw=raw)
