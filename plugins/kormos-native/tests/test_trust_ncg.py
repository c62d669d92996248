"""Truncated Newton in a trust region."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from native_graphs import run
from native_losses import make_quadratic, rosenbrock

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.loop import status_of
from kormos_native.trust_ncg import TrustNCG

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ops = keras.ops

NEWTON, AGAIN = 1, 2


@pytest.fixture(scope="module")
def valley():
    """The states along Rosenbrock's valley, from a region that is far too large."""
    return run(TrustNCG(initial_trust_radius=100.0), rosenbrock, [-1.2, 1.0])


def trials(states):
    """Pair the state before each trial after the first with the one after it."""
    return list(itertools.pairwise(states[1:]))


def end_of(state):
    return status_of(state["status"])


def test_no_step_is_longer_than_the_radius(valley):
    for before, after in trials(valley):
        step = np.linalg.norm(after["x"] - before["x"])

        assert step <= before["radius"] * (1 + 1e-9)


def test_radii_double_after_good_steps_to_the_edge_up_to_the_largest():
    method = TrustNCG(initial_trust_radius=0.01, max_trust_radius=0.5)

    states = run(method, make_quadratic(2, n=4), np.full(4, 5.0))

    radii = [state["radius"] for state in states[1:]]
    np.testing.assert_allclose(radii[:8], np.minimum(0.01 * 2.0 ** np.arange(8), 0.5))
    assert max(radii) == 0.5


def test_rejected_trials_are_no_iterations_and_cost_no_products(valley):
    rejected = 0
    for before, after in trials(valley):
        stays = after["iteration"] == before["iteration"]
        rejected += stays
        assert after["stage"] == (AGAIN if stays else NEWTON)
        assert (after["num_hvp"] > before["num_hvp"]) == (before["stage"] == NEWTON)

    assert rejected > 0
    assert end_of(valley[-1]) is Status.GRAD_TOL


def test_a_rejected_trial_shortens_the_region_to_a_quarter_of_it(valley):
    for before, after in trials(valley):
        if after["stage"] == AGAIN:
            length = min(np.linalg.norm(after["s"]), before["radius"])

            assert after["radius"] == pytest.approx(0.25 * length)


def test_rosenbrock_s_valley_takes_half_the_products_of_scipy_s():
    last = run(TrustNCG(), rosenbrock, [-1.2, 1.0])[-1]

    # SciPy's trust-ncg: 30 evaluations, 81 products
    assert last["f"] < 1e-9
    assert last["num_fg"] < 33
    assert last["num_hvp"] < 45


def test_a_step_to_the_edge_says_nothing_of_convergence():
    method = TrustNCG(initial_trust_radius=1e-9, ftol=1e-6)

    last = run(method, make_quadratic(2, n=4), np.full(4, 5.0))[-1]

    # the first steps gain less than the tolerance
    assert end_of(last) in {Status.F_TOL, Status.GRAD_TOL}
    assert last["f"] < 1e-4


def test_a_region_that_has_collapsed_ends_the_solve():
    # a cliff right behind the start, in the direction of descent
    def cliff(x):
        return ops.sum(x) + 1e3 * ops.sum(ops.cast(x < 1.0, "float64"))

    last = run(TrustNCG(), cliff, np.ones(2))[-1]

    assert end_of(last) is Status.STAGNATED
    assert last["num_fg"] < 40
    np.testing.assert_array_equal(last["x"], np.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_trust_radius": 0.0}, "initial_trust_radius=0.0 of TrustNCG is not usable"),
        ({"eta": 0.25}, r"eta=0.25 .* from 0 on and below 0.25"),
        (
            {"initial_trust_radius": 2.0, "max_trust_radius": 1.0},
            "initial_trust_radius=2.0, max_trust_radius=1.0 of TrustNCG contradict",
        ),
    ],
)
def test_an_option_that_is_not_usable_is_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        TrustNCG(**options)
