"""`kormos compare` on many problems: each run in a process, progress while they run."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kormos_core.cli.output import finite, write_json
from kormos_core.compare import list_sets
from kormos_core.compare.synthetic import KINDS
from kormos_core.errors import KormosError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.progress import TaskID

    from kormos_core.compare.harness import RunSet
    from kormos_core.compare.plan import Job
    from kormos_core.compare.store import RunRecord

__all__ = ["compare_runs", "write_list"]

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
_WINDOW_S = 3600.0  # over which the pace is measured that tells the time left


def write_list(console: Console) -> None:
    """Write the names of all sets and problems.

    Parameters
    ----------
    console : Console
        Where to.
    """
    for name, problems in list_sets().items():
        console.print(f"{name} ({len(problems)}): {', '.join(problems)}", markup=False)
        console.print()
    console.print(
        f"Synthetic ones are there in any size: {', '.join(KINDS)}, each with -ROWSxCOLUMNS and "
        "then -condC, -rankR, -seedS where they are wanted. Your own are named module:function.",
        markup=False,
    )


def compare_runs(
    problems: list[str],
    solvers: str,
    budget: Mapping[str, Any],
    *,
    seeds: range,
    starts: int,
    rates: str,
    dtype: str,
    jobs: int,
    retry: bool,
    files: Mapping[str, Path | None],
    as_json: bool,
) -> None:
    """Run a comparison, tell how it goes, and write its reports.

    Parameters
    ----------
    problems : list of str
        Names of sets and problems.
    solvers, rates : str
        Names of solvers and learning rates, with commas between.
    budget : mapping of str to object
        What each run is allowed.
    seeds : range
        The seeds.
    starts : int
        Starting points of each problem.
    dtype : str
        Dtype of parameters and data.
    jobs : int
        Runs at once.
    retry : bool
        Whether those are run again that failed.
    files : mapping of str to pathlib.Path
        Files to write: ``out``, ``html`` and ``csv``; None where one is not wanted.
    as_json : bool
        Whether the runs are written as JSON in place of a table.

    Raises
    ------
    KormosError
        If something is asked for that there is not.
    typer.Exit
        With 130 if the user interrupts, with 1 if no run has a result.
    """
    from kormos_core.compare import harness
    from kormos_core.compare.quiet import start_backend

    for path in (files["html"], files["csv"]):  # before minutes are spent on what goes there
        if path is not None:
            harness.report().checked_file(path)
    if files["html"] is not None:
        harness.report().load_matplotlib()
    start_backend()
    onlooker = _Onlooker(Console(stderr=True, highlight=False))
    try:
        with onlooker:
            found = harness.compare(
                problems,
                solvers,
                seeds=len(seeds),
                seed=seeds.start,
                starts=starts,
                budget=budget,
                out=files["out"],
                jobs=jobs,
                retry=retry,
                dtype=dtype,
                rates=_read_rates(rates),
                onlooker=onlooker,
            )
    except KeyboardInterrupt:
        kept = (
            "nothing is kept, without --out"
            if files["out"] is None
            else ("the same command goes on from here")
        )
        typer.echo(f"Interrupted after {onlooker.num_done} of {onlooker.num_jobs} runs; {kept}.")
        raise typer.Exit(_INTERRUPTED) from None
    _write(found, files, as_json=as_json)
    if all(run.loss is None for run in found.runs):
        raise typer.Exit(1)


def _write(found: RunSet, files: Mapping[str, Path | None], *, as_json: bool) -> None:
    from kormos_core.compare import harness

    if as_json:
        write_json([finite(dataclasses.asdict(run)) for run in found.runs])
    else:
        harness.report().print_table(found.store, Console(highlight=False))
    for kind, write in (("html", found.html), ("csv", found.csv)):
        if (path := files[kind]) is not None:
            write(path)


def _read_rates(text: str) -> tuple[float, ...] | None:
    if not text:
        return None
    try:
        return tuple(float(rate) for rate in text.split(","))
    except ValueError:
        message = (
            f"--rates {text!r} cannot be read. Allowed are numbers with commas between, such as "
            "0.1,0.01. Correct them."
        )
        raise RatesError(message) from None


class RatesError(KormosError, ValueError):
    """Learning rates that are no numbers."""


@final
class _Onlooker:
    """Shows a bar in a terminal; elsewhere writes a line for each run that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=1,  # each takes time from the solver at work
            speed_estimate_period=_WINDOW_S,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._running: dict[str, str] = {}
        self._begun = time.monotonic()
        self._done_before = 0
        self.num_jobs = self.num_done = 0

    def __enter__(self) -> _Onlooker:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def plan(self, num_jobs: int, num_done: int) -> None:
        """Take note of the number of all jobs, and of those done by an earlier call."""
        self.num_jobs, self.num_done, self._done_before = num_jobs, num_done, num_done
        self._begun = time.monotonic()
        self._task = self._progress.add_task("", total=num_jobs - num_done)
        if num_done:
            self._console.print(f"{num_done} of {num_jobs} runs are in the store already")

    def begin(self, job: Job) -> None:
        """Take note that a job begins."""
        self._running[job.run_id] = job.title
        self._show()

    def end(self, job: Job, run: RunRecord) -> None:
        """Take note that a job has ended, and is in the store."""
        self._running.pop(job.run_id, None)
        self.num_done += 1
        if self._task is not None:
            self._progress.advance(self._task)
        self._show()
        if not self._console.is_terminal:
            loss = "-" if run.loss is None else f"{run.loss:.6g}"
            line = f"{self.num_done}/{self.num_jobs} {job.title}: {run.status}, loss {loss}"
            self._console.print(f"{line}{self._left()}", markup=False, soft_wrap=True)

    def _show(self) -> None:
        if self._task is not None:
            text = "; ".join(self._running.values()) or "done"
            self._progress.update(self._task, description=text)

    def _left(self) -> str:
        """Tell the time left, at the pace so far."""
        done, left = self.num_done - self._done_before, self.num_jobs - self.num_done
        if not left:
            return ""
        seconds = (time.monotonic() - self._begun) / done * left
        return f", {math.ceil(seconds / 60)} min left"
