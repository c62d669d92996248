"""What a user reads while a solver works."""

from __future__ import annotations

import re

import numpy as np
import pytest
from training.problems import METHODS, data, line, line_anew

from kormos_core.errors import UnsupportedError
from kormos_core.training import IterationProgress

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

X, Y = data()


def fit(model, **options):
    return model.fit(X, Y, **options)


def test_verbose_0_is_silent(capsys):
    fit(line_anew(), verbose=0, epochs=3)

    assert capsys.readouterr().out == ""


def test_verbose_2_tells_each_iteration_in_a_line(capsys):
    columns = fit(
        line_anew("l-bfgs-b", "mae"), verbose=2, epochs=3, validation_data=(X, Y)
    ).history

    lines = capsys.readouterr().out.splitlines()
    for row, text in enumerate(lines[:3]):
        assert text.startswith(
            f"Iteration {row + 1}/3 - loss: {columns['loss'][row]:.4g} - grad: "
        )
        assert f"grad: {columns['grad'][row]:.4g} - " in text
        assert f"fg_evals: {columns['fg_evals'][row]} - hessp_evals: 0 - mae: " in text
        assert re.search(r"mae: \S+ - val_loss: \S+ - val_mae: \S+$", text)
    assert len(lines) == 4


def test_without_a_limit_none_is_shown(capsys):
    fit(line_anew(), verbose=2)

    assert capsys.readouterr().out.startswith("Iteration 1 - loss: ")


def test_numbers_start_from_initial_epoch(capsys):
    fit(line(), verbose=2, initial_epoch=5, epochs=7)

    lines = capsys.readouterr().out.splitlines()
    assert [text.partition(" - ")[0] for text in lines[:2]] == ["Iteration 6/7", "Iteration 7/7"]


@pytest.mark.parametrize("verbose", [1, "auto"])
def test_verbose_1_keeps_one_line_up_to_the_last_iteration(capsys, verbose):
    columns = fit(line_anew(), verbose=verbose, epochs=3).history

    shown = capsys.readouterr().out
    assert "3/3" in shown
    last = shown.rpartition("3/3")[2]
    assert f"loss: {columns['loss'][-1]:.4f}" in last
    assert f"grad: {columns['grad'][-1]:.4f}" in last
    assert "fg_evals: 4" in last
    assert "iteration" in last


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_last_line_tells_why_the_solve_stopped(capsys, verbose):
    history = fit(line_anew("newton-cg"), verbose=verbose)

    last = capsys.readouterr().out.splitlines()[-1]
    result = history.result
    assert last == str(result)
    assert last.startswith(f"scipy:newton-cg: X_TOL after {result.num_iterations} iterations, ")
    assert f"{result.fg_evals} evaluations, {result.hessp_evals} Hessian products" in last
    assert "changed by less than their tolerance" in last


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_watched(capsys, method, verbose):
    fit(line_anew(method), verbose=verbose, epochs=2)

    assert f"scipy:{method}: " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("verbose", ["loud", 3, -1, 1.5, None])
def test_another_verbosity_is_refused(verbose):
    with pytest.raises(UnsupportedError, match=r"verbose is not usable: .*Allowed are 'auto', 0"):
        fit(line_anew(), verbose=verbose)


def test_true_and_false_are_one_and_zero(capsys):
    fit(line_anew(), verbose=False, epochs=1)
    silent = capsys.readouterr().out
    fit(line_anew(), verbose=True, epochs=1)

    assert silent == ""
    assert "1/1" in capsys.readouterr().out


@pytest.mark.parametrize("verbose", [1, 2])
def test_numbers_that_are_not_finite_are_shown(capsys, verbose):
    progress = IterationProgress(verbose, 2)
    progress.on_train_begin()

    progress.on_epoch_end(0, {"loss": np.inf, "grad": np.nan, "fg_evals": 3, "f1": [0.5, 1.0]})
    progress.close("the end")

    shown = capsys.readouterr().out
    assert "loss: inf" in shown
    assert "grad: nan" in shown
    assert "f1: 0.75" in shown  # the mean of a metric with several values


def test_a_solve_without_iterations_shows_only_its_reason(capsys):
    spoiled = np.full_like(X, np.nan)

    with pytest.warns(RuntimeWarning, match="the input has 40 NaN"):
        line_anew().fit(spoiled, Y, verbose=1)

    (only,) = capsys.readouterr().out.splitlines()
    assert only.startswith("scipy:l-bfgs-b: NONFINITE after 0 iterations")


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_row_of_adam_shows_no_column_that_it_does_not_have(verbose, capsys):
    line("adam>scipy:l-bfgs-b").fit(*data(), epochs=[2, 2], verbose=verbose)

    shown = capsys.readouterr().out
    assert "nan" not in shown
    assert "grad" in shown
