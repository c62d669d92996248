"""MLflow: metrics of every iteration, parameters and the model, in a database of their own."""

from __future__ import annotations

import keras
import mlflow
import mlflow.keras
import numpy as np
import pytest
from integrations.cases import EPOCHS, HELD_OUT, OPTIONS, X, Y, few_cases, fit
from training.problems import line, line_anew, plain_line

import kormos
from kormos_core.errors import UnsupportedError

pytestmark = pytest.mark.usefixtures("tracking")

SOLVER_COLUMNS = ("loss", "grad", "fg_evals", "hessp_evals", "mae")


@pytest.fixture
def autolog():
    """Let MLflow replace `keras.Model.fit` for one test."""
    mlflow.keras.autolog(log_models=False)
    yield
    mlflow.keras.autolog(disable=True)


def columns_of(run):
    """Return the metrics of a run, by name and step."""
    mlflow.flush_async_logging()
    client, number = mlflow.MlflowClient(), run.info.run_id
    return {
        name: {entry.step: entry.value for entry in client.get_metric_history(number, name)}
        for name in client.get_run(number).data.metrics
    }


def params_of(run):
    return mlflow.get_run(run.info.run_id).data.params


@few_cases
def test_the_callback_logs_every_iteration_that_is_served(case):
    with mlflow.start_run() as run:
        callback = mlflow.keras.MlflowCallback()
        history = fit(case, callback, validation_data=HELD_OUT).history

    logged = columns_of(run)
    for name in SOLVER_COLUMNS:
        assert logged[name] == {epoch: history[name][epoch] for epoch in case.served}
    for name in ("val_loss", "val_mae"):
        assert logged[name] == dict(zip(case.served, history[name], strict=True))


@few_cases
def test_the_callback_logs_the_solver_and_its_options(case):
    with mlflow.start_run() as run:
        fit(case, mlflow.keras.MlflowCallback(), epochs=1)

    params = params_of(run)
    assert params["optimizer_solver"] == case.solver
    assert params["optimizer_options"] == str(OPTIONS[case.solver])
    assert params["optimizer_hvp"] == "auto"


def test_gradients_that_were_not_measured_are_logged_as_such():
    with mlflow.start_run() as run:
        callback = mlflow.keras.MlflowCallback()
        history = line_anew("nelder-mead").fit(X, Y, epochs=2, verbose=0, callbacks=[callback])

    logged = columns_of(run)
    assert np.isnan(list(logged["grad"].values())).all()
    assert logged["loss"] == dict(enumerate(history.history["loss"]))


def test_the_callback_logs_every_third_iteration_where_it_is_told_to():
    with mlflow.start_run() as run:
        callback = mlflow.keras.MlflowCallback(log_every_epoch=False, log_every_n_steps=3)
        line_anew().fit(X, Y, epochs=6, verbose=0, callbacks=[callback])

    assert list(columns_of(run)["loss"]) == [3, 6]


@few_cases
def test_a_logged_model_is_loaded_with_its_solver_and_predicts_the_same(case):
    model = fit(case).model

    with mlflow.start_run():
        logged = mlflow.keras.log_model(
            model, name="model", pip_requirements=["kormos", "kormos-scipy", "kormos-native"]
        )

    loaded = mlflow.keras.load_model(logged.model_uri)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.optimizer.request == model.optimizer.request


# --- autolog replaces keras.Model.fit ------------------------------------------------------


@few_cases
def test_a_fit_is_the_same_where_autolog_is_on(case, autolog):
    mlflow.keras.autolog(disable=True)
    off = fit(case).history
    mlflow.keras.autolog(log_models=False)

    on = fit(case)

    np.testing.assert_equal(on.history, off)


@few_cases
def test_autolog_logs_the_fit_of_a_solver(case, autolog):
    with mlflow.start_run() as run:
        history = fit(case, validation_data=HELD_OUT).history

    logged = columns_of(run)
    assert logged["loss"] == {epoch: history["loss"][epoch] for epoch in case.served}
    assert params_of(run)["optimizer_solver"] == case.solver
    assert params_of(run)["epochs"] == str(EPOCHS)


def test_autolog_logs_what_kormos_fits(autolog):
    with mlflow.start_run() as run:
        history = kormos.fit(plain_line(), X, Y, epochs=3, verbose=0, solver="scipy:l-bfgs-b")

    assert columns_of(run)["loss"] == dict(enumerate(history.history["loss"]))


class Hooks(keras.callbacks.Callback):
    """Keep the names of the hooks that are called but for those of batches."""

    def __init__(self):
        super().__init__()
        self.called = []

    def on_train_begin(self, logs=None):
        self.called.append("train begins")

    def on_epoch_end(self, epoch, logs=None):
        self.called.append(epoch)

    def on_train_end(self, logs=None):
        self.called.append("train ends")


def test_callbacks_of_the_user_are_called_once_where_autolog_is_on(autolog):
    hooks = Hooks()

    with mlflow.start_run():
        line_anew().fit(X, Y, epochs=3, verbose=0, callbacks=[hooks])

    assert hooks.called == ["train begins", 0, 1, 2, "train ends"]


def test_autolog_goes_on_from_a_backup(autolog, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError("power is off")

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    with mlflow.start_run(), pytest.raises(InterruptedError, match="power is off"):
        line("native:lbfgs").fit(X, Y, epochs=6, verbose=0, callbacks=[backup, Stop()])

    again = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with mlflow.start_run() as run:
        line("native:lbfgs").fit(X, Y, epochs=6, verbose=0, callbacks=[again])

    assert list(columns_of(run)["loss"]) == [3, 4, 5]
    assert params_of(run)["initial_epoch"] == "0"


def test_an_error_in_a_fit_is_raised_as_it_is_where_autolog_is_on(autolog):
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)

    with mlflow.start_run(), pytest.raises(UnsupportedError, match="learning rate"):
        line_anew().fit(X, Y, epochs=3, verbose=0, callbacks=[rate])


def test_a_fit_to_data_that_can_be_read_once_is_told_to_pass_by_autolog(autolog):
    batches = iter([(X, Y)])

    with (
        mlflow.start_run() as run,
        pytest.warns(RuntimeWarning, match="does not see this fit: x can be read once"),
    ):
        history = line().fit(batches, steps_per_epoch=1, epochs=3, verbose=0)

    assert len(history.history["loss"]) == 3
    assert columns_of(run) == {}


def test_autolog_logs_the_fit_of_an_optimizer_of_keras(autolog):
    with mlflow.start_run() as run:
        model = line("adam")
        history = model.fit(X, Y, epochs=2, verbose=0)

    # Keras computes its losses in float32
    assert columns_of(run)["loss"] == pytest.approx(dict(enumerate(history.history["loss"])))
    assert params_of(run)["optimizer_name"] == model.optimizer.name
