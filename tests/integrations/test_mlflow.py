"""MLflow: metrics of every iteration, parameters and the model, in a database of their own."""

from __future__ import annotations

import mlflow
import mlflow.keras
import numpy as np
import pytest
from integrations.cases import EPOCHS, HELD_OUT, OPTIONS, X, Y, few_cases, fit
from training.problems import line, plain_line

import kormos

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
        history = line("nelder-mead").fit(X, Y, epochs=2, verbose=0, callbacks=[callback])

    logged = columns_of(run)
    assert np.isnan(list(logged["grad"].values())).all()
    assert logged["loss"] == dict(enumerate(history.history["loss"]))


def test_the_callback_logs_every_third_iteration_where_it_is_told_to():
    with mlflow.start_run() as run:
        callback = mlflow.keras.MlflowCallback(log_every_epoch=False, log_every_n_steps=3)
        line().fit(X, Y, epochs=6, verbose=0, callbacks=[callback])

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


@pytest.mark.xfail(
    strict=True, reason="a batch solver's fit does not pass through keras.Model.fit"
)
@few_cases
def test_autolog_logs_the_fit_of_a_solver(case, autolog):
    with mlflow.start_run() as run:
        history = fit(case, validation_data=HELD_OUT).history

    logged = columns_of(run)
    assert logged["loss"] == {epoch: history["loss"][epoch] for epoch in case.served}
    assert params_of(run)["optimizer_solver"] == case.solver
    assert params_of(run)["epochs"] == str(EPOCHS)


@pytest.mark.xfail(
    strict=True, raises=KeyError, reason="kormos.fit does not pass through keras.Model.fit"
)
def test_autolog_logs_what_kormos_fits(autolog):
    with mlflow.start_run() as run:
        history = kormos.fit(plain_line(), X, Y, epochs=3, verbose=0, solver="scipy:l-bfgs-b")

    assert columns_of(run)["loss"] == dict(enumerate(history.history["loss"]))


def test_autolog_logs_the_fit_of_an_optimizer_of_keras(autolog):
    with mlflow.start_run() as run:
        history = line("adam").fit(X, Y, epochs=2, verbose=0)

    # Keras computes its losses in float32
    assert columns_of(run)["loss"] == pytest.approx(dict(enumerate(history.history["loss"])))
    assert params_of(run)["optimizer_name"] == "adam"
