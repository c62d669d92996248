"""The line search, along functions of one variable."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import scipy.optimize

from kormos_native.line_search import ACCEPTED, FAILED, STALLED, LineSearch, idle

ops = keras.ops


def function_1(t, beta=2.0):
    return -t / (t * t + beta), (t * t - beta) / (t * t + beta) ** 2


def function_2(t, beta=0.004):
    u = t + beta
    return u**5 - 2 * u**4, 5 * u**4 - 8 * u**3


def function_3(t, beta=0.01, num_waves=39):
    if t <= 1 - beta:
        f, slope = 1 - t, -1.0
    elif t >= 1 + beta:
        f, slope = t - 1, 1.0
    else:
        f, slope = (t - 1) ** 2 / (2 * beta) + beta / 2, (t - 1) / beta
    angle = num_waves * math.pi / 2
    f += 2 * (1 - beta) / (num_waves * math.pi) * math.sin(angle * t)
    return f, slope + (1 - beta) * math.cos(angle * t)


def make_function_4(beta_1, beta_2):
    def function_4(t):
        a, b = (math.hypot(1, beta) - beta for beta in (beta_1, beta_2))
        p, q = math.hypot(1 - t, beta_2), math.hypot(t, beta_1)
        return a * p + b * q, a * (t - 1) / p + b * t / q

    return function_4


STEPS = (1e-3, 1e-1, 1e1, 1e3)

# functions (5.1) to (5.4) of Moré and Thuente with c1, c2 and the evaluations that their
# tables I to VI give for each of the first steps
TABLES = {
    "I": (function_1, 1e-3, 1e-1, (6, 3, 1, 4)),
    "II": (function_2, 1e-1, 1e-1, (12, 8, 8, 11)),
    "III": (function_3, 1e-1, 1e-1, (12, 12, 10, 13)),
    "IV": (make_function_4(1e-3, 1e-3), 1e-3, 1e-3, (4, 1, 3, 4)),
    "V": (make_function_4(1e-2, 1e-3), 1e-3, 1e-3, (6, 3, 7, 8)),
    "VI": (make_function_4(1e-3, 1e-2), 1e-3, 1e-3, (13, 11, 8, 11)),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("column", range(4))
def test_the_functions_of_the_paper_take_the_evaluations_of_its_tables(walk, table, column):
    function, c1, c2, evaluations = TABLES[table]

    phase, step, trials = walk(function, STEPS[column], c1=c1, c2=c2, xtol=1e-15)

    (f0, slope0), (f, slope) = function(0.0), function(step)
    assert phase == ACCEPTED
    assert f <= f0 + c1 * step * slope0
    assert abs(slope) <= c2 * abs(slope0)
    assert step == trials[-1]
    assert len(trials) == evaluations[column]


@pytest.mark.parametrize("seed", range(8))
def test_the_step_satisfies_the_conditions_wherever_scipy_finds_one(walk, seed):
    a, b, c = np.random.default_rng(seed).uniform((1, 1, 0.1), (3, 2, 1))

    def function(t):
        return (
            math.cosh(a * (t - b)) + c * math.sin(t),
            a * math.sinh(a * (t - b)) + c * math.cos(t),
        )

    f0, slope0 = function(0.0)
    expected, *_ = scipy.optimize.line_search(
        lambda t: function(t[0])[0],
        lambda t: np.array([function(t[0])[1]]),
        np.zeros(1),
        np.ones(1),
        c1=1e-4,
        c2=0.1,
    )
    phase, step, _ = walk(function, 1.0, c2=0.1)

    assert slope0 < 0
    assert expected is not None
    assert phase == ACCEPTED
    f, slope = function(step)
    assert f <= f0 + 1e-4 * step * slope0
    assert abs(slope) <= 0.1 * abs(slope0)


def test_a_good_first_step_takes_one_evaluation(walk):
    phase, step, trials = walk(lambda t: ((t - 1.1) ** 2, 2 * (t - 1.1)), 1.0)

    assert (phase, step, trials) == (ACCEPTED, 1.0, [1.0])


@pytest.mark.parametrize("worst", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_left_behind_and_never_accepted(walk, worst):
    def function(t):
        return (math.log1p(-t / 3) * -1 - t, 1 / (3 - t) - 1) if t < 3 else (worst, worst)

    phase, step, trials = walk(function, 100.0, c2=0.1)

    assert phase == ACCEPTED
    assert 0 < step < 3
    assert len(trials) < 10
    assert abs(function(step)[1]) <= 0.1 * abs(function(0.0)[1])


def test_a_slope_alone_that_is_not_finite_is_left_behind(walk):
    def function(t):
        return (t - 1) ** 2, 2 * (t - 1) if t < 2 else math.nan

    phase, step, _ = walk(function, 2.0)

    assert phase == ACCEPTED
    assert step < 2


def test_a_search_without_any_finite_loss_fails(walk):
    phase, _, trials = walk(lambda t: (math.nan if t else 1.0, -1.0), 1.0, maxls=7)

    assert phase == FAILED
    assert len(trials) == 7


def test_a_slope_of_the_wrong_sign_fails_and_is_not_blamed_on_rounding(walk):
    phase, _, trials = walk(lambda t: (1 + t * t + t, -1 - 2 * t), 1.0, maxls=9)

    assert phase == FAILED
    assert len(trials) == 9


@pytest.mark.parametrize("maxls", [1, 2, 3, 6])
def test_the_last_evaluation_goes_to_the_best_step(walk, maxls):
    # descends for ever, so that no slope is flat enough
    phase, step, trials = walk(lambda t: (-t, -1.0), 1.0, maxls=maxls)

    assert phase == ACCEPTED
    assert len(trials) <= maxls
    assert step == max(trials)


@pytest.mark.parametrize("epsilon", [2.2e-16, 1.2e-7])
def test_slopes_lead_to_the_minimum_that_rounding_hides(walk, epsilon):
    size = 0.1 * epsilon  # the loss is 1 at every step

    phase, step, trials = walk(lambda t: (1.0, size * (t - 1)), 3.0, epsilon=epsilon, c2=0.1)

    assert phase == ACCEPTED
    assert step == pytest.approx(1.0, abs=0.1)
    assert len(trials) <= 3


@pytest.mark.parametrize("epsilon", [2.2e-16, 1.2e-7])
def test_a_search_ends_early_where_rounding_hides_all_that_there_is_to_gain(walk, epsilon):
    # the loss is up by a rounding everywhere, and the slopes are no more than that either
    def function(t):
        return (1.0 + 2 * epsilon, 0.3 * epsilon) if t else (1.0, -0.1 * epsilon)

    phase, _, trials = walk(function, 1.0, epsilon=epsilon)

    assert phase == STALLED
    assert len(trials) <= 5


def test_losses_that_scatter_more_than_they_are_rounded_end_the_search_as_well(walk):
    scatter = iter(1e-12 * np.random.default_rng(0).uniform(1, 2, size=20))

    phase, _, trials = walk(lambda t: (1.0 + (next(scatter) if t else 0), -1e-13), 1.0)

    assert phase == STALLED
    assert len(trials) <= 8


def test_a_step_that_moves_nothing_is_not_accepted(walk):
    # the loss rises for whatever step is not lost in rounding
    phase, _, _ = walk(lambda t: (1e-6 + 1e-12 * (t > 1e-15), -1e-13), 1.0)

    assert phase in {FAILED, STALLED}


def test_weak_conditions_accept_beyond_a_kink(walk):
    def function(t):
        return (2 - t, -1.0) if t < 1 else (t, 1.0)

    phase, step, trials = walk(function, 1.5, weak=True, c2=0.1)

    assert (phase, step, trials) == (ACCEPTED, 1.5, [1.5])


def test_strong_conditions_end_at_a_kink_with_a_sufficient_decrease(walk):
    def function(t):
        return (2 - t, -1.0) if t < 1 else (t, 1.0)

    phase, step, _ = walk(function, 1.5, c2=0.1)

    assert phase == ACCEPTED
    assert function(step)[0] <= 2 - 1e-4 * step


def test_an_idle_state_has_the_shapes_and_types_of_one_that_searches():
    one = ops.convert_to_tensor(np.float64(1.0))

    state = LineSearch().start(one, -one, one)
    judged = LineSearch().judge(state, one, one, 2.2e-16)

    for name, value in idle().items():
        for tensor in (state[name], judged[name]):
            assert keras.backend.standardize_dtype(tensor.dtype) == value.dtype.name
            assert tuple(tensor.shape) == value.shape
