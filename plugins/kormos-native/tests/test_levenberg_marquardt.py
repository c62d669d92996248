"""Levenberg-Marquardt: the trust region, what ends it, and minima on the way to which it works."""

from __future__ import annotations

import itertools

import keras
import native_squares
import numpy as np
import pytest
from native_squares import (
    PROBLEMS,
    by_scipy,
    decay,
    redundant,
    rows_at,
)

from kormos_core import Status
from kormos_core.compare.classic import CLASSIC
from kormos_core.errors import UnsupportedError
from kormos_core.loop import status_of
from kormos_native.levenberg_marquardt import LevenbergMarquardt

ops = keras.ops

START = np.ones(3)


def states_of(residuals, x0, *, eager=False, calls=500, **options):
    """Run until the end; gives all states."""
    return native_squares.states_of(
        LevenbergMarquardt(**options), residuals, x0, eager=eager, calls=calls
    )


def end_of(state):
    return status_of(state["status"])


def steps_of(states, *, scaled=True):
    """Return the length of each accepted step, scaled by what the state after it says."""
    lengths = []
    for before, after in itertools.pairwise(states):
        scale = after["scale"] if scaled else 1.0
        lengths.append(np.linalg.norm(scale * (after["x"] - before["x"])))
    return np.array(lengths)


# --- the region --------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-3, 1.0])
def test_the_first_step_is_no_longer_than_a_part_of_the_start(factor):
    states = states_of(decay, START, factor=factor, eager=True, calls=2)

    lengths = np.linalg.norm(rows_at(decay, START)[1], axis=0)
    # a damped step is as long as the region to 10 %
    assert steps_of(states)[0] <= 1.1 * factor * np.linalg.norm(lengths * START)


def test_the_first_step_from_zeros_is_no_longer_than_the_residuals():
    states = states_of(lambda x: ops.exp(x) - 5.0, np.zeros(3), factor=0.1, eager=True, calls=2)

    assert steps_of(states)[0] == pytest.approx(0.1 * np.sqrt(3 * 4.0**2), rel=0.1)


def test_the_region_doubles_after_good_steps_to_its_edge():
    states = states_of(lambda x: x - 1e3, START, factor=1e-2)

    # the model is exact: every step is good, and the last one ends inside the region
    np.testing.assert_allclose(steps_of(states)[1:8] / steps_of(states)[:7], 2.0, rtol=0.25)
    assert end_of(states[-1]) is Status.GRAD_TOL
    np.testing.assert_allclose(states[-1]["x"], 1e3, rtol=1e-12)


def test_a_trial_that_is_not_finite_shortens_the_region_to_a_quarter_of_the_step():
    # behind a wall there is no loss
    def walled(x):
        return ops.where(x < 1.5, x - 1e3, np.nan)

    states = states_of(walled, START, factor=1e6, eager=True, calls=2)

    # each trial costs an evaluation, and so does the sweep before them
    trials = np.diff([state["num_fg"] for state in states])[0] - 1
    whole = 999.0 * np.sqrt(3.0)
    assert trials == 7
    assert steps_of(states)[0] == pytest.approx(0.25**6 * whole, rel=0.1)


def test_a_trial_whose_loss_is_larger_shortens_the_region_by_the_parabola():
    seen = []

    def bent(x):
        seen.append(float(x[0]))
        return ops.arctan(x)

    states_of(bent, [3.0], factor=100.0, eager=True, calls=2)

    # the whole step leads to -9.5
    first, second = list(dict.fromkeys(seen))[1:3]
    square = np.arctan(3.0) ** 2
    gain = 0.5 * square - 0.5 * np.arctan(first) ** 2
    assert first == pytest.approx(3.0 - 10.0 * np.arctan(3.0))
    share = 0.5 * square / (square - gain)
    assert 3.0 - second == pytest.approx(share * (3.0 - first), rel=0.1)
    assert 0.1 < share < 0.5


@pytest.mark.parametrize("name", ["valley", "humps", "redundant"])
def test_losses_fall_with_every_iteration(name):
    losses = np.array([state["f"] for state in states_of(*PROBLEMS[name])[1:]])

    # up to rounding, where slopes tell the gain
    assert (np.diff(losses) <= 2e-15 * losses[:-1]).all()


def test_large_residuals_are_minimized():
    last = states_of(*PROBLEMS["humps"])[-1]

    expected = by_scipy("humps")
    assert last["f"] == pytest.approx(expected.cost, rel=1e-12)
    np.testing.assert_allclose(last["x"], expected.x, atol=1e-6)


@pytest.mark.parametrize("number", [3, 16, 33])
def test_classical_functions_are_solved(number):
    function = next(function for function in CLASSIC if function.number == number)

    last = states_of(function.residuals, function.x0)[-1]

    least = function.minima[0]
    assert 2.0 * last["f"] == pytest.approx(least, rel=1e-10, abs=1e-20)
    assert end_of(last).converged or end_of(last) is Status.STAGNATED
    # Brown and Dennis's takes the most of them
    assert last["iteration"] < 400


@pytest.mark.parametrize("solver", ["qr", "cholesky", "cg"])
def test_parameters_that_cannot_be_told_apart_stay_near_the_start(solver):
    x0 = PROBLEMS["redundant"][1]

    last = states_of(redundant, x0, linear_solver=solver, eager=True)[-1]

    # rounding errors of the equations would carry them away
    assert last["f"] == pytest.approx(by_scipy("redundant").cost, rel=1e-10)
    assert np.linalg.norm(last["x"] - x0) < 4.0


