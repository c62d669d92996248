"""Runs of a comparison in one file that grows, and outlives whoever writes it.

The file is an SQLite database of two tables, `runs` and `trace`, in write-ahead mode. One
process writes it, a transaction for each run; others may read it meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.errors import KormosError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

__all__ = ["RunRecord", "Store", "StoreError", "TraceRow"]

_APPLICATION: Final = 0x6B6F726D  # "korm": what `file` and this module know such a file by
_VERSION: Final = 1
_JSON: Final = frozenset({"options", "budget", "versions"})
_WAIT_S: Final = 30.0  # for another process that writes


class StoreError(KormosError, ValueError):
    """A file that does not hold a comparison's runs."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One solver on one problem, from one start, with one seed.

    A number is None where there is none: it was not measured, was NaN or does not apply.

    Attributes
    ----------
    run_id : str
        What tells it from all others: a digest of what was asked for.
    problem, problem_set : str
        Name of the problem, and of the set it was asked for by; the problem's first set, or
        "", where it was asked for by name.
    solver : str
        Name of the solver, with its options where some were given.
    options : mapping of str to object
        The solver's options; of a tuned one, those that were best.
    dtype : str
        Dtype of parameters and data.
    seed, start : int
        Numbers, from 0, of the seed and of the starting point.
    budget : mapping of str to object
        What the run was allowed: ``time_s``, ``evals``, ``iterations``, and ``batch_size``.
    status : str
        Name of a `Status`; or ``"FAILED"`` where it raised, ``"CRASHED"`` where its process
        died, ``"TIMEOUT"`` where it was killed because it did not stop when it was to.
    message : str
        Why it ended, in words.
    num_parameters, num_samples : int or None
        Sizes of the problem.
    num_iterations : int or None
        Accepted iterations; epochs of Keras's optimizers.
    fg_evals, hessp_evals : int or None
        Sweeps over the data for a loss, with its gradient or without, and for a product of
        the Hessian and a vector.
    first_call_s : float or None
        Seconds of tracing and compiling, which are in no other column.
    wall_time_s : float or None
        Seconds of the solve.
    start_loss, loss, grad_norm : float or None
        Loss at the start; loss and 2-norm of its gradient at the end, over all data, measured
        by one objective for all solvers.
    f_min : float or None
        The problem's least known loss.
    metric : str or None
        Keras's name of the problem's metric on its validation data.
    metric_value : float or None
        The metric at the end.
    peak_memory_bytes : int or None
        Largest resident size of the run's process, the backend's own hundreds of MB included.
    tuning_runs : int or None
        Runs that were made to find the options, this one among them; None if not tuned.
    tuning_s : float or None
        Seconds of all those runs together; None if not tuned.
    versions : mapping of str to str
        Versions of Python, Keras, the backend, NumPy, and the packages of kormos.
    finished_at : str
        When it ended: ISO 8601, UTC.
    """

    run_id: str
    problem: str
    problem_set: str
    solver: str
    options: Mapping[str, Any]
    dtype: str
    seed: int
    start: int
    budget: Mapping[str, Any]
    status: str
    message: str = ""
    num_parameters: int | None = None
    num_samples: int | None = None
    num_iterations: int | None = None
    fg_evals: int | None = None
    hessp_evals: int | None = None
    first_call_s: float | None = None
    wall_time_s: float | None = None
    start_loss: float | None = None
    loss: float | None = None
    grad_norm: float | None = None
    f_min: float | None = None
    metric: str | None = None
    metric_value: float | None = None
    peak_memory_bytes: int | None = None
    tuning_runs: int | None = None
    tuning_s: float | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    finished_at: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """Where a run was after an iteration.

    Attributes
    ----------
    run_id : str
        The run.
    iteration : int
        Number of the iteration; 0 is the start.
    fg_evals, hessp_evals : int or None
        Sweeps over the data so far.
    seconds : float or None
        Seconds of the solve so far, without tracing, compiling and measuring.
    loss : float or None
        Loss over all data; also of optimizers that saw a part of them. None where it is NaN.
    grad_norm : float or None
        2-norm of the gradient; None where it was not measured.
    """

    run_id: str
    iteration: int
    fg_evals: int | None = None
    hessp_evals: int | None = None
    seconds: float | None = None
    loss: float | None = None
    grad_norm: float | None = None


_RUNS: Final = """
CREATE TABLE runs(
    run_id TEXT PRIMARY KEY, problem TEXT, problem_set TEXT, solver TEXT, options TEXT,
    dtype TEXT, seed INTEGER, start INTEGER, budget TEXT, status TEXT, message TEXT,
    num_parameters INTEGER, num_samples INTEGER, num_iterations INTEGER,
    fg_evals INTEGER, hessp_evals INTEGER, first_call_s REAL, wall_time_s REAL,
    start_loss REAL, loss REAL, grad_norm REAL, f_min REAL, metric TEXT, metric_value REAL,
    peak_memory_bytes INTEGER, tuning_runs INTEGER, tuning_s REAL, versions TEXT,
    finished_at TEXT
)
"""
_TRACE: Final = """
CREATE TABLE trace(
    run_id TEXT, iteration INTEGER, fg_evals INTEGER, hessp_evals INTEGER,
    seconds REAL, loss REAL, grad_norm REAL, PRIMARY KEY(run_id, iteration)
)
"""
_RUN_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(RunRecord))
_TRACE_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(TraceRow))


@final
class Store:
    """The file of a comparison; it is made where there is none.

    Parameters
    ----------
    path : str or os.PathLike
        The file; ``":memory:"`` keeps it in memory.

    Raises
    ------
    StoreError
        If there is a file that is no such store, or one of a later version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path if path == ":memory:" else Path(path)
        try:
            self._connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        except sqlite3.OperationalError as error:
            message = (
                f"the store {str(path)!r} cannot be opened: {error}. Allowed is a file in a "
                "folder that exists and may be written to. Make the folder, or name another."
            )
            raise StoreError(message) from error
        try:
            self._prepare()
        except sqlite3.OperationalError as error:  # locked, or not to be written to
            self._connection.close()
            raise StoreError(_not_usable(path, str(error))) from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise StoreError(_not_a_store(path, str(error))) from error
        except StoreError:
            self._connection.close()
            raise

    def __enter__(self) -> Store:
        """Return the store itself; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Close the file."""
        del kind, error, where
        self.close()

    @property
    def path(self) -> Path | str:
        """The file."""
        return self._path

    def close(self) -> None:
        """Close the file; nothing can be read or added any more."""
        self._connection.close()

    def add(self, run: RunRecord, trace: Sequence[TraceRow] = ()) -> None:
        """Keep a run with its trace, in one transaction; an earlier one of its id goes.

        Parameters
        ----------
        run : RunRecord
            The run.
        trace : sequence of TraceRow
            Its iterations.

        Raises
        ------
        ValueError
            If a row of the trace belongs to another run.
        StoreError
            If the file cannot be written: another process does for long, or the disk is full.
        """
        strangers = {row.run_id for row in trace} - {run.run_id}
        if strangers:
            message = (
                f"the trace of run {run.run_id!r} has rows of others: {sorted(strangers)}. "
                "Allowed are its own. Add each run with its own rows."
            )
            raise ValueError(message)
        try:
            self._add(run, trace)
        except sqlite3.OperationalError as error:
            raise StoreError(_not_usable(self._path, str(error))) from error

    def runs(self) -> list[RunRecord]:
        """Return all runs.

        Returns
        -------
        list of RunRecord
            In the order in which they were added.
        """
        columns = ", ".join(_RUN_COLUMNS)
        rows = self._connection.execute(f"SELECT {columns} FROM runs ORDER BY rowid")  # noqa: S608 - our own names
        return [_run(row) for row in rows]

    def trace(self, run_id: str) -> list[TraceRow]:
        """Return the iterations of a run.

        Parameters
        ----------
        run_id : str
            The run.

        Returns
        -------
        list of TraceRow
            By iteration, the start first; none where there is no such run.
        """
        columns = ", ".join(_TRACE_COLUMNS)
        rows = self._connection.execute(
            f"SELECT {columns} FROM trace WHERE run_id = ? ORDER BY iteration",  # noqa: S608 - our own names
            (run_id,),
        )
        return [TraceRow(**dict(zip(_TRACE_COLUMNS, row, strict=True))) for row in rows]

    def done(self) -> set[str]:
        """Return the ids of all runs, those that failed included."""
        return {run_id for (run_id,) in self._connection.execute("SELECT run_id FROM runs")}

    def _add(self, run: RunRecord, trace: Sequence[TraceRow]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for table in ("trace", "runs"):
                self._connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run.run_id,))  # noqa: S608 - our own names
            self._connection.execute(_insert("runs", _RUN_COLUMNS), _values(run))
            self._connection.executemany(
                _insert("trace", _TRACE_COLUMNS), [_values(row) for row in trace]
            )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends one itself on a full disk
                self._connection.execute("ROLLBACK")
            raise

    def _prepare(self) -> None:
        """See that the file is ours, and make the tables where it is empty."""
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION:
            if tables:
                raise StoreError(_not_a_store(self._path, "its tables are not a comparison's"))
            self._create()
        elif version != _VERSION:
            message = (
                f"the store {str(self._path)!r} has version {version}. Allowed is {_VERSION}. "
                "Read it with the kormos that wrote it, or begin another file."
            )
            raise StoreError(message)
        # a reader and the one writer do not wait for each other
        self._connection.execute("PRAGMA journal_mode = WAL")

    def _create(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        self._connection.execute(_RUNS)
        self._connection.execute(_TRACE)
        self._connection.execute("COMMIT")


def _not_a_store(path: object, why: str) -> str:
    return (
        f"the file {str(path)!r} holds no comparison: {why}. Allowed is a file that a comparison "
        "has made, or none. Name another file."
    )


def _not_usable(path: object, why: str) -> str:
    return (
        f"the store {str(path)!r} cannot be used: {why}. Allowed is a file that can be written, "
        "by one process at a time. End whatever else writes to it, make room, or name another."
    )


def _insert(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    marks = ", ".join("?" for _ in names)
    return f"INSERT INTO {table}({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our own names


def _values(record: RunRecord | TraceRow) -> list[Any]:
    """Return the cells of a row; SQLite has no NaN, but infinities."""
    cells = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in _JSON:
            value = json.dumps(dict(value), sort_keys=True)
        elif isinstance(value, float) and math.isnan(value):
            value = None
        cells.append(value)
    return cells


def _run(row: Sequence[Any]) -> RunRecord:
    cells = dict(zip(_RUN_COLUMNS, row, strict=True))
    return RunRecord(**{k: json.loads(v) if k in _JSON else v for k, v in cells.items()})
