"""Global optimizers on models and plain functions, as users call them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import kormos
from kormos_core import Status
from kormos_core.errors import RestartWarning

T = np.linspace(0.0, 4.0, 40)[:, None]
WAVE = (1.3, 7.1, 0.4)  # amplitude, frequency, phase
BOX = {"wave": ([0.0, 0.0, -3.0], [3.0, 12.0, 3.0])}


class Wave(keras.layers.Layer):
    """A sinusoid; all frequencies but one are far from the data's."""

    def build(self, input_shape):
        del input_shape
        self.wave = self.add_weight(shape=(3,), name="wave", initializer="ones")

    def call(self, t):
        return self.wave[0] * ops.sin(self.wave[1] * t + self.wave[2])


class StopAt(keras.callbacks.Callback):
    """Stop after an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch + 1 == self.epoch


@pytest.fixture
def curve():
    """Make a compiled model whose weights are ones."""

    def make(optimizer):
        unit = Wave(name="wave", dtype="float64")
        model = kormos.BatchOptimizedSequentialModel([keras.Input((1,), dtype="float64"), unit])
        model.compile(optimizer=optimizer, loss="mse")
        return model

    return make


def fit(model, **arguments):
    return model.fit(T, WAVE[0] * np.sin(WAVE[1] * T + WAVE[2]), verbose=0, **arguments)


def waves(x):
    return ops.sum(x * x - 10.0 * ops.cos(2.0 * np.pi * x))


def test_a_local_method_misses_the_frequency_of_a_sinusoid(curve):
    model = curve(kormos.BatchOptimizer("scipy:l-bfgs-b", bounds=BOX))

    result = fit(model).result

    assert result.loss > 0.5


def test_annealing_finds_the_frequency_of_a_sinusoid(curve):
    model = curve(
        kormos.BatchOptimizer("scipy:dual-annealing", options={"num_steps": 40}, bounds=BOX)
    )

    history = fit(model)

    np.testing.assert_allclose(model.get_weights()[0], WAVE, atol=1e-3)
    assert history.result.status is Status.MAX_ITER
    assert len(history.history["loss"]) == history.result.num_iterations == 40
    assert (np.diff(history.history["loss"]) <= 0).all()


def test_epochs_are_annealing_steps_and_a_second_fit_adds_rows(curve):
    model = curve("scipy:dual-annealing")

    first = fit(model, epochs=3, bounds=BOX)
    with pytest.warns(RestartWarning, match="starts afresh"):
        second = fit(model, epochs=5, initial_epoch=3, bounds=BOX)

    assert first.epoch + second.epoch == [0, 1, 2, 3, 4]
    assert second.history["loss"][0] <= first.history["loss"][-1]


def test_a_callback_stops_a_search_and_the_best_weights_are_kept(curve):
    model = curve(kormos.BatchOptimizer("scipy:differential-evolution", options={"popsize": 4}))

    history = fit(model, bounds=BOX, callbacks=[StopAt(2)])

    assert history.result.status is Status.STOPPED_BY_CALLBACK
    assert len(history.history["loss"]) == 2
    assert model.evaluate(T, WAVE[0] * np.sin(WAVE[1] * T + WAVE[2]), verbose=0) == pytest.approx(
        min(history.history["loss"])
    )


def test_a_model_without_bounds_is_refused_with_what_to_do(curve):
    with pytest.raises(kormos.KormosError, match=r"no bounds are given.*none: scipy:basinhopping"):
        fit(curve("scipy:shgo"))


def test_weights_with_infinite_bounds_are_named(curve):
    with pytest.raises(kormos.KormosError, match=r"1 of 3 have none: \S*wave\[1\] in \[0, inf"):
        fit(curve("scipy:brute"), bounds={"wave": ([0, 0, 0], [1, None, 1])})


def test_a_plain_function_is_searched_within_its_bounds():
    result = kormos.minimize(
        waves,
        np.full(2, 2.2),
        solver="scipy:dual-annealing",
        options={"num_steps": 60},
        bounds=(-4.0, 3.3),
    )

    np.testing.assert_allclose(result.x, 0.0, atol=1e-5)
    assert result.loss == pytest.approx(-20.0)


def test_a_plain_function_with_half_a_box_is_refused():
    with pytest.raises(kormos.KormosError, match=r"2 of 2 have none: parameter 0 in \[0, inf\]"):
        kormos.minimize(waves, np.ones(2), solver="scipy:direct", bounds=(0, None))
