from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from kormos_core.compare import find_problem
from kormos_core.compare.outcome import Comparison, Outcome
from kormos_core.compare.table import write_comparison

NEWTON = Outcome(
    solver="scipy:trust-krylov",
    reason="The parameters or the trust region changed by less than their tolerance.",
    status="X_TOL",
    num_iterations=10,
    fg_evals=1234,
    hessp_evals=12345,
    first_call_s=0.4321,
    wall_time_s=123.4567,
    loss=0.1198391586,
    grad_norm=3.2e-7,
    metric=0.97777,
)
ADAM = Outcome(
    solver="adam",
    reason="Epochs used up.",
    num_iterations=100,
    num_steps=4300,
    fg_evals=100,
    hessp_evals=0,
    first_call_s=0.25,
    wall_time_s=7.5,
    loss=0.1854,
    grad_norm=1.6e-2,
    metric=0.96,
)
FAILED = Outcome(solver="scipy:cg", reason="ValueError: [bold]no[/bold] luck.", failed=True)


def comparison(*outcomes, **changes):
    return Comparison(
        problem=find_problem("digits"),
        dtype="float64",
        seed=0,
        num_parameters=650,
        num_samples=1347,
        num_validation_samples=450,
        batch_size=32,
        start_loss=2.33132,
        outcomes=outcomes or (NEWTON, ADAM, FAILED),
        **changes,
    )


def written(found, width=None):
    console = Console(
        file=StringIO(),
        force_terminal=width is not None,
        width=width,
        color_system=None,
        highlight=False,
    )
    write_comparison(found, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_a_terminal_gets_whole_cells_within_its_width(width):
    text = written(comparison(), width)

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for cell in ("scipy:trust-krylov", "12345", "123.46", "0.119839", "3.2e-07", "0.9778"):
        assert cell in text
    assert " ".join(NEWTON.reason.split()) in " ".join(text.split())


def test_a_pipe_gets_the_whole_table_with_the_reason_in_the_row():
    lines = written(comparison()).splitlines()

    (row,) = [line for line in lines if line.startswith("scipy:trust-krylov")]
    assert NEWTON.reason in row
    (headings,) = [line for line in lines if line.startswith("solver")]
    for heading in (
        "iterations",
        "evaluations",
        "Hessian products",
        "first call s",
        "seconds",
        "loss",
        "|g|",
        "validation accuracy",
        "reason",
    ):
        assert heading in headings


def test_a_terminal_of_80_columns_says_where_the_first_call_is_shown():
    text = written(comparison(), 80)

    assert "first" not in text.split("\n\n")[1]
    assert "a wider terminal or --json shows it" in " ".join(text.split())


def test_above_the_table_stand_problem_and_sizes():
    text = written(comparison())

    assert "softmax regression on scikit-learn's handwritten digits" in text
    assert "650 parameters, 1,347 training and 450 validation samples\n" in text
    assert "float64, seed 0, loss at the start 2.33132" in text


def test_below_the_table_stand_the_best_loss_and_the_steps_of_an_epoch():
    lines = written(comparison()).splitlines()

    assert "Best loss 0.1198391586: scipy:trust-krylov." in lines
    assert any("epochs, each of 43 steps on up to 32 samples;" in line for line in lines)


def test_a_loss_that_is_equal_to_six_digits_is_told_as_equal():
    second = replace(NEWTON, solver="scipy:cg", loss=NEWTON.loss * (1 + 1e-7))

    assert "; equal to six digits: scipy:cg." in written(comparison(NEWTON, second, ADAM))


def test_the_best_loss_may_be_zero_or_negative_but_not_nan():
    rows = [replace(NEWTON, solver=f"s{k}", loss=loss) for k, loss in enumerate((0.0, -1.0))]
    lost = replace(NEWTON, loss=float("nan"))

    assert comparison(lost, *rows).best is rows[1]
    assert comparison(lost, rows[0]).best is rows[0]


@pytest.mark.parametrize("width", [None, 80])
def test_a_solver_that_failed_has_its_error_and_no_figures(width):
    text = written(comparison(), width)

    assert "ValueError: [bold]no[/bold] luck." in text
    (row,) = [line.split() for line in text.splitlines() if line.startswith("scipy:cg  ")][:1]
    assert set(row[1:8]) == {"-"}


def test_if_all_failed_the_table_says_so():
    assert "No solver finished." in written(comparison(FAILED))


def test_notes_and_an_interrupt_are_told_below():
    text = written(comparison(replace(NEWTON, notes=("rough ground",)), interrupted=True))

    assert "scipy:trust-krylov: rough ground\n" in text
    assert "Interrupted: what is not in the table was not finished.\n" in text
