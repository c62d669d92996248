"""Brute force: the loss on every point of a grid, and a local search from the best one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import scipy.optimize

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.options import Rule, check_options, optional, whole, words
from kormos_scipy.global_run import Outcome, run_global
from kormos_scipy.local_search import BOUNDED, OPTIONS, LocalSearch, freeze_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kormos_core import Callback, Objective, Result
    from kormos_scipy.global_run import Search

__all__ = ["Brute"]

_COUNT: Final = whole(2)


def _are_counts(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(map(_COUNT.accepts, value))
    return _COUNT.accepts(value)


_RULES: Final = {
    "Ns": Rule(f"{_COUNT.allowed}, or one for each parameter", _are_counts),
    "max_points": whole(1),
    "local_method": optional(words(*BOUNDED)),
    "local_options": OPTIONS,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Brute:
    """Minimize in a box by trying every point of a grid.

    Attributes
    ----------
    Ns : int or tuple of int
        Points along each parameter, both bounds among them; one number for all, or one each.
    max_points : int
        Most points: a grid of more is refused before the first of them.
    local_method : str or None
        Method of the local search from the best point, by its name here; None for none.
    local_options : mapping of str to object, or None
        Its options, ``maxiter`` among them.

    Notes
    -----
    An iteration is a slice of the grid, all points of one value of the first parameter; its row
    tells the best point so far. ``x0`` plays no part: it is the first accepted point, and the
    result is no worse. There is nothing random. Cost: ``Ns**n`` evaluations; 160,000 for four
    parameters by default, and five would be more than `max_points`. Memory: n + 5 numbers a
    point. Deviations from SciPy: the local search is L-BFGS-B with bounds and the exact
    gradient, where SciPy's is a simplex without. SciPy's ``workers`` is left out, as the loss
    is compiled in this process.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0: fundamental algorithms for scientific computing in Python",
    Nat. Methods 17, 2020, doi:10.1038/s41592-019-0686-2.
    """

    Ns: int | tuple[int, ...] = 20
    max_points: int = 1_000_000
    local_method: str | None = "l-bfgs-b"
    local_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse values that an option cannot take."""
        check_options(self, _RULES)
        freeze_options(self)
        if isinstance(self.Ns, list):
            object.__setattr__(self, "Ns", tuple(self.Ns))

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
        return run_global("brute", self._search, objective, x0, maxiter=maxiter, callback=callback)

    def _search(self, search: Search) -> Outcome:
        local = LocalSearch.of(self, search.samples, search.space)
        counts = self._counts(search)
        search.rows.count_samples(math.prod(counts[1:]))
        found: list[Any] = []

        def finish(fun: Any, x: Any, args: tuple[Any, ...] = ()) -> Any:
            assert local is not None  # noqa: S101 - else it is not called
            found.append(local(fun, x, args))
            return found[0]

        raw = scipy.optimize.brute(
            search.samples.value,
            tuple(
                slice(low, high, complex(count))
                for (low, high), count in zip(search.pairs, counts, strict=True)
            ),
            full_output=True,
            finish=None if local is None else finish,
        )
        detail = f"It is Ns={self.Ns}: all {math.prod(counts):,} points were tried."
        if found and found[0].success:
            detail = f"The local search from the best of {math.prod(counts):,} points ended so."
            return Outcome(status=Status.F_TOL, detail=detail, raw=raw)
        return Outcome(status=Status.MAX_ITER, detail=detail, raw=raw)

    def _counts(self, search: Search) -> list[int]:
        """Return the points along each parameter that bounds do not fix."""
        counts, size = np.asarray(self.Ns, dtype=np.int64), search.space.x0.size
        if counts.ndim and counts.size != size:
            raise UnsupportedError(
                f"option Ns={self.Ns!r} does not fit {size} parameters. Give one number for all, "
                "or one for each."
            )
        counts = np.broadcast_to(counts, (size,))
        free = counts if search.space.free is None else counts[search.space.free]
        each: list[int] = free.tolist()
        number = math.prod(each)
        if number > self.max_points:
            raise UnsupportedError(
                f"the grid of scipy:brute with Ns={self.Ns} has {number:,} points for "
                f"{search.size} parameters, an evaluation each. Allowed are "
                f"max_points={self.max_points:,}. Lower Ns, raise max_points, or use "
                "scipy:dual-annealing."
            )
        return each
