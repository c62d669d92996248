"""Keras's own callbacks, for real: what they are told, when, and what they leave behind."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training.problems import (
    GRADIENT_FREE,
    METHODS,
    Watch,
    data,
    flat_weights,
    line,
    line_anew,
    line_gradient,
    line_loss,
    plain_line,
)

import kormos

X, Y = data()
X_VAL, Y_VAL = data(seed=1)


def fit(model, *callbacks, **options):
    return model.fit(X, Y, **({"verbose": 0, "callbacks": list(callbacks)} | options))


class Recorder(keras.callbacks.Callback):
    """Write down the name of every call."""

    def __init__(self):
        super().__init__()
        self.calls = []


def _record(name):
    def method(self, *arguments, **named):
        place = [argument for argument in arguments if isinstance(argument, int)]
        self.calls.append((name, *place))

    return method


HOOKS = [
    f"on_{what}_{edge}"
    for what in ("train", "epoch", "train_batch", "test", "test_batch")
    for edge in ("begin", "end")
]
for hook in HOOKS:
    setattr(Recorder, hook, _record(hook))


def test_callbacks_are_told_in_keras_order():
    recorder = Recorder()

    fit(line_anew(), recorder, epochs=2, validation_data=(X_VAL, Y_VAL))

    iteration = [
        [
            ("on_epoch_begin", epoch),
            ("on_train_batch_begin", 0),
            ("on_train_batch_end", 0),
            ("on_test_begin",),
            ("on_test_batch_begin", 0),
            ("on_test_batch_end", 0),
            ("on_test_end",),
            ("on_epoch_end", epoch),
        ]
        for epoch in (0, 1)
    ]
    assert recorder.calls == [
        ("on_train_begin",),
        *iteration[0],
        *iteration[1],
        ("on_train_end",),
    ]


def test_keras_itself_tells_callbacks_in_the_same_order():
    ours, theirs = Recorder(), Recorder()
    fit(line_anew(), ours, epochs=3, validation_data=(X_VAL, Y_VAL))

    fit(plain_line(), theirs, epochs=3, validation_data=(X_VAL, Y_VAL), batch_size=len(X))

    assert ours.calls == theirs.calls


@pytest.mark.parametrize("method", METHODS)
def test_every_iteration_begins_once_and_ends_once_in_order(method):
    watch = Watch()

    history = fit(line_anew(method), watch, epochs=5)

    num = history.result.num_iterations
    expected = [(edge, epoch) for epoch in range(num) for edge in ("begin", "end")]
    # a solver may begin an iteration and find that there is nothing left to gain
    assert watch.events[: 2 * num] == expected
    assert watch.events[2 * num :] in ([], [("begin", num)])
    assert history.epoch == list(range(num))


@pytest.mark.parametrize("method", METHODS)
def test_history_has_one_true_row_for_each_iteration(method):
    watch = Watch()

    columns = fit(line_anew(method), watch, epochs=4).history

    for row, weights in enumerate(watch.weights):
        # float64 sums of 20 terms in another order
        assert columns["loss"][row] == pytest.approx(line_loss(X, Y, weights), rel=1e-12)
    assert {len(column) for column in columns.values()} == {len(watch.weights)}
    assert (np.diff(columns["fg_evals"]) >= 0).all()
    assert (np.diff(columns["hessp_evals"]) >= 0).all()


@pytest.mark.parametrize("method", [name for name in METHODS if name not in GRADIENT_FREE])
def test_the_gradient_column_is_the_norm_of_the_gradient(method):
    watch = Watch()

    columns = fit(line_anew(method), watch, epochs=3).history

    norms = [np.linalg.norm(line_gradient(X, Y, weights)) for weights in watch.weights]
    # a gradient that cancels to 1e-15 keeps no relative digits
    np.testing.assert_allclose(columns["grad"], norms, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", GRADIENT_FREE)
def test_methods_without_gradients_measure_one_at_the_end_only(method):
    model = line_anew(method)

    history = fit(model, epochs=3)

    assert np.isnan(history.history["grad"]).all()
    measured = np.linalg.norm(line_gradient(X, Y, flat_weights(model)))
    assert history.result.grad_norm == pytest.approx(measured, rel=1e-10)


def test_result_counts_what_the_history_counts():
    history = fit(line_anew("newton-cg"))

    assert history.result.fg_evals >= history.history["fg_evals"][-1] > 0
    assert history.result.hessp_evals >= history.history["hessp_evals"][-1] > 0
    assert history.result.wall_time_s > 0
    assert history.result.solver == "scipy:newton-cg"


def test_epochs_count_on_from_initial_epoch():
    watch = Watch()

    history = fit(line("cg"), watch, initial_epoch=3, epochs=5)

    assert history.epoch == [3, 4]
    assert watch.events == [("begin", 3), ("end", 3), ("begin", 4), ("end", 4)]


def test_lambda_callbacks_see_the_logs_of_each_iteration():
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"], logs["val_mae"]))
    )

    columns = fit(
        line_anew("l-bfgs-b", "mae"), callback, validation_data=(X_VAL, Y_VAL), epochs=3
    ).history

    assert seen == list(zip(range(3), columns["loss"], columns["val_mae"], strict=True))


def test_what_a_callback_adds_to_the_logs_is_in_the_history():
    class Lap(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["lap"] = 10 * epoch

    columns = fit(line_anew(), Lap(), epochs=3).history

    assert columns["lap"] == [0, 10, 20]


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_model_checkpoint_keeps_the_best_iterate(tmp_path, suffix):
    path = tmp_path / f"best{suffix}"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor="val_loss", save_best_only=True, save_weights_only=suffix != ".keras"
    )
    watch = Watch()

    columns = fit(line_anew(), checkpoint, watch, validation_data=(X_VAL, Y_VAL)).history

    if suffix == ".keras":
        restored = keras.models.load_model(path)
    else:
        restored = line()
        restored.load_weights(path)
    best = int(np.argmin(columns["val_loss"]))
    np.testing.assert_array_equal(flat_weights(restored), watch.weights[best])


def test_model_checkpoint_saves_every_iterate_by_its_number(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}-{loss:.3f}.keras")

    columns = fit(line_anew(), checkpoint, epochs=3).history

    names = [f"{row:02d}-{loss:.3f}.keras" for row, loss in enumerate(columns["loss"], start=1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_loaded_checkpoint_trains_on(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "last.keras")
    columns = fit(line_anew("bfgs"), checkpoint, epochs=2).history

    model = keras.models.load_model(tmp_path / "last.keras")
    history = fit(model)

    assert history.result.solver == "scipy:bfgs"
    assert history.history["loss"][0] < columns["loss"][-1]


def test_csv_logger_writes_the_history(tmp_path):
    path = tmp_path / "log.csv"

    columns = fit(
        line_anew("trust-ncg", "mae"),
        keras.callbacks.CSVLogger(path),
        validation_data=(X_VAL, Y_VAL),
        epochs=3,
    ).history

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for name, column in columns.items():
        assert [float(row[name]) for row in rows] == pytest.approx(column, rel=1e-6)


def test_backup_and_restore_leaves_nothing_behind(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")

    history = fit(line_anew(), backup, epochs=3)

    assert history.result.num_iterations == 3
    assert not (tmp_path / "backup").exists()


def test_terminate_on_nan_lets_a_good_fit_pass():
    history = fit(line_anew(), keras.callbacks.TerminateOnNaN())

    assert history.result.converged


def test_early_stopping_on_validation_stops_when_it_rises():
    values = iter([5.0, 4.0, 4.5, 4.6, 1.0])

    class Held(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = next(values)

    stopper = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2)

    history = fit(line_anew("cg"), Held(), stopper, validation_data=(X_VAL, Y_VAL))

    assert history.history["val_loss"] == [5.0, 4.0, 4.5, 4.6]
    assert history.result.status is kormos.Status.STOPPED_BY_CALLBACK


def test_callbacks_see_the_model_at_each_accepted_iterate():
    seen = []

    class Evaluates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((logs["loss"], self.model.evaluate(X, Y, verbose=0)))

    fit(line_anew(), Evaluates(), epochs=4)

    # Keras evaluates on float32 copies of the data
    assert [one for one, _ in seen] == pytest.approx([other for _, other in seen], rel=1e-6)


def test_a_single_callback_needs_no_list():
    watch = Watch()

    line_anew().fit(X, Y, verbose=0, epochs=2, callbacks=watch)

    assert len(watch.logs) == 2


@pytest.mark.parametrize("add_history", [True, False])
def test_a_callback_list_is_taken_as_it_is(add_history):
    watch = Watch()
    model = line_anew()
    told = keras.callbacks.CallbackList([watch], add_history=add_history, model=model, epochs=2)

    history = model.fit(X, Y, verbose=0, epochs=2, callbacks=told)

    assert len(watch.logs) == len(history.history["loss"]) == 2


def test_callbacks_are_told_the_parameters_of_the_fit():
    watch = Watch()

    fit(line_anew(), watch, epochs=4)

    assert watch.params["epochs"] == 4
    assert watch.params["steps"] == 1


def test_history_is_kept_on_the_model():
    model = line_anew()

    history = fit(model, epochs=2)

    assert model.history is history


def test_tensorboard_counts_the_products_of_a_newton_method(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path)

    columns = fit(line_anew("trust-ncg"), board, epochs=3).history

    events = EventAccumulator(str(tmp_path / "train"), size_guidance={"tensors": 0}).Reload()
    for name in ("loss", "grad", "fg_evals", "hessp_evals"):
        written = events.Tensors(f"epoch_{name}")
        assert [event.step for event in written] == [0, 1, 2]
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in written]
        assert values == pytest.approx(columns[name], rel=1e-6)  # some versions keep float32
    assert columns["hessp_evals"][0] > 0
