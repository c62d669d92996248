from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kormos_core.result import Result, Status

SOLVED: dict[str, Any] = {
    "x": np.zeros(2),
    "loss": 0.25,
    "status": Status.GRAD_TOL,
    "message": "Done.",
    "num_iterations": 7,
}


@pytest.mark.parametrize("status", Status)
def test_a_status_is_a_sentence(status: Status) -> None:
    assert status.value[0].isupper()
    assert status.value.endswith(".")


@pytest.mark.parametrize("status", Status)
def test_only_a_tolerance_that_was_met_counts_as_converged(status: Status) -> None:
    result = Result(**SOLVED | {"status": status})

    assert result.converged is (status.name in {"GRAD_TOL", "F_TOL", "X_TOL"})


def test_statuses_are_distinct() -> None:
    assert len({status.value for status in Status}) == len(Status)


def test_what_was_not_measured_is_not_made_up() -> None:
    result = Result(**SOLVED)

    assert math.isnan(result.grad_norm)
    assert (result.fg_evals, result.hessp_evals, result.raw) == (0, 0, None)


def test_a_result_reads_as_one_line() -> None:
    result = Result(
        **SOLVED,
        grad_norm=1e-6,
        fg_evals=9,
        hessp_evals=3,
        wall_time_s=1.5,
        solver="scipy:newton-cg",
    )

    assert str(result) == (
        "scipy:newton-cg: GRAD_TOL after 7 iterations, loss 0.25, |g| 1.00e-06, "
        "9 evaluations, 3 Hessian products, 1.50 s. Done."
    )
