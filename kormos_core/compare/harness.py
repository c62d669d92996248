"""Compare solvers on problems: the function behind `kormos.compare` and `kormos compare`."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.compare.catalog import find_set, list_sets
from kormos_core.compare.contestants import find_contestants, split_names
from kormos_core.compare.engine import run_jobs
from kormos_core.compare.limits import BudgetError, Limits
from kormos_core.compare.plan import make_plan
from kormos_core.compare.problem import UnknownProblemError
from kormos_core.compare.store import Store
from kormos_core.errors import OptionError, UnsupportedError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from kormos_core.compare.contestants import Contestant
    from kormos_core.compare.engine import Onlooker
    from kormos_core.compare.store import RunRecord

    Problems = str | Callable[[], Any] | Iterable[str | Callable[[], Any]]
    Solvers = str | Iterable[str] | Mapping[str, Mapping[str, Any] | None]

__all__ = ["RunSet", "compare", "report"]

_DTYPES: Final = ("float32", "float64")
_SEEDS: Final = 2**32  # that Keras takes


@final
@dataclass(frozen=True, slots=True)
class RunSet:
    """The runs of a comparison, in their store.

    Attributes
    ----------
    store : Store
        The store: `Store.trace` gives the iterations of a run.
    run_ids : frozenset of str
        The runs that were asked for; the store may hold more.
    """

    store: Store
    run_ids: frozenset[str]

    @property
    def runs(self) -> list[RunRecord]:
        """The runs that were asked for, in the order in which they ended."""
        return [run for run in self.store.runs() if run.run_id in self.run_ids]

    def html(self, path: str | os.PathLike[str]) -> None:
        """Write the report of all runs of the store as one HTML file.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        """
        report().write_html(self.store, path)

    def csv(self, path: str | os.PathLike[str]) -> None:
        """Write all runs of the store as a CSV file.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        """
        report().write_csv(self.store, path)


def compare(
    problems: Problems,
    solvers: Solvers,
    *,
    seeds: int = 1,
    starts: int = 1,
    budget: Limits | Mapping[str, Any] | float | None = None,
    out: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    retry: bool = False,
    dtype: str = "float64",
    rates: Sequence[float] | None = None,
    seed: int = 0,
    onlooker: Onlooker | None = None,
) -> RunSet:
    """Run each solver on each problem, each run in a process of its own.

    Parameters
    ----------
    problems : str, callable, or iterable of them
        Names of problems or of sets of problems, ``module:function`` for an own one, or such a
        function itself if a module has it.
    solvers : str, iterable of str, or mapping of str to mapping
        Names as in `compile`, and of Keras's own optimizers, with options in parentheses where
        there are any; or a mapping from names to options. Keras's optimizers without a
        ``learning_rate`` are tuned.
    seeds, starts : int
        Number of seeds, which decide all that is drawn, and of starting points; of a problem
        that has fewer starting points, all that it has.
    budget : Limits, mapping, float or None
        What each run is allowed: ``{"time_s": 5.0, "evals": 1000, "iterations": 100,
        "batch_size": 32}``, or seconds. Without any limit it is 3 seconds.
    out : str, os.PathLike or None
        File of the store, which grows; runs that it has already are not run again. None keeps
        the runs in memory.
    jobs : int
        Runs at once; more than 1 spoil each other's seconds.
    retry : bool
        Whether those are run again that failed, crashed or were killed.
    dtype : {"float64", "float32"}
        Dtype of parameters and data.
    rates : sequence of float or None
        Learning rates to try for Keras's optimizers; None for 1, 0.1, 0.01 and 0.001.
    seed : int
        The first seed, from 0; the others follow.
    onlooker : Onlooker or None
        Who is told how it goes.

    Returns
    -------
    RunSet
        The runs.

    Raises
    ------
    KormosError
        If something is asked for that there is not; then nothing has been run.
    KeyboardInterrupt
        If the user interrupts; what has ended is in the store.
    """
    from kormos_core.compare.tune import RATES

    _check_counts(seeds=seeds, starts=starts, jobs=jobs)
    _check_seed(seed, seeds)
    if dtype not in _DTYPES:
        message = f"dtype={dtype!r:.80} is not usable. Allowed: {', '.join(_DTYPES)}. Take one."
        raise UnsupportedError(message)
    plan = make_plan(
        _named(problems),
        _found(solvers),
        Limits.of(budget),
        dtype=dtype,
        seeds=range(seed, seed + seeds),
        starts=starts,
        rates=_rates(RATES if rates is None else rates),
    )
    store = Store(":memory:" if out is None else out)
    try:
        run_jobs(plan, store, num_parallel=jobs, retry=retry, onlooker=onlooker)
    except BaseException:
        store.close()
        raise
    return RunSet(store, frozenset(job.run_id for job in plan))


def report() -> Any:
    """Import what writes reports, at first use.

    Returns
    -------
    module
        It has `write_html`, `write_csv` and `print_table`.
    """
    return importlib.import_module("kormos_core.compare.report")


def _named(problems: Problems) -> list[tuple[str, str]]:
    """Return names of problems, each with the set it was asked for by or ""."""
    if isinstance(problems, str) or callable(problems):
        problems = [problems]
    if not isinstance(problems, Iterable):
        message = (
            f"problems={problems!r:.80} are not usable. Allowed are a name, a function, and lists "
            "of them. Name problems or sets that `kormos compare --list` lists."
        )
        raise UnknownProblemError(message)
    sets, found = list_sets(), []
    for problem in problems:
        name = problem if isinstance(problem, str) else _name_of(problem)
        wanted = name.lower()
        found += [(one, wanted) for one in find_set(wanted)] if wanted in sets else [(name, "")]
    if not found:
        message = (
            "there is no problem to compare on: the list is empty. Allowed are the names that "
            "`kormos compare --list` lists. Give at least one."
        )
        raise UnknownProblemError(message)
    return found


def _found(solvers: Solvers) -> tuple[Contestant, ...]:
    """Find the contestants, whose options must be fit to be handed to another process."""
    names = split_names(solvers) if isinstance(solvers, str) else solvers
    _check_solvers(names)
    contestants = find_contestants(names)
    for contestant in contestants:
        try:
            json.dumps(dict(contestant.options))
        except (TypeError, ValueError) as error:
            message = (
                f"the options of {contestant.label[:80]} cannot be handed to another process: "
                f"{error}. Allowed are numbers, strings, truth values, None, and lists and "
                "mappings of them. Write them so."
            )
            raise OptionError(message) from error
    return contestants


def _check_solvers(names: Any) -> None:
    """See that these are names, and options mappings or None."""
    given = names.values() if isinstance(names, Mapping) else ()
    wrong = [options for options in given if not isinstance(options, Mapping | None)]
    if not isinstance(names, Iterable):
        wrong = [names]
    elif isinstance(names, (list, tuple, Mapping)):
        wrong += [name for name in names if not isinstance(name, str)]
    if wrong:
        message = (
            f"solvers={names!r:.80} are not usable: {wrong[0]!r:.80}. Allowed are names, or a "
            "mapping from names to mappings of options. Write such as ['scipy:cg', 'adam'] or "
            "{'native:lbfgs': {'maxcor': 20}, 'adam': None}."
        )
        raise OptionError(message)


def _name_of(function: Callable[[], Any]) -> str:
    """Name a function so that another process finds it."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", "")
    if module in {None, "__main__"} or not name.isidentifier():
        message = (
            f"the problem {function!r:.80} cannot be had by another process. Allowed is a "
            "function at the top of a module that can be imported. Put it into a file of its own."
        )
        raise UnknownProblemError(message)
    return f"{module}:{name}"


def _check_counts(**counts: Any) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            message = (
                f"{name}={count!r:.80} is not usable. Allowed is a whole number from 1. "
                "Correct it."
            )
            raise BudgetError(message)


def _check_seed(seed: Any, seeds: int) -> None:
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    if not (whole and 0 <= seed <= _SEEDS - seeds):
        message = (
            f"seed={seed!r:.80} is not usable for {seeds} seeds. Allowed is a whole number from 0 "
            f"to {_SEEDS - seeds}. Correct it."
        )
        raise BudgetError(message)


def _rates(rates: Any) -> tuple[float, ...]:
    listed = list(rates) if isinstance(rates, Iterable) else []
    if not listed or not all(
        isinstance(rate, (int, float)) and 0 < rate < math.inf for rate in listed
    ):
        message = (
            f"rates={rates!r:.80} are not usable. Allowed are learning rates above 0, one at "
            "least. Correct them."
        )
        raise BudgetError(message)
    return tuple(float(rate) for rate in listed)
