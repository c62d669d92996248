from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.integrate import quad

import kormos

SCRIPT = "time_series_forecast.py"
COUNT = 300


@pytest.fixture(scope="module")
def streams(script):
    series = script.mackey_glass(script.FIRST + 2 * COUNT + script.LAG)
    return tuple(script.windows(series, script.FIRST + part * COUNT, COUNT) for part in (0, 1))


def second_delay(t):
    """Solve the equation for 17 <= t <= 34, where x(t - 17) is 1.2 exp(-0.1 (t - 17))."""

    def gain(s):
        delayed = 1.2 * np.exp(-0.1 * (s - 17.0))
        return np.exp(0.1 * s) * 0.2 * delayed / (1.0 + delayed**10)

    return np.exp(-0.1 * t) * (1.2 + quad(gain, 17.0, t, epsabs=1e-13)[0])


def test_the_series_solves_its_equation(script):
    series = script.mackey_glass(35)

    decay = 1.2 * np.exp(-0.1 * np.arange(18))  # nothing comes back before the first delay
    np.testing.assert_allclose(series[:18], decay, rtol=1e-9)  # the script's tolerance is 1e-10
    solved = [second_delay(t) for t in range(17, 35)]
    np.testing.assert_allclose(series[17:], solved, rtol=1e-9)


def test_a_window_holds_jangs_values_and_its_target_is_six_later(script):
    series = np.arange(1000.0)
    x, y = script.arrays(script.windows(series, 118, 500))

    assert x.shape == (500, 4)
    np.testing.assert_array_equal(x[0], [100.0, 106.0, 112.0, 118.0])
    np.testing.assert_array_equal(y, np.arange(124.0, 624.0))
    np.testing.assert_array_equal(x[-1], x[0] + 499.0)


def fit(script, streams, optimizer, stream, epochs):
    keras.utils.set_random_seed(1)
    parts = tuple(map(script.arrays, streams))
    model = script.build_model("dense", parts[0][0])
    return script.train("dense", model, optimizer, stream, parts, epochs)


@pytest.mark.usefixtures("float64")
def test_the_batch_solvers_end_lower_than_adam_and_the_baselines(script, streams):
    persistence, linear = script.baselines(tuple(map(script.arrays, streams)))
    adam, lbfgs, newton = (
        fit(script, streams, optimizer, streams[0], 60)
        for optimizer in script.optimizers().values()
    )

    assert linear.train_error < persistence.train_error
    assert lbfgs.train_error < min(adam.train_error, linear.train_error)
    assert newton.train_error < lbfgs.train_error
    assert newton.val_error < linear.val_error


@pytest.mark.usefixtures("float64")
def test_a_stream_is_fitted_as_its_arrays_are(script, streams):
    at_once = streams[0].unbatch().batch(COUNT)

    fitted, whole = (
        fit(script, streams, "native:lbfgs", stream, 10) for stream in (streams[0], at_once)
    )

    # sums in another order, through ten iterations
    np.testing.assert_allclose(fitted.losses[1], whole.losses[1], rtol=1e-7)


@pytest.mark.usefixtures("float64")
def test_what_is_shuffled_for_adam_is_refused_by_a_batch_solver(script, streams):
    shuffled = streams[0].shuffle(COUNT, seed=1)

    with pytest.raises(kormos.KormosError, match="changes from sweep to sweep"):
        fit(script, streams, "native:lbfgs", shuffled, 10)


def test_the_script_tells_and_draws_what_came_of_it(run_script):
    ran = run_script("--epochs", "5", "--iterations", "20", "--samples", "100")

    assert ran.picture.startswith(b"\x89PNG")
    assert all(name in ran.told for name in ("persistence", "linear", "adam", "native:trust-ncg"))
