"""Keras's own callbacks under solvers of every kind: what each leaves behind is read back."""

from __future__ import annotations

import csv
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras
import numpy as np
import pytest
from integrations.cases import (
    EPOCHS,
    HELD_OUT,
    HOST,
    Weights,
    X,
    Y,
    every_case,
    fit,
    network,
)
from training.problems import flat_weights

from kormos import Status


class Score(keras.callbacks.Callback):
    """Add a score to the logs, one after the other."""

    def __init__(self, *scores):
        super().__init__()
        self.scores = iter(scores)

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = next(self.scores)


# --- CSVLogger ---------------------------------------------------------------------------


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@every_case
def test_csv_logger_writes_a_row_for_each_iteration_that_is_served(case, tmp_path):
    path = tmp_path / "log.csv"

    history = fit(case, keras.callbacks.CSVLogger(path), validation_data=HELD_OUT).history

    rows = rows_of(path)
    assert [int(row["epoch"]) for row in rows] == case.served
    for name in ("loss", "grad", "fg_evals", "hessp_evals", "mae"):
        assert [float(row[name]) for row in rows] == [history[name][k] for k in case.served]
    for name in ("val_loss", "val_mae"):
        assert [float(row[name]) for row in rows] == history[name]


@every_case
def test_csv_logger_appends_a_second_fit(case, tmp_path):
    path = tmp_path / "log.csv"

    for _ in range(2):
        fit(case, keras.callbacks.CSVLogger(path, separator=";", append=True))

    lines = path.read_text().splitlines()
    assert lines[0].split(";")[0] == "epoch"
    assert [int(line.split(";")[0]) for line in lines[1:]] == case.served * 2


# --- RemoteMonitor -----------------------------------------------------------------------


