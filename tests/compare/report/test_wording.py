from __future__ import annotations

import math

import pytest

from kormos_core.compare.report import wording


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (wording.count, 12345.0, "12,345"),
        (wording.seconds, 0.012345, "0.0123"),
        (wording.seconds, 1234.5, "1,234"),
        (wording.ratio, 1.0, "1.00"),
        (wording.ratio, 12.34, "12"),
        (wording.ratio, 1234.0, "1,234"),
        (wording.gap, 0.0, "0"),
        (wording.gap, 1.23e-7, "1.2e-07"),
        (wording.megabytes, 612_345_678, "612"),
        (wording.rank, 2.25, "2.2"),
    ],
)
def test_numbers_are_written_with_few_digits(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
@pytest.mark.parametrize(
    "write",
    [
        wording.count,
        wording.seconds,
        wording.ratio,
        wording.times,
        wording.gap,
        wording.megabytes,
        wording.rank,
    ],
)
def test_what_there_is_no_number_for_is_a_dash(write, nothing):
    assert write(nothing) == "-"


def test_a_budget_is_written_in_order_without_what_is_not_limited():
    assert wording.brief({"time_s": 10.0, "evals": None, "batch_size": 32}) == (
        "batch_size=32, time_s=10"
    )
    assert wording.brief({"evals": None}) == wording.brief({}) == "default"


def test_reasons_are_counted_where_they_differ():
    assert wording.reasons(["F_TOL", "F_TOL"]) == "F_TOL"
    assert wording.reasons(["MAX_ITER", "F_TOL", "F_TOL"]) == "F_TOL (2), MAX_ITER (1)"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("GRAD_TOL", "The gradient norm fell below its tolerance."),
        ("CRASHED", "Its process died."),
        ("ELSE", "Not a status of kormos."),
    ],
)
def test_a_status_has_a_sentence(status, text):
    assert wording.sentence(status) == text
