from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from kormos_core.compare.report import ReportFileError, write_csv
from kormos_core.compare.store import RunRecord, TraceRow


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_a_row_for_each_run_with_all_its_digits(store, tmp_path):
    write_csv(store, tmp_path / "runs.csv")

    rows = read(tmp_path / "runs.csv")

    assert list(rows[0]) == [field.name for field in dataclasses.fields(RunRecord)]
    assert [row["run_id"] for row in rows] == [record.run_id for record in store.runs()]
    assert float(rows[0]["loss"]) == 0.0001
    assert rows[3]["f_min"] == ""
    assert rows[5]["message"] == "ValueError: <script>no & luck</script>"
    assert json.loads(rows[2]["options"]) == {"learning_rate": 0.01}


def test_traces_are_written_on_request_alone(store, tmp_path):
    write_csv(store, tmp_path / "runs.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]

    write_csv(store, tmp_path / "runs.csv", traces=tmp_path / "traces.csv")

    rows = read(tmp_path / "traces.csv")
    assert list(rows[0]) == [field.name for field in dataclasses.fields(TraceRow)]
    assert len(rows) == 4 + 3 + 4 + 3 + 3
    assert [float(row["loss"]) for row in rows if row["run_id"] == "bowl/b"] == [100, 1, 0.001]


def test_a_line_break_in_a_message_stays_in_its_cell(empty, fill, make, tmp_path):
    fill(empty, (make("bowl", "a", message='said "no",\nthen died'), (100.0, 1.0)))

    write_csv(empty, tmp_path / "runs.csv")

    assert [row["message"] for row in read(tmp_path / "runs.csv")] == ['said "no",\nthen died']


def test_neither_file_is_written_where_one_cannot_be(store, tmp_path):
    with pytest.raises(ReportFileError, match=r"there is no folder '.*absent'\. Allowed"):
        write_csv(store, tmp_path / "runs.csv", traces=tmp_path / "absent" / "traces.csv")

    assert not list(tmp_path.iterdir())
