"""One run in a process of its own, watched from outside."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, final

from kormos_core.compare.store import RunRecord, TraceRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kormos_core.compare.plan import Job
    from kormos_core.compare.watch import Row

__all__ = ["GRACE_S", "WORKER", "Supervisor"]

WORKER: Final = (sys.executable, "-m", "kormos_core.compare.worker")
"""The command of a run's process."""

GRACE_S: Final = 10.0
"""Seconds that a run has beyond its limit of time to stop by itself, and to be measured."""

_SETUP_S: Final = 600.0  # to import, load and compile; then something is stuck
_TICK_S: Final = 0.2
_LAST_CHARACTERS: Final = 500
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


@final
@dataclass(slots=True)
class _Heard:
    """What a process has said so far."""

    rows: list[Row] = field(default_factory=list)
    end: dict[str, Any] | None = None
    is_closed: bool = False
    deadline: float = 0.0


@final
class Supervisor:
    """Runs jobs, each in a process of its own.

    Parameters
    ----------
    num_parallel : int
        How many run at once: each gets its share of the cores.
    command : sequence of str
        What is run.
    grace_s : float
        Seconds beyond the limit of time after which a process is killed.
    """

    def __init__(
        self,
        num_parallel: int = 1,
        command: Sequence[str] = WORKER,
        grace_s: float = GRACE_S,
    ) -> None:
        self._num_parallel = num_parallel
        self._command = list(command)
        self._grace_s = grace_s
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Have every process killed that is running, and none begun."""
        self._given_up.set()

    def run(self, job: Job) -> tuple[RunRecord, list[TraceRow]] | None:
        """Run a job to its end, whatever that is.

        Parameters
        ----------
        job : Job
            What to run.

        Returns
        -------
        tuple of (RunRecord, list of TraceRow) or None
            What goes into the store; None if `give_up` came first.
        """
        if self._given_up.is_set():
            return None
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment(),
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the one who asked
            )
            try:
                heard, why = self._listen(process, job)
            finally:
                _end(process)
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with contextlib.suppress(OSError):
                            pipe.close()
            if why is None:
                return None
            fields, rows = _outcome(heard, why, process.returncode, errors)
        return _record(job, fields, rows)

    def _listen(self, process: subprocess.Popen[str], job: Job) -> tuple[_Heard, str | None]:
        """Listen until the end; return what was heard and why it ended, None if given up."""
        assert process.stdin is not None  # noqa: S101 - they are pipes
        assert process.stdout is not None  # noqa: S101
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()
        with contextlib.suppress(BrokenPipeError):  # then its end tells more
            process.stdin.write(json.dumps(_asked(job)) + "\n")
            process.stdin.flush()
        heard = _Heard(deadline=time.monotonic() + _SETUP_S)
        while not heard.is_closed:
            if self._given_up.is_set():
                return heard, None
            with contextlib.suppress(queue.Empty):
                self._take(lines.get(timeout=_TICK_S), heard, job)
            if heard.end is not None:
                break
            if time.monotonic() > heard.deadline:
                return heard, self._late(heard, job)
        if heard.end is None:
            process.wait()
        return heard, ""

    def _take(self, line: str | None, heard: _Heard, job: Job) -> None:
        if line is None:
            heard.is_closed = True
            return
        event = json.loads(line)
        if event["event"] == "begin":
            heard.rows.clear()  # of a learning rate that was tried before
            limit = job.budget.get("time_s")
            heard.deadline = time.monotonic() + (
                float("inf") if limit is None else limit + self._grace_s
            )
        elif event["event"] == "row":
            heard.rows.append(tuple(event["row"]))
        elif event["event"] == "end":
            heard.end = event

    def _late(self, heard: _Heard, job: Job) -> str:
        if not heard.rows:
            return f"Killed: it had not begun to solve after {_SETUP_S:g} s."
        limit = job.budget["time_s"]
        return f"Killed: it had not stopped {self._grace_s:g} s after its limit of {limit:g} s."

    def _environment(self) -> dict[str, str]:
        """Return the variables of a process: it imports what this one would."""
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - strings
        if self._num_parallel > 1:
            share = max(1, (os.cpu_count() or 1) // self._num_parallel)
            environment |= dict.fromkeys(_THREADS, str(share))
        return environment


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process if it has not ended, and whatever it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _read(pipe: IO[str], lines: queue.Queue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed by whoever listens no more
        for line in pipe:
            lines.put(line)
    lines.put(None)


def _asked(job: Job) -> dict[str, Any]:
    return {
        "problem": job.problem,
        "solver_name": job.solver_name,
        "options": dict(job.options),
        "rates": list(job.rates),
        "dtype": job.dtype,
        "seed": job.seed,
        "start": job.start,
        "budget": dict(job.budget),
    }


def _outcome(
    heard: _Heard, why: str, returncode: int, errors: IO[bytes]
) -> tuple[dict[str, Any], list[Row]]:
    """Return the columns that only the run knows, and its trace."""
    if heard.end is not None:
        return heard.end["fields"], heard.end["rows"] or heard.rows
    if why:
        fields = {"status": "TIMEOUT", "message": why}
    else:
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()[-_LAST_CHARACTERS:]
        message = f"{_ending(returncode)} Last words: {said or 'none'}"
        fields = {"status": "CRASHED", "message": message}
    if not heard.rows:
        return fields, []
    last = heard.rows[-1]
    known: dict[str, Any] = dict(
        zip(("num_iterations", "fg_evals", "hessp_evals"), last[:3], strict=True)
    )
    known |= {"wall_time_s": last[3], "loss": last[4], "grad_norm": last[5]}
    return {**fields, **known, "start_loss": heard.rows[0][4]}, heard.rows


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"The process ended with status {returncode}, without a result."
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "unknown"
    return f"The process was ended by signal {-returncode} ({name})."


def _record(job: Job, fields: dict[str, Any], rows: list[Row]) -> tuple[RunRecord, list[TraceRow]]:
    run = RunRecord(
        run_id=job.run_id,
        problem=job.problem,
        problem_set=job.problem_set,
        solver=job.solver,
        dtype=job.dtype,
        seed=job.seed,
        start=job.start,
        budget=job.budget,
        finished_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        **{"options": job.options, **fields},
    )
    names = ("iteration", "fg_evals", "hessp_evals", "seconds", "loss", "grad_norm")
    trace = [
        TraceRow(run_id=run.run_id, **dict(zip(names, row, strict=True)))  # type: ignore[arg-type]
        for row in rows
    ]
    return run, trace
