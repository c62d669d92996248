"""Gauss-Newton: the line search, and what ends it."""

from __future__ import annotations

import itertools

import keras
import native_squares
import numpy as np
import pytest
from native_graphs import run
from native_squares import (
    PROBLEMS,
    SquaresGraph,
    by_scipy,
    decay,
    linear,
    make_matrix,
    redundant,
    rows_at,
)

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.loop import status_of
from kormos_native.gauss_newton import GaussNewton

ops = keras.ops

START = np.ones(3)


def states_of(residuals, x0, *, eager=False, calls=500, **options):
    """Run until the end; gives all states."""
    return native_squares.states_of(
        GaussNewton(**options), residuals, x0, eager=eager, calls=calls
    )


def end_of(state):
    return status_of(state["status"])


def test_a_linear_problem_takes_one_step():
    J, y = make_matrix(20, 5, 1e3), np.cos(np.arange(20.0))

    last = states_of(linear(J, y), np.zeros(5), eager=True)[-1]

    assert (end_of(last), last["iteration"]) == (Status.GRAD_TOL, 1)
    # a sweep for each of two Jacobians, and a trial
    assert last["num_fg"] == 3
    np.testing.assert_allclose(last["x"], np.linalg.lstsq(J, y)[0], rtol=1e-11)


def test_steps_are_those_of_the_definition():
    states = states_of(decay, START, eager=True)

    for before, after in itertools.pairwise(states[:4]):
        r, J = rows_at(decay, before["x"])
        s = np.linalg.lstsq(J, -r)[0]
        share = np.linalg.norm(after["x"] - before["x"]) / np.linalg.norm(s)
        np.testing.assert_allclose(after["x"], before["x"] + share * s, rtol=1e-9)
        assert share <= 1.0 + 1e-9


def test_convergence_is_quadratic_where_residuals_vanish():
    residuals, x0 = PROBLEMS["exact"]

    errors = [
        np.abs(state["x"] - [2.5, 1.3, 0.4]).max()
        for state in states_of(residuals, x0, eager=True)
    ]

    close = next(k for k, error in enumerate(errors) if error < 0.1)
    assert errors[close + 1] < 5.0 * errors[close] ** 2
    assert errors[close + 2] < 5.0 * errors[close + 1] ** 2 + 1e-14


def test_a_long_step_is_shortened_until_it_gains_its_share():
    states = states_of(ops.arctan, np.array([3.0]), eager=True)

    # from here the whole step leads to -9.5, where the loss is larger
    square, whole = np.arctan(3.0) ** 2, 10.0 * np.arctan(3.0)
    share = (3.0 - states[1]["x"][0]) / whole
    assert 0.0 < share <= 0.5
    assert 0.5 * square - states[1]["f"] >= 1e-4 * share * square
    assert states[-1]["x"] == pytest.approx(0.0, abs=1e-9)


def test_the_limit_of_a_line_search_is_kept():
    # behind a wall just above the start there is no loss
    def walled(x):
        return ops.where(x < 1.0 + 1e-9, x - 5.0, np.nan)

    last = states_of(walled, START, maxls=3, eager=True)[-1]

    assert end_of(last) is Status.LINESEARCH_FAILED
    assert last["num_fg"] == 1 + 3
    np.testing.assert_array_equal(last["x"], START)


def test_a_search_that_is_long_enough_ends_before_the_wall():
    def walled(x):
        return ops.where(x < 1.0 + 1e-3, x - 5.0, np.nan)

    states = states_of(walled, START, eager=True, calls=4)

    assert (states[1]["x"] > 1.0).all()
    assert (states[-1]["x"] < 1.0 + 1e-3).all()


def test_a_step_that_leads_uphill_ends_the_solve_at_once():
    class Reversed(SquaresGraph):
        def triangle(self, x):
            squares = super().triangle(x)
            return squares._replace(gradient=-squares.gradient)

    last = run(GaussNewton(), Reversed(decay, 3), START)[-1]

    assert (end_of(last), last["num_fg"]) == (Status.LINESEARCH_FAILED, 2)
    np.testing.assert_array_equal(last["x"], START)


def test_a_gradient_of_the_wrong_sign_ends_the_solve_where_it_is():
    def wrong(x):
        return 2.0 * ops.stop_gradient(x) - x

    last = states_of(wrong, START)[-1]

    assert end_of(last) in {Status.LINESEARCH_FAILED, Status.STAGNATED}
    assert last["num_fg"] < 60
    np.testing.assert_allclose(last["x"], START, rtol=1e-6)


@pytest.mark.parametrize("solver", ["qr", "cholesky"])
def test_parameters_that_cannot_be_told_apart_stay_near_the_start(solver):
    x0 = PROBLEMS["redundant"][1]

    last = states_of(redundant, x0, linear_solver=solver, eager=True)[-1]

    # rounding errors of the equations would carry them away, or end the line search
    assert last["f"] == pytest.approx(by_scipy("redundant").cost, rel=1e-10)
    assert end_of(last).converged
    assert np.linalg.norm(last["x"] - x0) < 4.0


def test_units_of_the_residuals_do_not_matter():
    plain = states_of(decay, START, linear_solver="cg", eager=True)

    other = states_of(lambda x: 1e11 * decay(x), START, linear_solver="cg", eager=True)

    for a, b in zip(plain[:5], other[:5], strict=True):
        np.testing.assert_allclose(b["x"], a["x"], rtol=1e-8)
    assert end_of(other[-1]).converged


def test_a_small_promise_ends_the_solve():
    states = states_of(*PROBLEMS["humps"], ftol=1e-4, xtol=0.0, gtol=0.0)

    losses = [float(state["f"]) for state in states[1:]]
    assert end_of(states[-1]) is Status.F_TOL
    assert 0.0 < losses[-2] - losses[-1] <= 1e-4 * losses[-2]
    assert losses[-1] > by_scipy("humps").cost * (1.0 + 1e-10)


def test_a_small_step_ends_the_solve():
    states = states_of(*PROBLEMS["humps"], xtol=1e-3, ftol=0.0, gtol=0.0)

    before, after = (state["x"] for state in states[-2:])
    assert end_of(states[-1]) is Status.X_TOL
    assert (np.abs(after - before) <= 1e-3 * np.abs(after)).all()


def test_without_tolerances_rounding_ends_the_solve():
    last = states_of(decay, START, ftol=0.0, xtol=0.0, gtol=0.0)[-1]

    assert end_of(last) is Status.STAGNATED
    assert last["num_fg"] < 60
    np.testing.assert_allclose(last["x"], by_scipy("decay").x, rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c1": 0.5}, r"option c1=0.5 of GaussNewton is not usable.* from 0 on and below 0.5"),
        ({"c1": -1e-4}, "c1=-0.0001"),
        ({"maxls": 0}, r"maxls=0 .* a whole number, 1 or above"),
    ],
)
def test_an_option_that_is_not_usable_is_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        GaussNewton(**options)
