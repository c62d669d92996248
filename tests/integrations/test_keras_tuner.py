"""KerasTuner searches over solvers and their options."""

from __future__ import annotations

from typing import ClassVar

import keras
import keras_tuner
import pytest
from training.problems import data

import kormos

pytestmark = pytest.mark.usefixtures("little_to_collect")  # KerasTuner collects in every trial

X, Y = data()
HELD_OUT = data(seed=1)
SOLVERS = ["scipy:l-bfgs-b", "native:newton-cg"]
EPOCHS = 3


def line(solver, options=None, penalty=1e-3, metrics=()):
    """Make a line, always the same one."""
    keras.utils.set_random_seed(3)
    kernel_regularizer = keras.regularizers.L2(penalty)
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((2,)), keras.layers.Dense(1, kernel_regularizer=kernel_regularizer)]
    )
    optimizer = solver if options is None else kormos.BatchOptimizer(solver, options=options)
    model.compile(optimizer=optimizer, loss="log_cosh", metrics=list(metrics), jit_compile=False)
    return model


def of_any_solver(hp):
    """Tune the solver."""
    return line(hp.Choice("solver", SOLVERS))


def build(hp, metrics=()):
    """Tune the solver, its memory and the penalty."""
    solver = hp.Choice("solver", ["scipy:l-bfgs-b", "native:lbfgs"])
    options = {"maxcor": hp.Int("maxcor", 1, 10)}
    return line(solver, options, hp.Float("penalty", 1e-4, 1e-1, sampling="log"), metrics)


def build_with_metrics(hp):
    """Tune the same by a metric."""
    return build(hp, ["mae"])


class Told(keras.callbacks.Callback):
    """Note epochs and losses of every fit; KerasTuner copies its callbacks for each."""

    fits: ClassVar[list[dict[int, float]]] = []

    def on_train_begin(self, logs=None):
        self.fits.append({})

    def on_epoch_end(self, epoch, logs=None):
        self.fits[-1][epoch] = logs["loss"]


def search(tuner, **arguments):
    """Search, and return the trials, the best one first, and the fits in their order."""
    Told.fits.clear()
    tuner.search(X, Y, validation_data=HELD_OUT, verbose=0, callbacks=[Told()], **arguments)
    return tuner.oracle.get_best_trials(100), list(Told.fits)


def rerun(build, trial, epochs=EPOCHS):
    """Fit anew what a trial fitted, and return the history."""
    model = build(trial.hyperparameters.copy())
    return model.fit(X, Y, validation_data=HELD_OUT, verbose=0, epochs=epochs).history


@pytest.fixture(scope="module")
def random_search(tmp_path_factory):
    """Search once for the tests that look at it."""
    tuner = keras_tuner.RandomSearch(
        of_any_solver,
        objective="val_loss",
        max_trials=2,
        executions_per_trial=2,
        seed=4,
        directory=tmp_path_factory.mktemp("random"),
    )
    return tuner, *search(tuner, epochs=EPOCHS)


def test_random_search_tries_every_solver_as_often_as_it_is_told(random_search):
    _, trials, fits = random_search

    assert {trial.status for trial in trials} == {"COMPLETED"}
    assert {trial.hyperparameters.get("solver") for trial in trials} == set(SOLVERS)
    assert [list(fit) for fit in fits] == [list(range(EPOCHS))] * 4


def test_a_rerun_gives_the_best_score_of_random_search_again(random_search):
    _, trials, _ = random_search

    # one model, one data, one start: both executions were this fit
    assert min(rerun(of_any_solver, trials[0])["val_loss"]) == trials[0].score


def test_the_best_model_has_the_weights_of_its_best_iteration_and_trains_on(random_search):
    tuner, trials, _ = random_search

    (model,) = tuner.get_best_models()

    before = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(*HELD_OUT, verbose=0) == trials[0].score
    assert model.optimizer.request.solver == trials[0].hyperparameters.get("solver")
    history = model.fit(X, Y, verbose=0)
    assert history.result.converged
    assert history.result.loss < before


def test_hyperband_goes_on_from_the_weights_of_earlier_trials(tmp_path):
    tuner = keras_tuner.Hyperband(
        build, objective="val_loss", max_epochs=2, factor=2, seed=2, directory=tmp_path
    )

    trials, fits = search(tuner)

    later = [trial for trial in trials if "tuner/trial_id" in trial.hyperparameters.values]
    assert later
    assert {tuple(fit) for fit in fits} == {(0,), (1,), (0, 1)}
    for trial in later:
        before = fits[int(trial.hyperparameters.get("tuner/trial_id"))]
        assert before[0] > fits[int(trial.trial_id)][1]


def test_bayesian_optimization_finds_a_score_that_a_rerun_gives_again(tmp_path):
    tuner = keras_tuner.BayesianOptimization(
        build_with_metrics,
        objective=keras_tuner.Objective("val_mae", direction="min"),
        max_trials=2,
        num_initial_points=1,
        seed=3,
        directory=tmp_path,
    )

    trials, fits = search(tuner, epochs=EPOCHS)

    assert len(trials) == len(fits) == 2
    assert min(rerun(build_with_metrics, trials[0])["val_mae"]) == trials[0].score
    assert trials[0].score < trials[-1].score


def test_a_search_by_the_loss_may_run_many_iterations_in_one_call(tmp_path):
    def in_chunks(hp):
        model = line(hp.Choice("solver", ["native:lbfgs"]))
        model.steps_per_execution = 3
        return model

    tuner = keras_tuner.RandomSearch(
        in_chunks,
        objective=keras_tuner.Objective("loss", direction="min"),
        max_trials=1,
        directory=tmp_path,
    )

    (trial,), (fit,) = search(tuner, epochs=5)

    assert list(fit) == [2, 4]
    assert trial.score == min(fit.values())


def test_a_search_over_chains_scores_what_the_fit_of_the_hypermodel_returns(tmp_path):
    class Chains(keras_tuner.HyperModel):
        def build(self, hp):
            return line(hp.Choice("solver", ["adam>native:lbfgs"]))

        def fit(self, hp, model, *args, **kwargs):
            history = model.fit(*args, **kwargs).history
            return min(history["val_loss"])  # the means of KerasTuner stumble over `solver`

    tuner = keras_tuner.RandomSearch(
        Chains(), objective="val_loss", max_trials=1, directory=tmp_path
    )

    (trial,), _ = search(tuner, epochs=[2, 2])

    assert trial.score == min(rerun(tuner.hypermodel.build, trial, epochs=[2, 2])["val_loss"])
