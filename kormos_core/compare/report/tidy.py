"""Runs as comma-separated values: one row for each, one column for each figure."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kormos_core.compare.report.files import checked_file
from kormos_core.compare.store import RunRecord, TraceRow

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    from kormos_core.compare.store import Store

__all__ = ["write_csv"]


def write_csv(
    store: Store,
    path: str | os.PathLike[str],
    *,
    traces: str | os.PathLike[str] | None = None,
) -> None:
    """Write all runs of a store as comma-separated values.

    Parameters
    ----------
    store : Store
        Where the runs are.
    path : str or os.PathLike
        The file of the runs, with a line of headings; it is written over. Columns are the
        fields of `RunRecord`; options, budget and versions are JSON.
    traces : str or os.PathLike or None
        The file of all traces, whose columns are the fields of `TraceRow`; None writes none.

    Raises
    ------
    ReportFileError
        If no file can be written there.

    Notes
    -----
    The file is UTF-8. Numbers have all their digits, and what there is no number for is empty.
    """
    file, other = checked_file(path), None if traces is None else checked_file(traces)
    records = store.runs()
    _write(file, RunRecord, records)
    if other is not None:
        rows = (row for record in records for row in store.trace(record.run_id))
        _write(other, TraceRow, rows)


def _write(
    path: Path, kind: type[RunRecord | TraceRow], rows: Iterable[RunRecord | TraceRow]
) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(dict(value), sort_keys=True) if isinstance(value, Mapping) else value
