"""Simplicial homology: a box is sampled, and each of its basins is searched."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import scipy.optimize

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.options import (
    FLAG,
    NONNEGATIVE,
    NUMBER,
    POSITIVE,
    Rule,
    check_options,
    optional,
    ordered,
    whole,
    words,
)
from kormos_scipy.global_run import Outcome, run_global
from kormos_scipy.local_search import OPTIONS, LocalSearch, freeze_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.global_run import Search

__all__ = ["SHGO"]

_METHODS: Final = ("slsqp", "l-bfgs-b", "tnc", "cobyqa")  # to which SciPy's shgo gives bounds
_WITH_FTOL: Final = _METHODS[:3]
_FTOL: Final = 1e-12  # SciPy's default there
_DEFAULT_N: Final = 100
# Triangulating the samples of three rounds takes 4 s for n = 5, 17 s for 6, and for 7 minutes.
_MAX_DELAUNAY: Final = 6

_LOCAL_ITER: Final = whole(1)
_RULES: Final = {
    "n": optional(whole(1)),
    "iters": whole(1),
    "sampling_method": words("simplicial", "halton", "sobol"),
    "maxfev": optional(whole(1)),
    "maxev": optional(whole(1)),
    "maxtime": optional(POSITIVE),
    "f_min": optional(NUMBER),
    "f_tol": NONNEGATIVE,
    "minhgrd": optional(whole(0)),
    "symmetry": FLAG,
    "minimize_every_iter": FLAG,
    "local_iter": Rule(
        f"False, or {_LOCAL_ITER.allowed}",
        lambda value: value is False or _LOCAL_ITER.accepts(value),
    ),
    "local_method": words(*_METHODS),
    "local_options": OPTIONS,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SHGO:
    """Minimize in a box by simplicial homology global optimization.

    Attributes
    ----------
    n : int or None
        Samples of a round; None means ``2**n + 1`` of n parameters for ``"simplicial"``, else
        100. For ``"sobol"`` SciPy rounds it up to a power of two.
    iters : int
        Most rounds of sampling and local searches.
    sampling_method : {"simplicial", "halton", "sobol"}
        How the box is sampled; the first comes with a proof of convergence.
    maxfev : int or None
        Most evaluations, those of local searches included; it holds exactly.
    maxev : int or None
        Samples after which no further round begins.
    maxtime : float or None
        Seconds after which no further round begins.
    f_min : float or None
        The least loss, if it is known: ends the search there.
    f_tol : float
        Relative distance to `f_min` that is near enough.
    minhgrd : int or None
        Ends the search once a round finds no more local minima than this.
    symmetry : bool
        Whether the loss is the same however parameters are permuted, which leaves less to be
        searched.
    minimize_every_iter : bool
        Whether local searches follow each round, or the last one only.
    local_iter : int or False
        Most local searches of a round; False means one for each basin.
    local_method : {"slsqp", "l-bfgs-b", "tnc", "cobyqa"}
        Method of the local searches.
    local_options : mapping of str to object, or None
        Its options. SciPy hands on ``ftol`` and no other; None means ``{"ftol": 1e-12}`` where
        the method takes it.

    Notes
    -----
    An iteration is one of a local search; its row tells the best point so far. ``x0`` plays no
    part in the sampling: it is the first accepted point, and the result is no worse. There is
    nothing random. Cost: `n` evaluations a round, and the local searches. With ten
    parameters and a loss that costs nothing a search takes 12 s, and each one more multiplies
    that, so at most 10 are taken; with ``"halton"`` and ``"sobol"`` 6, for the same reason.
    Deviations from SciPy: `iters` is 3 and not 1, as the
    local searches of a round end between neighboring samples; it holds beside other limits,
    which would make it void; ``n=100``, which SciPy takes for its default, is refused for
    ``"simplicial"``. SciPy's ``workers`` is left out, as its workers swallow errors.

    References
    ----------
    S. C. Endres, C. Sandrock, W. W. Focke, "A simplicial homology algorithm for Lipschitz
    optimisation", J. Glob. Optim. 72, 2018, doi:10.1007/s10898-018-0645-y.
    """

    n: int | None = None
    iters: int = 3  # SciPy's is 1, whose local searches end between neighboring samples
    sampling_method: str = "simplicial"
    maxfev: int | None = None
    maxev: int | None = None
    maxtime: float | None = None
    f_min: float | None = None
    f_tol: float = 1e-4
    minhgrd: int | None = None
    symmetry: bool = False
    minimize_every_iter: bool = True
    local_iter: int | bool = False
    local_method: str = "slsqp"
    local_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)
        ordered(
            self,
            f"n={self.n!r}, sampling_method={self.sampling_method!r}",
            holds=self.n != _DEFAULT_N or self.sampling_method != "simplicial",
            cure="SciPy takes n=100 for its default, 2**n + 1. Give 99 or 101, or leave it out.",
        )
        given = dict(self.local_options or ())
        allowed = {"ftol"} if self.local_method in _WITH_FTOL else set()
        if set(given) - allowed:
            raise UnsupportedError(
                f"local_options={given!r} of SHGO are not usable: SciPy's shgo hands "
                f"local_method={self.local_method!r} {'none but ftol' if allowed else 'none'}. "
                "Leave out the others."
            )
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
        return run_global("shgo", self._search, objective, x0, maxiter=maxiter, callback=callback)

    def _search(self, search: Search) -> Outcome:
        if self.sampling_method != "simplicial" and search.size > _MAX_DELAUNAY:
            raise UnsupportedError(
                f"scipy:shgo with sampling_method={self.sampling_method!r} takes at most "
                f"{_MAX_DELAUNAY} parameters that bounds do not fix: a triangulation of samples "
                f"takes minutes beyond. There are {search.size}. Use 'simplicial', or "
                "scipy:dual-annealing."
            )
        local = LocalSearch.of(self, search.samples, search.space)
        assert local is not None  # noqa: S101 - there is always one
        search.samples.max_evals = self.maxfev
        ftol = {"ftol": _FTOL} if self.local_method in _WITH_FTOL else {}

        def step(*_: object) -> None:
            search.rows.report_and_limit()

        begun = time.monotonic()
        raw = scipy.optimize.shgo(
            search.samples.value,
            search.pairs,
            n=_DEFAULT_N if self.n is None else self.n,
            iters=self.iters,
            callback=step,
            minimizer_kwargs={
                "method": self.local_method,
                "jac": local.gradient,
                "options": {**ftol, **local.options},
            },
            options=self._options(),
            sampling_method=self.sampling_method,
        )
        return self._outcome(raw, search, time.monotonic() - begun)

    def _options(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("maxev", "maxtime", "f_min", "minhgrd")}
        options = {name: value for name, value in given.items() if value is not None}
        if options:
            options["maxiter"] = self.iters  # most of them make SciPy forget `iters`
        return {
            **options,
            "f_tol": self.f_tol,
            "symmetry": self.symmetry,
            "minimize_every_iter": self.minimize_every_iter,
            "local_iter": self.local_iter,
        }

    def _outcome(self, raw: Any, search: Search, elapsed_s: float) -> Outcome:
        if not raw.success:
            return Outcome(status=Status.STAGNATED, detail=f"SciPy: {raw.message}", raw=raw)
        if self.f_min is not None and self._is_near(search.samples.best.loss):
            detail = f"The loss is within f_tol={self.f_tol} of f_min={self.f_min}."
            return Outcome(status=Status.F_TOL, detail=detail, raw=raw)
        if raw.nit >= self.iters:
            detail = f"It is iters={self.iters}, and {len(raw.xl)} local minima were found."
            return Outcome(status=Status.MAX_ITER, detail=detail, raw=raw)
        if self.maxtime is not None and elapsed_s >= self.maxtime:
            return Outcome(
                status=Status.MAX_TIME, detail=f"It is maxtime={self.maxtime}.", raw=raw
            )
        if self.minhgrd is not None and self.maxev is None:
            detail = f"A round found no more than minhgrd={self.minhgrd} new local minima."
            return Outcome(status=Status.F_TOL, detail=detail, raw=raw)
        return Outcome(status=Status.MAX_EVALS, detail=f"It is maxev={self.maxev}.", raw=raw)

    def _is_near(self, loss: float) -> bool:
        least = self.f_min or 0.0
        return loss - least <= self.f_tol * (abs(least) or 1.0)
