"""Optuna's pruning callbacks: what a trial reports, and where a pruned one ends."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from integrations.cases import EPOCHS, FEW, HELD_OUT, HOST, Weights, X, Y, few_cases, fit, network
from optuna_integration import KerasPruningCallback, TFKerasPruningCallback
from training.problems import flat_weights

CALLBACKS = [KerasPruningCallback, TFKerasPruningCallback]


def study(pruner=None, **options):
    return optuna.create_study(
        pruner=pruner or optuna.pruners.NopPruner(),
        sampler=optuna.samplers.RandomSampler(seed=1),
        **options,
    )


@few_cases
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_trial_reports_every_iteration_that_is_served(case, callback):
    def objective(trial):
        history = fit(case, callback(trial, "val_loss"), validation_data=HELD_OUT)
        trial.set_user_attr("val_loss", history.history["val_loss"])
        return history.history["val_loss"][-1]

    trials = study()
    trials.optimize(objective, n_trials=1)

    (trial,) = trials.trials
    assert trial.state is optuna.trial.TrialState.COMPLETE
    column = trial.user_attrs["val_loss"]
    assert trial.intermediate_values == dict(zip(case.served, column, strict=True))
    assert trial.value == column[-1]


@few_cases
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_pruned_trial_ends_at_once_with_the_best_weights_in_the_model(case, callback):
    free = Weights()
    fit(case, free)
    seen = Weights()
    trials = study(optuna.pruners.ThresholdPruner(upper=0.0))
    trial = trials.ask()

    with pytest.raises(optuna.TrialPruned, match=f"pruned at epoch {case.served[0]}"):
        fit(case, seen, callback(trial, "loss"))

    assert list(seen.at) == case.served[:1]
    np.testing.assert_array_equal(flat_weights(seen.model), free.at[case.served[0]])


def test_a_pruned_trial_is_known_as_such_to_its_study():
    trials = study(optuna.pruners.ThresholdPruner(upper=0.0))

    trials.optimize(lambda trial: fit(HOST, KerasPruningCallback(trial, "loss")), n_trials=1)

    (trial,) = trials.trials
    assert trial.state is optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [0]


def test_a_model_trains_on_after_its_trial_was_pruned():
    trial = study(optuna.pruners.ThresholdPruner(upper=0.0)).ask()
    model = network(HOST)
    with pytest.raises(optuna.TrialPruned, match="pruned at epoch 0"):
        model.fit(X, Y, verbose=0, callbacks=[KerasPruningCallback(trial, "loss")])

    history = model.fit(X, Y, epochs=3, verbose=0)

    assert len(history.history["loss"]) == 3
    assert history.history["loss"][0] < trial.study.trials[0].intermediate_values[0]


def test_the_median_of_earlier_trials_prunes_a_worse_one():
    trials = study(optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2))
    for scale in (1.0, 0.9, 100.0):
        trials.enqueue_trial({"scale": scale})

    def objective(trial):
        model = network(HOST)
        scale = trial.suggest_float("scale", 0.1, 100.0)
        model.set_weights([scale * weight for weight in model.get_weights()])
        pruning = KerasPruningCallback(trial, "loss")
        return model.fit(X, Y, epochs=EPOCHS, verbose=0, callbacks=[pruning]).result.loss

    trials.optimize(objective, n_trials=3)

    first, second, worse = trials.trials
    assert first.state is second.state is optuna.trial.TrialState.COMPLETE
    assert worse.state is optuna.trial.TrialState.PRUNED
    assert max(worse.intermediate_values) < EPOCHS - 1


def test_a_search_over_solvers_finds_the_one_that_gets_furthest():
    cases = {case.solver: case for case in FEW}
    losses = {solver: fit(case).result.loss for solver, case in cases.items()}

    def objective(trial):
        case = cases[trial.suggest_categorical("solver", sorted(cases))]
        return fit(case, KerasPruningCallback(trial, "loss")).result.loss

    trials = optuna.create_study(sampler=optuna.samplers.GridSampler({"solver": sorted(cases)}))
    trials.optimize(objective)

    assert len(trials.trials) == len(cases)
    assert losses[trials.best_params["solver"]] == trials.best_value == min(losses.values())
