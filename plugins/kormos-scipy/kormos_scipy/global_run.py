"""One call of a global optimizer of SciPy, for any of them.

Symbols: ``x`` parameters (n,), ``z`` those that bounds do not fix (m,); all float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from kormos_core import Result, Status
from kormos_core.errors import BoundsError
from kormos_scipy.global_specs import GLOBAL
from kormos_scipy.methods import Method
from kormos_scipy.points import Breakdown
from kormos_scipy.request import check_request
from kormos_scipy.rows import Rows
from kormos_scipy.samples import Ended, Samples
from kormos_scipy.space import Space
from kormos_scipy.threads import single_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core import Callback, Objective
    from kormos_core.capabilities import SolverSpec

__all__ = ["Outcome", "Search", "run_global"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """What a global search is made of.

    Attributes
    ----------
    space : Space
        The free parameters.
    samples : Samples
        The way to evaluate them.
    rows : Rows
        The iterations.
    """

    space: Space
    samples: Samples
    rows: Rows

    @property
    def size(self) -> int:
        """Number of free parameters m."""
        return self.space.num_free

    @property
    def start(self) -> NDArray[np.float64]:
        """The start's free parameters, shape (m,), float64."""
        return self.space.reduce(self.space.x0)

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Bounds of the free parameters, a pair for each; of a solver that requires them."""
        box = self.space.box()
        assert box is not None  # noqa: S101 - it was checked
        return [(float(low), float(high)) for low, high in zip(*box, strict=True)]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Why SciPy ended a search.

    Attributes
    ----------
    status : Status
        The reason.
    detail : str
        What is to be added to it: a sentence, or nothing.
    raw : object
        What SciPy returned.
    """

    status: Status
    detail: str
    raw: Any


def run_global(
    name: str,
    search: Callable[[Search], Outcome],
    objective: Objective,
    x0: NDArray[np.float64],
    *,
    maxiter: int,
    callback: Callback,
    starts_with_grad: bool = False,
) -> Result:
    """Minimize with one of SciPy's global optimizers.

    Parameters
    ----------
    name : str
        Its name here.
    search : callable
        Calls SciPy.
    objective : Objective
        What to minimize, and its bounds.
    x0 : ndarray, shape (n,), float64
        Starting point, inside the bounds; the first accepted point.
    maxiter : int
        Most iterations, at least 1.
    callback : Callback
        Called once for each iteration, with the best point so far.
    starts_with_grad : bool
        Whether a local search with gradients comes first.

    Returns
    -------
    Result
        The best point that was evaluated: ``x``, ``loss``, ``status``, ``message``,
        ``num_iterations`` and ``raw``.

    Raises
    ------
    BoundsError
        When the bounds do not fit the start, or are missing or infinite where they are needed.
    UnsupportedError
        When the method cannot do what is asked.
    """
    spec = GLOBAL[name]
    check_request(Method(spec=spec, endings={}), objective, maxiter)
    _check_box(spec, objective)
    space = Space.of(x0, objective.bounds, drops_narrow=False)
    samples = Samples(objective, space)
    try:
        samples.begin(with_grad=starts_with_grad)
    except Breakdown as breakdown:
        message = f"{breakdown.status.value} At the start {breakdown}."
        return _result(samples, breakdown.status, message, 0, None)
    rows = Rows(samples, callback, maxiter)
    if space.num_free == 0:
        message = f"{Status.GRAD_TOL.value} Every parameter is fixed by its bounds."
        return _result(samples, Status.GRAD_TOL, message, 0, None)
    with single_blas_thread():
        outcome = _guarded(search, Search(space=space, samples=samples, rows=rows))
    if not isinstance(samples.raised, Ended):
        rows.finish()
    message = f"{outcome.status.value} {outcome.detail}".strip()
    return _result(samples, outcome.status, message, rows.count, outcome.raw)


def _guarded(search: Callable[[Search], Outcome], given: Search) -> Outcome:
    """Search, and let through what objective or callback raise, whatever SciPy makes of it."""
    samples = given.samples
    outcome = None
    try:
        outcome = search(given)
    except BaseException:
        if samples.raised is None:
            raise
    if isinstance(samples.raised, Ended):
        status = samples.raised.status
        limit = given.rows.limit if status is Status.MAX_ITER else samples.max_evals
        word = "maxiter" if status is Status.MAX_ITER else "the limit of evaluations"
        return Outcome(status=status, detail=f"It is {word}={limit}.", raw=None)
    if samples.raised is not None:
        raise samples.raised
    assert outcome is not None  # noqa: S101 - what was raised is raised
    return outcome


def _check_box(spec: SolverSpec, objective: Objective) -> None:
    bounds = objective.bounds
    if not spec.requires_bounds:
        return
    cure = "Give a finite lower and upper bound for each, or use scipy:basinhopping."
    if bounds is None:
        raise BoundsError(
            f"scipy:{spec.name} needs finite bounds on every parameter, and there are none. {cure}"
        )
    infinite = np.flatnonzero(~(np.isfinite(bounds.lower) & np.isfinite(bounds.upper)))
    if infinite.size:
        i = int(infinite[0])
        raise BoundsError(
            f"scipy:{spec.name} needs finite bounds on every parameter, and {infinite.size} of "
            f"{bounds.lower.size} have none, such as parameter {i} in [{bounds.lower[i]}, "
            f"{bounds.upper[i]}]. {cure}"
        )


def _result(samples: Samples, status: Status, message: str, count: int, raw: Any) -> Result:
    return Result(
        x=samples.best.x.copy(),
        loss=samples.best.loss,
        status=status,
        message=message,
        num_iterations=count,
        raw=raw,
    )
