"""Every way to end a solve early, for every method of SciPy."""

from __future__ import annotations

import signal
import threading

import keras
import numpy as np
import pytest
from training.problems import (
    METHODS,
    Watch,
    data,
    flat_weights,
    line,
    line_anew,
    line_loss,
    stop_training,
)

from kormos import Status
from kormos_core.errors import UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

X, Y = data()


def interrupt(_: Watch) -> None:
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def interrupt_twice(watch: Watch) -> None:
    """Press Ctrl-C, and again at once."""
    interrupt(watch)
    interrupt(watch)


def fail(_: Watch) -> None:
    message = "the callback's own"
    raise ZeroDivisionError(message)


def fit(model, *callbacks, epochs=50, **options):
    return model.fit(X, Y, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)


@pytest.fixture(autouse=True)
def signal_handler():
    """See that SIGINT is given back, whatever has happened."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("method", METHODS)
def test_stop_training_ends_the_solve_in_the_same_iteration(method):
    model, watch = line_anew(method), Watch(stop_training)

    history = fit(model, watch)

    assert history.result.status is Status.STOPPED_BY_CALLBACK
    assert history.result.num_iterations == len(history.history["loss"]) == 2
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)
    assert history.result.loss == pytest.approx(line_loss(X, Y, watch.best_weights), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_early_stopping_ends_the_solve(method):
    # no improvement is ever large enough: patience of 1 counts from the first iterate
    stopper = keras.callbacks.EarlyStopping(monitor="loss", min_delta=1e9, patience=1)
    model, watch = line_anew(method), Watch()

    history = fit(model, stopper, watch)

    assert history.result.status is Status.STOPPED_BY_CALLBACK
    assert len(history.history["loss"]) == stopper.stopped_epoch + 1 == 2
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_control_c_in_a_callback_ends_the_solve_in_the_same_iteration(method):
    model, watch = line_anew(method), Watch(interrupt)

    history = fit(model, watch)

    assert history.result.status is Status.INTERRUPTED
    assert history.result.num_iterations == len(history.history["loss"]) == 2
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_control_c_between_iterations_ends_the_solve_before_the_next(method):
    model, watch = line_anew(method), Watch(interrupt, at="begin")

    history = fit(model, watch)

    assert history.result.status is Status.INTERRUPTED
    assert len(history.history["loss"]) == 1
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_control_c_really_stops_at_the_best_point(method):
    model, watch = line_anew(method), Watch(interrupt_twice)

    with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
        fit(model, watch)

    assert len(watch.logs) == 2
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_a_callback_that_raises_is_passed_on_with_the_model_at_the_best_point(method):
    model, watch = line_anew(method), Watch(fail)

    with pytest.raises(ZeroDivisionError, match="the callback's own"):
        fit(model, watch)

    assert len(watch.logs) == 2
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_a_callback_that_raises_between_iterations_leaves_the_best_point(method):
    model, watch = line_anew(method), Watch(fail, at="begin")

    with pytest.raises(ZeroDivisionError, match="the callback's own"):
        fit(model, watch)

    assert len(watch.logs) == 1
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_the_iteration_limit_is_kept(method):
    model, watch = line_anew(method), Watch()

    history = fit(model, watch, epochs=2)

    assert history.result.num_iterations == len(history.history["loss"]) == 2
    assert history.result.status is Status.MAX_ITER or history.result.converged
    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_control_c_before_the_first_iterate_leaves_the_start(method):
    model, watch = line_anew(method), Watch(interrupt, epoch=0, at="begin")
    start = flat_weights(model)

    history = fit(model, watch)

    assert history.result.status is Status.INTERRUPTED
    assert history.result.num_iterations == 0
    np.testing.assert_array_equal(flat_weights(model), start)


@pytest.mark.parametrize("method", ["l-bfgs-b", "trust-ncg", "nelder-mead"])
def test_control_c_in_the_first_evaluation_leaves_the_start(method):
    pressed = []

    def loss(y_true, y_pred):
        if not pressed and not keras.backend.is_keras_tensor(y_pred):
            pressed.append(signal.raise_signal(signal.SIGINT))
        return keras.ops.mean(keras.ops.square(y_true - y_pred))

    model = line(method, loss="mse", run_eagerly=True)
    fit(model, epochs=1)  # creates all variables
    start = flat_weights(model)
    model.compile(method, loss=loss, run_eagerly=True)
    watch = Watch(lambda _: pressed.clear(), epoch=0, at="begin")
    pressed.append(None)  # until the solve has begun

    history = fit(model, watch)

    assert history.result.status is Status.INTERRUPTED
    assert len(watch.logs) == 0
    np.testing.assert_array_equal(flat_weights(model), start)


def test_early_stopping_keeps_the_weights_that_it_restores():
    values = iter([3.0, 1.0, 2.0, 2.0])

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = next(values)

    watch = Watch()
    stopper = keras.callbacks.EarlyStopping(
        monitor="score", mode="min", patience=2, restore_best_weights=True
    )
    model = line_anew("cg")

    history = fit(model, Score(), watch, stopper)

    assert history.result.status is Status.STOPPED_BY_CALLBACK
    assert len(history.history["loss"]) == 4
    np.testing.assert_array_equal(flat_weights(model), watch.weights[1])


def test_a_callback_that_restores_weights_as_it_stops_has_the_last_word():
    chosen = np.array([7.0, 8.0, 9.0])

    def restore(watch):
        watch.model.set_weights([chosen[:2, None], chosen[2:]])
        watch.model.stop_training = True

    model = line_anew()

    history = fit(model, Watch(restore))

    assert history.result.status is Status.STOPPED_BY_CALLBACK
    np.testing.assert_array_equal(flat_weights(model), chosen)


@pytest.mark.parametrize("method", ["bfgs", "tnc", "trust-exact", "cobyla"])
def test_a_callback_that_changes_weights_and_goes_on_is_refused(method):
    def disturb(watch):
        watch.model.set_weights([np.zeros((2, 1)), np.zeros(1)])

    model, watch = line_anew(method), Watch(disturb)

    with pytest.raises(UnsupportedError, match="changed the weights after iteration 2"):
        fit(model, watch)

    np.testing.assert_array_equal(flat_weights(model), watch.best_weights)


@pytest.mark.parametrize("method", METHODS)
def test_the_history_of_a_stopped_fit_is_intact(method):
    model, watch = line_anew(method, "mae"), Watch(stop_training, epoch=0)

    history = fit(model, watch, validation_data=(X, Y)).history

    assert {len(column) for column in history.values()} == {1}
    assert history["val_loss"][0] == pytest.approx(history["loss"][0], rel=1e-6)  # float32 data


def test_a_fit_after_a_stop_is_not_stopped():
    model = line_anew()
    fit(model, Watch(stop_training))

    history = fit(model)

    assert history.result.status is not Status.STOPPED_BY_CALLBACK
    assert not model.stop_training


def test_a_fit_after_an_interrupt_goes_on_from_its_best_point():
    model = line_anew("bfgs")
    watch = Watch(interrupt)
    fit(model, watch)

    history = fit(model)

    assert history.history["loss"][0] < watch.logs[-1]["loss"]
    assert history.result.converged


@pytest.mark.parametrize("act", [interrupt, stop_training], ids=["control-c", "stop"])
def test_a_request_while_validating_is_obeyed(act):
    class InTest(keras.callbacks.Callback):
        def on_test_end(self, logs=None):
            act(self)

    model = line_anew()

    history = fit(model, InTest(), validation_data=(X, Y))

    assert len(history.history["val_loss"]) == 1
    assert history.result.status in {Status.INTERRUPTED, Status.STOPPED_BY_CALLBACK}


def test_fit_works_in_another_thread():
    model, results = line_anew(), []

    def work():
        results.append(fit(model, Watch()).result)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert results[0].converged


def test_a_stop_is_obeyed_in_another_thread():
    model, results = line_anew(), []
    thread = threading.Thread(target=lambda: results.append(fit(model, Watch(stop_training))))
    thread.start()
    thread.join()

    assert results[0].result.status is Status.STOPPED_BY_CALLBACK


def test_a_handler_of_the_user_gets_the_next_control_c():
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(True))
    try:
        fit(line_anew(), Watch(interrupt))
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert caught == [True]