# --- units -------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["qr", "cholesky"])
def test_units_of_the_parameters_do_not_matter(solver):
    units = np.array([1e6, 1.0, 1e-6])
    how = {"linear_solver": solver, "eager": True}
    plain = states_of(decay, START, **how)

    other = states_of(lambda x: decay(x / units), START * units, **how)

    # the first steps are the same to rounding; the last ones hang on it
    for a, b in zip(plain[:6], other[:6], strict=True):
        np.testing.assert_allclose(b["x"], a["x"] * units, rtol=1e-9)
        np.testing.assert_allclose(b["scale"], a["scale"] / units, rtol=1e-9)
    assert other[-1]["f"] == pytest.approx(float(plain[-1]["f"]), rel=1e-13)


@pytest.mark.parametrize("solver", ["qr", "cg"])
def test_units_of_the_residuals_do_not_matter(solver):
    how = {"linear_solver": solver, "eager": True}
    plain = states_of(decay, START, **how)

    other = states_of(lambda x: 1e11 * decay(x), START, **how)

    for a, b in zip(plain[:5], other[:5], strict=True):
        np.testing.assert_allclose(b["x"], a["x"], rtol=1e-8)
    assert end_of(other[-1]).converged
    np.testing.assert_allclose(other[-1]["x"], plain[-1]["x"], rtol=1e-6)


# --- ends --------------------------------------------------------------------------------


def test_a_small_step_ends_the_solve():
    states = states_of(*PROBLEMS["humps"], xtol=1e-3, ftol=0.0, gtol=0.0)

    third, before, after = (state["x"] for state in states[-3:])
    assert end_of(states[-1]) is Status.X_TOL
    assert (np.abs(after - before) <= 1e-3 * np.abs(after)).all()
    assert (np.abs(before - third) > 1e-3 * np.abs(before)).any()


def test_a_small_gain_ends_the_solve():
    states = states_of(*PROBLEMS["humps"], ftol=1e-4, xtol=0.0, gtol=0.0)

    least = by_scipy("humps").cost
    losses = [float(state["f"]) for state in states[1:]]
    assert end_of(states[-1]) is Status.F_TOL
    assert 0.0 < losses[-2] - losses[-1] <= 1e-4 * losses[-2]
    # it ended before the default would have let it
    assert losses[-1] > least * (1.0 + 1e-10)


def test_a_small_cosine_ends_the_solve():
    last = states_of(decay, START, gtol=1e-4, ftol=0.0, xtol=0.0, eager=True)[-1]

    r, J = rows_at(decay, last["x"])
    cosines = np.abs(J.T @ r) / (np.linalg.norm(J, axis=0) * np.linalg.norm(r))
    assert end_of(last) is Status.GRAD_TOL
    assert cosines.max() <= 1e-4


@pytest.mark.parametrize("solver", ["qr", "cg"])
def test_steps_to_the_edge_of_a_tiny_region_say_nothing_of_convergence(solver):
    last = states_of(decay, START, factor=1e-13, linear_solver=solver)[-1]

    # the first ones change neither parameters nor loss by more than the tolerances
    expected = by_scipy("decay")
    assert last["f"] == pytest.approx(expected.cost, rel=1e-9)
    assert last["iteration"] > 30


def test_a_cliff_behind_the_start_ends_the_solve():
    def cliff(x):
        return ops.stack([x[0], 100.0 * ops.cast(x[0] < 1.0, "float64")])

    last = states_of(cliff, np.ones(1))[-1]

    assert end_of(last) is Status.STAGNATED
    assert last["num_fg"] < 70
    np.testing.assert_array_equal(last["x"], np.ones(1))


def test_a_cliff_at_the_origin_ends_the_solve():
    def cliff(x):
        return ops.stack([x[0] + 1.0, 100.0 * ops.cast(x[0] < 0.0, "float64")])

    last = states_of(cliff, np.zeros(1))[-1]

    # there is no length of the start that a region could be small against
    assert end_of(last) is Status.STAGNATED
    assert last["num_fg"] < 70


def test_a_gradient_of_the_wrong_sign_ends_the_solve_where_it_is():
    def wrong(x):
        return 2.0 * ops.stop_gradient(x) - x

    last = states_of(wrong, START)[-1]

    # steps so short that rounding hides what they do may be taken
    assert end_of(last) is Status.STAGNATED
    assert last["num_fg"] < 300
    np.testing.assert_allclose(last["x"], START, rtol=1e-6)


def test_without_tolerances_rounding_ends_the_solve():
    last = states_of(decay, START, ftol=0.0, xtol=0.0, gtol=0.0)[-1]

    assert end_of(last) is Status.STAGNATED
    assert last["num_fg"] < 60
    np.testing.assert_allclose(last["x"], by_scipy("decay").x, rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0.0}, "option factor=0.0 of LevenbergMarquardt is not usable"),
        ({"factor": np.inf}, r"factor=inf .* a finite number above 0"),
        ({"ftol": np.nan}, r"ftol=nan .* a finite number, 0 or above"),
    ],
)
def test_an_option_that_is_not_usable_is_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        LevenbergMarquardt(**options)
