"""TensorBoard's callback: its event files are read back and compared with the history."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from integrations.cases import EPOCHS, HELD_OUT, Case, Weights, X, Y, few_cases, fit
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training.problems import line, plain_line

import kormos

TRAIN = ("loss", "grad", "fg_evals", "hessp_evals", "mae")


def scalars(values):
    """Compare with scalars, which older versions of TensorBoard keep in float32."""
    return pytest.approx(dict(values), rel=1e-6)


def read(folder):
    """Return what an event file has, by tag and step."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {
        tag: {event.step: tf.make_ndarray(event.tensor_proto) for event in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


@few_cases
def test_scalars_of_each_iteration_are_those_of_the_history(case, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path)

    history = fit(case, board, validation_data=HELD_OUT).history

    train, held_out = read(tmp_path / "train"), read(tmp_path / "validation")
    for name in TRAIN:
        assert train[f"epoch_{name}"] == scalars((k, history[name][k]) for k in case.served)
    for name in ("loss", "mae"):
        column = history[f"val_{name}"]
        assert held_out[f"epoch_{name}"] == scalars(zip(case.served, column, strict=True))


@few_cases
def test_scalars_of_each_batch_and_histograms_are_written_too(case, tmp_path):
    weights = Weights()
    board = keras.callbacks.TensorBoard(
        tmp_path, update_freq="batch", histogram_freq=1, write_images=True
    )

    history = fit(case, board, weights).history

    train = read(tmp_path / "train")
    for name in TRAIN:
        values = [history[name][k] for k in case.served]
        assert train[f"batch_{name}"] == scalars(enumerate(values, start=1))
    histograms = [steps for tag, steps in train.items() if tag.endswith("/histogram")]
    assert all(list(steps) == case.served for steps in histograms)
    # rows are left edge, right edge, count; one weight, the last one, is alone in its layer
    (bias,) = (steps for steps in histograms if steps[EPOCHS - 1][:, 2].sum() == 1)
    for epoch in case.served:
        assert bias[epoch][0, 0] <= weights.at[epoch][-1] <= bias[epoch][-1, 1]


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:lbfgs"])
def test_a_plain_model_has_its_graph_beside_the_scalars(solver, tmp_path):
    model = plain_line()

    history = kormos.fit(
        model,
        X,
        Y,
        epochs=3,
        verbose=0,
        solver=solver,
        callbacks=[keras.callbacks.TensorBoard(tmp_path)],
    ).history

    train = read(tmp_path / "train")
    assert train["epoch_loss"] == scalars(enumerate(history["loss"]))
    assert train["keras"][0].item().decode() == model.to_json()


def test_two_fits_into_one_folder_follow_each_other(tmp_path):
    case, board = Case("native:lbfgs"), keras.callbacks.TensorBoard(tmp_path)

    first = fit(case, board, epochs=4).history
    more = {"initial_epoch": 4, "epochs": 7, "verbose": 0, "callbacks": [board]}
    second = board.model.fit(X, Y, **more).history

    both = [*first["loss"], *second["loss"]]
    assert read(tmp_path / "train")["epoch_loss"] == scalars(enumerate(both))


@pytest.mark.parametrize(("solver", "steps"), [("scipy:l-bfgs-b", 1), ("native:lbfgs", 3)])
def test_evaluations_are_written_against_the_iterations_done(solver, steps, tmp_path):
    model, board = line(solver, steps_per_execution=steps), keras.callbacks.TensorBoard(tmp_path)

    history = model.fit(
        X, Y, epochs=6, verbose=0, validation_data=HELD_OUT, callbacks=[board]
    ).history

    written = read(tmp_path / "validation")["evaluation_loss_vs_iterations"]
    assert written == scalars(zip(range(steps, 7, steps), history["val_loss"], strict=True))


def test_the_speed_in_iterations_is_written(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, write_steps_per_second=True)

    line().fit(X, Y, epochs=4, verbose=0, callbacks=[board])

    speeds = read(tmp_path / "train")["epoch_steps_per_second"]
    assert list(speeds) == list(range(4))
    assert all(np.isfinite(speed) and speed > 0 for speed in speeds.values())
