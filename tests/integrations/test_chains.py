"""A chain under trackers: Keras's optimizer and a solver are one training to them."""

from __future__ import annotations

import csv

import keras
import mlflow
import mlflow.keras
import numpy as np
import optuna
import pytest
import tensorflow as tf
from integrations.cases import HELD_OUT, X, Y
from optuna_integration import KerasPruningCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training.problems import line_anew

STAGES = [3, 4]
EVERYWHERE = ("loss", "mae", "val_loss", "val_mae")
SOLVER_ONLY = ("grad", "fg_evals", "hessp_evals")


def chain():
    return line_anew("adam>native:lbfgs", "mae")


def fit(model, *callbacks):
    given = {"epochs": STAGES, "verbose": 0, "validation_data": HELD_OUT}
    return model.fit(X, Y, callbacks=list(callbacks), **given).history


@pytest.fixture(scope="module")
def watched(tmp_path_factory, tracking):
    """Fit once under all trackers: the history, what each has kept, and a folder."""
    folder, trial = tmp_path_factory.mktemp("chain"), optuna.create_study().ask()
    with mlflow.start_run() as run:
        history = fit(
            chain(),
            keras.callbacks.TensorBoard(folder),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            mlflow.keras.MlflowCallback(),
            KerasPruningCallback(trial, "val_loss"),
        )
    mlflow.flush_async_logging()
    client = mlflow.MlflowClient()
    metrics = {
        name: {one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}
        for name in client.get_run(run.info.run_id).data.metrics
    }
    return history, metrics, trial, folder


def test_mlflow_keeps_every_column_of_both_stages(watched):
    history, metrics, _, _ = watched

    for name in (*EVERYWHERE, *SOLVER_ONLY):
        np.testing.assert_equal(metrics[name], dict(enumerate(history[name])))
    assert np.isnan(history["grad"][: STAGES[0]]).all()
    assert np.isfinite(history["grad"][STAGES[0] :]).all()


def test_autolog_sees_a_chain_as_one_training(tracking, caplog):
    mlflow.keras.autolog(log_models=False)
    try:
        with mlflow.start_run() as run:
            history = fit(chain())
    finally:
        mlflow.keras.autolog(disable=True)

    mlflow.flush_async_logging()
    params = mlflow.get_run(run.info.run_id).data.params
    logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert {one.step: one.value for one in logged} == dict(enumerate(history["loss"]))
    assert params["epochs"] == str(STAGES)
    assert "adam" in params["optimizer_stages"]
    assert not [record for record in caplog.records if record.name.startswith("mlflow")]


def test_tensorboard_keeps_every_column_of_both_stages(watched):
    history, _, _, folder = watched

    for part, names in (("train", ("loss", "mae", *SOLVER_ONLY)), ("validation", ("loss", "mae"))):
        events = EventAccumulator(str(folder / part), size_guidance={"tensors": 0}).Reload()
        for name in names:
            column = dict(enumerate(history[name if part == "train" else f"val_{name}"]))
            written = events.Tensors(f"epoch_{name}")
            # older versions of TensorBoard keep float32
            assert {
                one.step: float(tf.make_ndarray(one.tensor_proto)) for one in written
            } == pytest.approx(column, rel=1e-6, nan_ok=True)


def test_optuna_is_told_of_every_epoch_of_both_stages(watched):
    history, _, trial, _ = watched

    assert trial.study.trials[0].intermediate_values == dict(enumerate(history["val_loss"]))


def test_a_csv_file_has_every_column_of_both_stages(watched):
    history, _, _, folder = watched

    with (folder / "log.csv").open(newline="") as file:
        written = list(csv.DictReader(file))

    assert [int(row["epoch"]) for row in written] == list(range(sum(STAGES)))
    for name in (*EVERYWHERE, *SOLVER_ONLY):
        np.testing.assert_array_equal([float(row[name]) for row in written], history[name])


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_trial_is_pruned_in_either_stage(epoch):
    pruner = optuna.pruners.ThresholdPruner(upper=0.0, n_warmup_steps=epoch)
    trial = optuna.create_study(pruner=pruner).ask()

    with pytest.raises(optuna.TrialPruned, match=f"pruned at epoch {epoch}"):
        fit(chain(), KerasPruningCallback(trial, "loss"))

    assert list(trial.study.trials[0].intermediate_values) == list(range(epoch + 1))
