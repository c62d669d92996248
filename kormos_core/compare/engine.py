"""All runs of a comparison, one after the other or a few at a time, into a store."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from kormos_core.compare.process import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kormos_core.compare.plan import Job
    from kormos_core.compare.store import RunRecord, Store, TraceRow

__all__ = ["BROKEN", "Onlooker", "run_jobs"]

BROKEN: Final = frozenset({"FAILED", "CRASHED", "TIMEOUT"})
"""Statuses of runs that have no result; with `retry` they are run again."""

_TICK_S: Final = 0.2  # how long Ctrl-C may have to wait

Message = tuple["Job", "tuple[RunRecord, list[TraceRow]] | Exception | None"]


class Onlooker(Protocol):
    """Who is told how a comparison goes."""

    def plan(self, num_jobs: int, num_done: int) -> None:
        """Take note of `num_jobs` in all, `num_done` of them by an earlier call."""
        ...

    def begin(self, job: Job) -> None:
        """Take note that a `job` begins."""
        ...

    def end(self, job: Job, run: RunRecord) -> None:
        """Take note that a `job` has ended, and that its `run` is in the store."""
        ...


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    *,
    num_parallel: int = 1,
    retry: bool = False,
    onlooker: Onlooker | None = None,
    supervisor: Supervisor | None = None,
) -> None:
    """Run what is not in the store yet, and put each run there when it has ended.

    Parameters
    ----------
    jobs : sequence of Job
        All jobs.
    store : Store
        Where they go; only the thread that calls writes there.
    num_parallel : int
        How many run at once.
    retry : bool
        Whether those are run again that failed, crashed or were killed.
    onlooker : Onlooker or None
        Who is told, in the thread that calls.
    supervisor : Supervisor or None
        What runs a job; None for the usual one.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts; what has ended is in the store, the rest is killed.
    """
    done = {run.run_id for run in store.runs() if not (retry and run.status in BROKEN)}
    left = deque(job for job in jobs if job.run_id not in done)
    if onlooker is not None:
        onlooker.plan(len(jobs), len(jobs) - len(left))
    supervisor = supervisor or Supervisor(num_parallel)
    messages: queue.Queue[Job | Message] = queue.Queue()
    running = len(left)
    threads = [
        threading.Thread(target=_work, args=(left, supervisor, messages), daemon=True)
        for _ in range(min(num_parallel, len(left)))
    ]
    for thread in threads:
        thread.start()
    try:
        while running:
            try:
                message = messages.get(timeout=_TICK_S)
            except queue.Empty:
                continue
            if not isinstance(message, tuple):
                if onlooker is not None:
                    onlooker.begin(message)
                continue
            running -= 1
            _keep(message, store, onlooker)
    except BaseException:
        supervisor.give_up()
        raise
    finally:
        for thread in threads:
            thread.join()


def _work(left: deque[Job], supervisor: Supervisor, messages: queue.Queue[Job | Message]) -> None:
    while True:
        try:
            job = left.popleft()
        except IndexError:
            return
        messages.put(job)
        try:
            messages.put((job, supervisor.run(job)))
        except Exception as error:  # noqa: BLE001 - for the thread that waits
            messages.put((job, error))


def _keep(message: Message, store: Store, onlooker: Onlooker | None) -> None:
    job, outcome = message
    if outcome is None:
        return
    if isinstance(outcome, Exception):
        raise outcome
    store.add(*outcome)
    if onlooker is not None:
        onlooker.end(job, outcome[0])
