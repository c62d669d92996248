from __future__ import annotations

import math

import pytest

from kormos_core.compare.limits import DEFAULT_TIME_S, BudgetError, Limits


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (None, Limits(time_s=DEFAULT_TIME_S)),
        (2, Limits(time_s=2)),
        ({"evals": 5}, Limits(evals=5)),
        ({"batch_size": 8}, Limits(time_s=DEFAULT_TIME_S, batch_size=8)),
        (Limits(iterations=7), Limits(iterations=7)),
    ],
)
def test_a_budget_is_read_in_each_of_its_forms(budget, expected):
    assert Limits.of(budget) == expected


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"seconds": 3}, r"unknown limits \['seconds'\] of the budget. Allowed: time_s, evals"),
        ({"evals": 2.5}, "evals=2.5 of the budget cannot be kept. Allowed is a whole number"),
        ({"iterations": 0}, "iterations=0"),
        ({"evals": True}, "evals=True"),
        ({"batch_size": None}, "batch_size=None is no minibatch"),
        (math.inf, "time_s=inf of the budget cannot be kept. Allowed is a number of seconds"),
        (-1.0, "time_s=-1.0"),
        ("3", "time_s='3'"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(budget, said):
    with pytest.raises(BudgetError, match=said):
        Limits.of(budget)


@pytest.mark.parametrize(
    ("limits", "epochs"),
    [
        (Limits(evals=5, iterations=9), 5),
        (Limits(evals=9, iterations=5), 5),
        (Limits(time_s=1.0), 10**6),
    ],
)
def test_epochs_are_iterations_and_evaluations_alike(limits, epochs):
    assert limits.most_epochs == epochs
