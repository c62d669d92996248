"""DIRECT: a box is divided into ever smaller ones where its loss may be lowest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import scipy.optimize

from kormos_core import Status
from kormos_core.options import FLAG, NONNEGATIVE, NUMBER, Rule, check_options, optional, whole
from kormos_scipy.global_run import Outcome, run_global

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.global_run import Search

__all__ = ["Direct"]

_SHARE: Final = Rule(
    "a number from 0 to 1", lambda value: NONNEGATIVE.accepts(value) and value <= 1
)
_FIRST: Final = 2  # SciPy's iterations that divide nothing yet, and do not call back
_MOST: Final = 2**30  # iterations that fit into a C int
_NARROW: Final = 1e-3  # side of a box, as a share, at which a small volume says where it is
_ENDINGS: Final = {
    1: Status.MAX_EVALS,
    2: Status.MAX_ITER,
    3: Status.F_TOL,
    4: Status.X_TOL,
    5: Status.X_TOL,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """Minimize in a box by dividing rectangles (DIRECT).

    Attributes
    ----------
    eps : float
        What a rectangle must promise beyond the best loss, relatively: the smaller, the more
        local the search.
    maxfun : int or None
        Evaluations after which no further iteration begins; None means 1000 n.
    locally_biased : bool
        Whether to divide fewer large rectangles (DIRECT_L); False for many local minima.
    f_min : float or None
        The least loss, if it is known: ends the search there.
    f_min_rtol : float
        Relative distance to `f_min` that is near enough.
    vol_tol : float
        Ends the search once the rectangle of the best point has this share of the volume.
    len_tol : float
        Ends the search once half of its largest side, or of its diagonal where
        `locally_biased` is False, is this share.

    Notes
    -----
    An iteration divides rectangles; its row tells the best point so far. ``x0`` plays no part:
    it is the first accepted point, and the result is no worse. There is nothing random. Cost:
    ``2 n + 1`` evaluations to start, some ten an iteration. Memory: some vectors for each
    evaluation. A small volume need not be small in every direction: where a cube of it had
    sides above 1e-3 of the box, as for more than five parameters with the default, the end is
    told as `STAGNATED`. For more than 33 parameters the default ends the search where it
    begins, and these are not taken.

    References
    ----------
    D. R. Jones, C. D. Perttunen, B. E. Stuckman, "Lipschitzian optimization without the
    Lipschitz constant", J. Optim. Theory Appl. 79, 1993, doi:10.1007/BF00941892.
    J. M. Gablonsky, C. T. Kelley, "A Locally-Biased form of the DIRECT Algorithm", J. Glob.
    Optim. 21, 2001, doi:10.1023/A:1017930332101.
    """

    eps: float = 1e-4
    maxfun: int | None = None
    locally_biased: bool = True
    f_min: float | None = None
    f_min_rtol: float = 1e-4
    vol_tol: float = 1e-16
    len_tol: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        rules = {
            "eps": NONNEGATIVE,
            "maxfun": optional(whole(1)),
            "locally_biased": FLAG,
            "f_min": optional(NUMBER),
            "f_min_rtol": _SHARE,
            "vol_tol": _SHARE,
            "len_tol": _SHARE,
        }
        check_options(self, rules)

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
            "direct", self._search, objective, x0, maxiter=maxiter, callback=callback
        )

    def _search(self, search: Search) -> Outcome:
        def divided(_: object) -> None:
            search.rows.report()

        raw = scipy.optimize.direct(
            search.samples.value,
            search.pairs,
            eps=self.eps,
            maxfun=None if self.maxfun is None else int(self.maxfun),
            maxiter=min(search.rows.limit, _MOST) + _FIRST,
            locally_biased=bool(self.locally_biased),
            f_min=-math.inf if self.f_min is None else self.f_min,
            f_min_rtol=self.f_min_rtol,
            vol_tol=self.vol_tol,
            len_tol=self.len_tol,
            callback=divided,
        )
        return self._outcome(raw, search)

    def _outcome(self, raw: Any, search: Search) -> Outcome:
        status = _ENDINGS.get(raw.status, Status.STAGNATED)
        detail = f"SciPy: {raw.message}."
        if status is Status.MAX_ITER:
            detail = f"It is maxiter={search.rows.limit}."
        elif status is Status.MAX_EVALS:
            limit = 1000 * search.size if self.maxfun is None else self.maxfun
            detail = f"It is maxfun={limit}; set a higher one to go on."
        side = self.vol_tol ** (1 / search.size)
        if raw.status == 4 and side > _NARROW:
            status = Status.STAGNATED
            detail = (
                f"The volume is below vol_tol={self.vol_tol}, at which a cube's sides are "
                f"{side:.1g} of the box. Set a lower one to go on."
            )
        return Outcome(status=status, detail=detail, raw=raw)
