"""Chains as optimizers: what they are made of, and what Keras sees of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.optimize

import kormos
from kormos_core.errors import OptionError, UnknownSolverError, UnsupportedError


@pytest.mark.parametrize(
    ("stages", "names"),
    [
        ("adam>scipy:l-bfgs-b", ["adam", "scipy:l-bfgs-b"]),
        ("adam > tfp-lbfgs > native:newton-cg", ["adam", "tfp:l-bfgs", "native:newton-cg"]),
        (["bfgs", "l-bfgs-b"], ["scipy:bfgs", "scipy:l-bfgs-b"]),
        ([keras.optimizers.SGD(0.1), ("native", {"epochs": 3})], ["sgd", "native:lbfgs"]),
        ([kormos.BatchOptimizer("native:lbfgs", options={"gtol": 1e-3})], ["native:lbfgs"]),
    ],
)
def test_stages_are_named_or_made(stages, names):
    assert [stage.name for stage in kormos.Chain(stages).stages] == names


@pytest.mark.parametrize(
    ("stages", "error", "message"),
    [
        ("adam>", UnknownSolverError, "a stage without a name"),
        ("adam>nope", UnknownSolverError, "nope"),
        ([], UnsupportedError, "no stages"),
        (3, UnsupportedError, "not the stages of a chain: 3"),
        ({"adam": 1}, UnsupportedError, "not the stages of a chain"),
        ([("adam", 3)], UnsupportedError, "not a stage of a chain"),
        ([("adam", {"epoch": 3})], OptionError, "epoch=3.*Did you mean 'epochs'"),
        ([("adam", {"options": {}})], OptionError, "'adam' cannot honor options"),
        ([("native:lbfgs", {"shuffle": True})], OptionError, "cannot honor shuffle=True"),
        ([("native:lbfgs", {"options": {"gtoll": 1}})], OptionError, "gtoll"),
        ([42], UnsupportedError, "not a solver: 42"),
        ([kormos.Chain("adam>bfgs")], UnsupportedError, "chain within a chain"),
    ],
)
def test_what_is_no_stage_is_refused(stages, error, message):
    with pytest.raises(error, match=message):
        kormos.Chain(stages)


def test_a_chain_comes_back_from_its_config():
    chain = kormos.Chain(
        [
            (keras.optimizers.Adam(0.25), {"epochs": 3, "batch_size": 8}),
            kormos.BatchOptimizer("native:lbfgs", options={"gtol": 1e-3}),
        ]
    )

    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(chain))

    assert [stage.name for stage in again.stages] == ["adam", "native:lbfgs"]
    assert float(again.stages[0].optimizer.learning_rate) == 0.25
    assert again.stages[0].arguments == {"epochs": 3, "batch_size": 8}
    assert again.stages[1].request.options == {"gtol": 1e-3}


def test_arguments_of_stages_are_saved_in_plain_types():
    arguments = {"bounds": scipy.optimize.Bounds(-1, 1), "options": {"gtol": np.float64(1e-3)}}
    chain = kormos.Chain([("native:lbfgs-b", arguments)])

    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(chain))

    assert again.stages[0].arguments == {"bounds": [-1.0, 1.0], "options": {"gtol": 1e-3}}


def test_functions_cannot_be_saved():
    chain = kormos.Chain([("native:lbfgs", {"pretrain_fn": print})])

    with pytest.raises(UnsupportedError, match="pretrain_fn of the stage 'native:lbfgs'"):
        chain.get_config()


def test_a_chain_takes_no_minibatch_steps_outside_a_fit():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=kormos.Chain("adam>native:lbfgs"), loss="mse")

    with pytest.raises(UnsupportedError, match="no stage of 'chain' takes minibatch steps"):
        model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))


def test_steps_per_execution_are_checked_for_each_solver():
    model = kormos.BatchOptimizedSequentialModel([keras.Input((1,)), keras.layers.Dense(1)])

    with pytest.raises(UnsupportedError, match="scipy:bfgs cannot honor steps_per_execution=4"):
        model.compile(optimizer="native:lbfgs>scipy:bfgs", loss="mse", steps_per_execution=4)


def test_a_chain_that_was_stopped_among_steps_takes_none_outside_a_fit():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=kormos.Chain("adam>native:lbfgs"), loss="mse")
    one = np.ones((1, 1))
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True)
    )
    kormos.fit(model, one, one, epochs=3, callbacks=[stop], verbose=0)

    with pytest.raises(UnsupportedError, match="takes minibatch steps now"):
        model.fit(one, one, verbose=0)
