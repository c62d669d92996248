from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

SCRIPT = "temperature_calibration.py"


def drawn(script, count, seed):
    """Logits three times as large as those that the labels are drawn by."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 10))
    y = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    return script.Digits(3.0 * logits, y)


def error_by_its_definition(logits, y, bins):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sure, right = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for number in range(bins):
        inside = (sure > number / bins) & (sure <= (number + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return total


def test_the_calibration_error_is_that_of_its_definition(script):
    logits, y = drawn(script, 700, 0)

    told = script.judge(logits, y)

    expected = error_by_its_definition(logits, y, script.BINS)
    assert told.calibration_error == pytest.approx(expected, rel=1e-12)
    assert told.bin_share.sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:newton-cg"])
@pytest.mark.usefixtures("float64")
def test_the_temperature_is_the_one_that_a_scalar_minimizer_finds(script, solver):
    held, test = drawn(script, 2000, 1), drawn(script, 4000, 2)

    row = script.calibrate(solver, held, test, 50)

    found = minimize_scalar(
        lambda inverse: script.judge(held.x * inverse, held.y).loss,
        bracket=(0.1, 1.0),
        tol=1e-12,
    )
    # the scalar minimizer sees values alone: half of the digits
    assert row.temperature == pytest.approx(1.0 / found.x, rel=1e-5)
    assert row.loss <= found.fun * (1.0 + 1e-10)


@pytest.mark.usefixtures("float64")
def test_logits_that_are_too_large_by_a_factor_are_calibrated_by_it(script):
    held, test = drawn(script, 2000, 1), drawn(script, 4000, 2)
    before = script.judge(*test)

    row = script.calibrate("native:newton-cg", held, test, 50)

    assert row.temperature == pytest.approx(3.0, rel=0.1)  # 2000 labels tell 3 to some per cent
    assert row.test.accuracy == before.accuracy
    assert row.test.loss < before.loss
    assert row.test.calibration_error < 0.2 * before.calibration_error


@pytest.mark.usefixtures("float64")
def test_a_batch_solver_fits_the_classifier_closer_than_adam(script):
    train, _, _ = script.load(100)
    losses = {}
    for optimizer in ("adam", "native:lbfgs"):
        keras.utils.set_random_seed(1)
        told = script.fit(script.build_classifier(0.0), optimizer, train, 30)
        losses[optimizer] = told["loss"]

    assert losses["native:lbfgs"] < losses["adam"]


def test_the_script_tells_and_draws_what_came_of_it(run_script):
    ran = run_script("--epochs", "5", "--samples", "60")

    assert ran.picture.startswith(b"\x89PNG")
    assert ran.told.count("temperature by") == 9  # three classifiers, three calibrators