@contextmanager
def server(status=200):
    """Serve on this machine only, and keep what is posted."""
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            posted.append((self.path, json.loads(self.rfile.read(length))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", posted
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@every_case
def test_remote_monitor_posts_every_iteration_that_is_served(case, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with server() as (root, posted):
        monitor = keras.callbacks.RemoteMonitor(root, send_as_json=True)
        history = fit(case, monitor, validation_data=HELD_OUT).history

    assert {path for path, _ in posted} == {"/publish/epoch/end/"}
    assert [event["epoch"] for _, event in posted] == case.served
    for name in ("loss", "grad", "fg_evals", "hessp_evals", "mae"):
        assert [event[name] for _, event in posted] == [history[name][k] for k in case.served]
    assert [event["val_loss"] for _, event in posted] == history["val_loss"]


def test_a_remote_monitor_without_a_server_does_not_end_the_fit(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with server() as (root, _):
        pass  # its port is free again

    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server"):
        history = fit(HOST, keras.callbacks.RemoteMonitor(root), epochs=2)

    assert len(history.history["loss"]) == 2


# --- stops -------------------------------------------------------------------------------


@every_case
def test_terminate_on_nan_has_nothing_to_do_where_a_solver_meets_nan(case, capsys):
    model, spoiled = network(case), X.copy()
    spoiled[3, 1] = np.nan
    start, weights = flat_weights(model), Weights()
    callbacks = [keras.callbacks.TerminateOnNaN(), weights]

    with pytest.warns(RuntimeWarning, match="the input has 1 NaN"):
        history = model.fit(spoiled, Y, verbose=0, epochs=3, callbacks=callbacks)

    assert history.result.status is Status.NONFINITE
    assert "Invalid loss" not in capsys.readouterr().out
    assert weights.at == {}
    np.testing.assert_array_equal(flat_weights(model), start)


@every_case
def test_terminate_on_nan_lets_a_good_fit_pass(case):
    history = fit(case, keras.callbacks.TerminateOnNaN())

    assert len(history.history["loss"]) == EPOCHS


@every_case
def test_early_stopping_restores_the_best_weights_that_it_saw(case):
    weights = Weights()
    stopper = keras.callbacks.EarlyStopping(
        monitor="score", mode="min", patience=1, restore_best_weights=True
    )

    history = fit(case, Score(1.0, 2.0, 0.0), weights, stopper)

    first, second = case.served[:2]
    assert history.result.status is Status.STOPPED_BY_CALLBACK
    assert list(weights.at) == [first, second]
    assert len(history.history["loss"]) == second + 1
    np.testing.assert_array_equal(flat_weights(weights.model), weights.at[first])


# --- files -------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_model_checkpoint_keeps_the_best_model(case, suffix, tmp_path):
    path, weights = tmp_path / f"best{suffix}", Weights()
    checkpoint = keras.callbacks.ModelCheckpoint(
        path,
        monitor="score",
        mode="max",
        save_best_only=True,
        save_weights_only=suffix != ".keras",
    )
    scores = [0.0] * len(case.served)
    scores[1] = 1.0

    fit(case, Score(*scores), weights, checkpoint)

    if suffix == ".keras":
        restored = keras.models.load_model(path)
        assert restored.optimizer.request.solver == case.solver
    else:
        restored = network(case)
        restored.load_weights(path)
    np.testing.assert_array_equal(flat_weights(restored), weights.at[case.served[1]])


@every_case
def test_model_checkpoint_names_files_by_iteration_and_loss(case, tmp_path):
    name = "{epoch:02d}-{loss:.4f}.weights.h5"

    columns = fit(
        case, keras.callbacks.ModelCheckpoint(tmp_path / name, save_weights_only=True)
    ).history

    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == [
        name.format(epoch=epoch + 1, loss=columns["loss"][epoch]) for epoch in case.served
    ]


def test_model_checkpoint_saves_every_few_iterations(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5", save_weights_only=True, save_freq=4
    )

    fit(HOST, checkpoint)

    # an iteration is a batch
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4.weights.h5", "8.weights.h5"]


@every_case
def test_backup_and_restore_takes_its_folder_away_at_the_end(case, tmp_path):
    folder, seen = tmp_path / "backup", []

    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(sorted(path.name for path in folder.iterdir()))

    history = fit(case, keras.callbacks.BackupAndRestore(folder), Looks())

    assert seen == [["latest.weights.h5", "training_metadata.json"]] * len(case.served)
    assert len(history.history["loss"]) == EPOCHS
    assert not folder.exists()


# --- what needs a moving average, and what shows progress --------------------------------


@every_case
@pytest.mark.parametrize(
    ("swap_on_epoch", "validation_data"), [(False, HELD_OUT), (True, None)], ids=["test", "epoch"]
)
def test_swapping_in_averages_of_weights_is_refused_as_there_are_none(
    case, swap_on_epoch, validation_data
):
    free, swap = Weights(), keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch)
    fit(case, free)

    with pytest.raises(ValueError, match=r"must be used when `use_ema=True`.*use_ema=False"):
        fit(case, swap, validation_data=validation_data)

    np.testing.assert_array_equal(flat_weights(free.model), free.at[case.served[0]])


@every_case
def test_a_progress_bar_of_keras_shows_the_served_iterations(case, capsys):
    columns = fit(case, keras.callbacks.ProgbarLogger(), verbose=2).history

    shown = capsys.readouterr().out
    theirs = [line for line in shown.splitlines() if line.startswith("Epoch ")]
    ours = [line for line in shown.splitlines() if line.startswith("Iteration ")]
    assert theirs == [f"Epoch {first + 1}/{EPOCHS}" for first in case.begun]
    assert len(ours) == EPOCHS
    for epoch in case.served:
        assert f"loss: {columns['loss'][epoch]:.4f}" in shown


@every_case
def test_a_progress_bar_of_keras_is_as_silent_as_the_fit(case, capsys):
    fit(case, keras.callbacks.ProgbarLogger(), verbose=0)

    assert capsys.readouterr().out == ""
