"""Fits by several optimizers, one after the other."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import pytest
from keras import layers

import kormos
from kormos_core.errors import DataError, OptionError, RestartWarning, UnsupportedError
from kormos_core.result import Status

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = np.sin(X @ RNG.normal(size=4))[:, None]


def make(optimizer, **arguments):
    keras.utils.set_random_seed(1)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((4,)),
            layers.Dense(6, activation="tanh", dtype="float64", name="hidden"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile(optimizer=optimizer, loss="mse", **arguments)
    return model


@functools.cache
def made():
    model = make("adam>native:lbfgs")
    return model, model.get_weights()


def anew():
    """Return the one model of a plain chain with its first weights: tracing is what costs."""
    model, start = made()
    model.set_weights(start)
    return model


def stop_at(epoch):
    class Stop(keras.callbacks.Callback):
        begun = ended = 0

        def on_train_begin(self, logs=None):
            self.begun += 1

        def on_train_end(self, logs=None):
            self.ended += 1

        def on_epoch_end(self, at, logs=None):
            if at == epoch:
                self.model.stop_training = True

    return Stop()


def test_each_stage_goes_on_from_where_the_one_before_ended():
    model = make("adam>native:lbfgs", metrics=["mae"])
    history = model.fit(
        X, Y, epochs=[5, 4], batch_size=20, validation_data=(X, Y), shuffle=False, verbose=0
    )
    by_hand = make("adam", metrics=["mae"])
    by_hand.fit(X, Y, epochs=5, batch_size=20, shuffle=False, verbose=0)
    after_adam = by_hand.evaluate(X, Y, verbose=0)[0]
    by_hand.compile(optimizer="native:lbfgs", loss="mse")
    second = by_hand.fit(X, Y, epochs=4, verbose=0)

    table = history.history
    assert history.epoch == list(range(9))
    assert {len(column) for column in table.values()} == {9}
    assert table["solver"] == ["adam"] * 5 + ["native:lbfgs"] * 4
    assert all(math.isnan(norm) for norm in table["grad"][:5])
    assert table["fg_evals"][5:] == second.history["fg_evals"]
    np.testing.assert_allclose(table["val_loss"][4], after_adam, rtol=1e-6)
    np.testing.assert_allclose(table["loss"][5:], second.history["loss"], rtol=1e-6)
    assert [type(result).__name__ for result in history.results] == ["NoneType", "Result"]
    assert history.result is history.results[1]


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:newton-cg", "tfp:l-bfgs"])
def test_a_solver_goes_far_below_where_adam_ended(solver):
    model = make(kormos.Chain([("adam", {"epochs": 3, "batch_size": 16}), solver]))

    history = model.fit(X, Y, epochs=[3, 60], verbose=0)

    assert history.result.solver == solver
    assert history.result.loss < 1e-2 * history.history["loss"][2]
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), history.result.loss, rtol=1e-3)


def test_a_plain_model_is_fitted_by_a_chain_and_keeps_its_optimizer():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    own = model.optimizer

    history = kormos.fit(model, X, Y, solver="adam > scipy:l-bfgs-b", epochs=[2, 3], verbose=0)

    assert history.history["solver"] == ["adam"] * 2 + ["scipy:l-bfgs-b"] * 3
    assert model.optimizer is own
    model.fit(X, Y, epochs=1, verbose=0)  # by its own optimizer, traced anew


def test_lists_of_methods_epochs_and_options_are_a_chain():
    seen = []
    model = make("scipy:l-bfgs-b")

    history = model.fit(
        X,
        Y,
        method=["newton-cg", "l-bfgs-b"],
        epochs=[2, 3],
        options=[None, {"maxcor": 3}],
        pretrain_fn=seen.append,
        verbose=0,
    )

    assert history.history["solver"] == ["scipy:newton-cg"] * 2 + ["scipy:l-bfgs-b"] * 3
    assert seen == [model, model]


def test_a_function_between_stages_may_change_the_loss():
    model = make("scipy:l-bfgs-b")

    def harder(fitted):
        fitted.compile(optimizer=fitted.optimizer, loss="mae")

    history = model.fit(
        X, Y, method=["l-bfgs-b", "l-bfgs-b"], epochs=2, pretrain_fn=[None, harder], verbose=0
    )

    np.testing.assert_allclose(
        model.evaluate(X, Y, verbose=0), np.abs(model.predict(X, verbose=0) - Y).mean(), rtol=1e-6
    )
    np.testing.assert_allclose(history.history["loss"][-1], model.evaluate(X, Y, verbose=0))


def test_a_function_between_stages_may_freeze_a_layer():
    model = make("adam>native:lbfgs")

    def freeze(fitted):
        fitted.get_layer("hidden").trainable = False

    kernels = []
    history = model.fit(
        X,
        Y,
        epochs=[2, 3],
        pretrain_fn=[None, freeze],
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: kernels.append(
                    keras.ops.convert_to_numpy(model.get_layer("hidden").kernel)
                )
            )
        ],
        verbose=0,
    )

    np.testing.assert_array_equal(kernels[1], kernels[-1])
    assert np.abs(kernels[0] - kernels[1]).max() > 0
    assert history.history["loss"][-1] < history.history["loss"][1]


def test_one_number_of_epochs_is_for_each_stage():
    history = anew().fit(X, Y, epochs=3, verbose=0)

    assert history.history["solver"] == ["adam"] * 3 + ["native:lbfgs"] * 3


def test_callbacks_of_the_fit_see_one_training():
    watcher = stop_at(-1)

    anew().fit(X, Y, epochs=2, callbacks=[watcher], verbose=0)

    assert (watcher.begun, watcher.ended) == (1, 1)


@pytest.mark.parametrize(("epoch", "stages"), [(1, ["adam"]), (4, ["adam", "native:lbfgs"])])
def test_a_callback_of_the_fit_stops_the_chain(epoch, stages):
    history = anew().fit(X, Y, epochs=4, callbacks=[stop_at(epoch)], verbose=0)

    assert len(history.epoch) == epoch + 1
    assert list(dict.fromkeys(history.history["solver"])) == stages


def test_a_callback_of_a_stage_hands_over_to_the_next():
    own = stop_at(1)
    chain = kormos.Chain([("adam", {"epochs": 50, "callbacks": [own]}), "native:lbfgs"])

    history = make(chain).fit(X, Y, epochs=[50, 3], verbose=0)

    assert history.history["solver"] == ["adam"] * 2 + ["native:lbfgs"] * 3
    assert (own.begun, own.ended) == (1, 1)


def test_a_callback_of_a_solver_s_stage_hands_over_too():
    chain = kormos.Chain([("native:lbfgs", {"callbacks": stop_at(1)}), "scipy:l-bfgs-b"])

    history = make(chain).fit(X, Y, epochs=[9, 2], verbose=0)

    assert history.history["solver"] == ["native:lbfgs"] * 2 + ["scipy:l-bfgs-b"] * 2
    assert history.results[0].status is Status.STOPPED_BY_CALLBACK


def test_a_learning_rate_is_scheduled_in_the_stage_that_has_one():
    rates = []
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rates.append(rate) or 0.5 * rate
    )
    chain = kormos.Chain(
        [(keras.optimizers.Adam(0.1), {"epochs": 3, "callbacks": schedule}), "native:lbfgs"]
    )

    make(chain).fit(X, Y, epochs=[3, 2], verbose=0)

    np.testing.assert_allclose(rates, [0.1, 0.05, 0.025], rtol=1e-6)


def test_a_learning_rate_cannot_be_scheduled_for_all_stages():
    schedule = keras.callbacks.ReduceLROnPlateau()

    with pytest.raises(UnsupportedError, match="among the callbacks of a stage"):
        anew().fit(X, Y, epochs=2, callbacks=[schedule], verbose=0)


def test_a_loss_that_is_not_finite_ends_the_chain():
    target = Y.copy()
    target[0] = np.nan
    with pytest.warns(RuntimeWarning, match="target|loss"):
        history = make("native:lbfgs>scipy:l-bfgs-b").fit(X, target, epochs=3, verbose=0)

    assert history.result.status is Status.NONFINITE
    assert len(history.results) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": None}, "'adam' of a chain has no usable number of epochs: None"),
        ({"epochs": [2]}, "epochs has 1 values for 2 stages"),
        ({"epochs": [0, 2]}, "no usable number of epochs: 0"),
        ({"epochs": 2, "options": [{"gtol": 1.0}, None]}, "options for the stage 'adam'"),
        ({"epochs": 2, "options": {"gtoll": 1.0}}, "gtoll"),
    ],
)
def test_arguments_that_stages_cannot_take_are_refused(arguments, message):
    model = anew()
    before = model.get_weights()

    with pytest.raises(OptionError, match=message):
        model.fit(X, Y, verbose=0, **arguments)

    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_values_for_stages_need_a_chain():
    with pytest.raises(UnsupportedError, match="there is one solver"):
        make("native:lbfgs").fit(X, Y, epochs=[1, 2], verbose=0)


def test_data_that_can_be_read_once_is_refused():
    batches = iter([(X, Y)])

    with pytest.raises(DataError, match="x can be read once"):
        anew().fit(batches, epochs=2, verbose=0)


def test_a_saved_chain_goes_on_with_its_stages(tmp_path):
    chain = kormos.Chain([("adam", {"epochs": 3}), "native:lbfgs"])
    whole = make(kormos.Chain([("adam", {"epochs": 3}), "native:lbfgs"]))
    expected = whole.fit(X, Y, epochs=[3, 6], shuffle=False, verbose=0)
    model = make(chain)
    model.fit(X, Y, epochs=[3, 6], shuffle=False, callbacks=[stop_at(5)], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    rest = loaded.fit(X, Y, epochs=[3, 6], shuffle=False, resume=True, verbose=0)

    assert rest.epoch == [6, 7, 8]
    np.testing.assert_allclose(rest.history["loss"], expected.history["loss"][6:], rtol=1e-10)


def test_a_chain_that_is_done_cannot_go_on():
    model = anew()
    model.fit(X, Y, epochs=2, verbose=0)

    with pytest.raises(UnsupportedError, match=r"the chain cannot go on.*come to its end"):
        model.fit(X, Y, epochs=2, resume=True, verbose=0)


def test_scipy_s_stage_starts_afresh_when_a_chain_goes_on():
    model = make("adam>scipy:l-bfgs-b")
    model.fit(X, Y, epochs=[2, 6], callbacks=[stop_at(4)], verbose=0)

    with pytest.warns(RestartWarning, match="scipy:l-bfgs-b starts afresh"):
        rest = model.fit(X, Y, epochs=[2, 6], resume=True, verbose=0)

    assert rest.epoch == [5, 6, 7]


def test_progress_tells_of_every_stage(capsys):
    anew().fit(X, Y, epochs=2, verbose=2)

    told = capsys.readouterr().out
    assert "Iteration 1/4 - loss" in told
    assert "adam: 2 epochs of minibatches" in told
    assert "native:lbfgs: MAX_ITER after 2 iterations" in told


def failing_at(epoch):
    def fail(at, logs):
        if at == epoch:
            message = "the machine went down"
            raise InterruptedError(message)

    return keras.callbacks.LambdaCallback(on_epoch_end=fail)


def test_every_stage_counts_its_own_epochs_after_a_backup(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    epochs = [4, 3, 4]
    with pytest.raises(InterruptedError, match="the machine went down"):
        make("adam>native:lbfgs>sgd").fit(
            X, Y, epochs=epochs, callbacks=[failing_at(3), backup], verbose=0
        )
    model = make("adam>native:lbfgs>sgd")

    rest = model.fit(X, Y, epochs=epochs, callbacks=[backup], verbose=0)
    again = model.fit(X, Y, epochs=epochs, verbose=0)

    assert rest.epoch == list(range(3, 11))
    assert rest.history["solver"] == ["adam"] + ["native:lbfgs"] * 3 + ["sgd"] * 4
    assert again.epoch == list(range(11))


@pytest.mark.parametrize(
    ("optimizer", "arguments", "message"),
    [
        ("native:lbfgs-b>adam", {"bounds": (-1, 1)}, "bounds.*last stage 'adam' knows none"),
        ("adam>sgd", {"tol": 1e-3}, "tol=0.001 cannot be honored: no stage"),
        ("adam>sgd", {"options": {"gtol": 1.0}}, "options.*no stage of the chain is a solver"),
    ],
)
def test_arguments_for_solvers_need_a_solver_to_honor_them(optimizer, arguments, message):
    with pytest.raises(OptionError, match=message):
        make(kormos.Chain(optimizer)).fit(X, Y, epochs=1, verbose=0, **arguments)


def test_what_a_later_solver_cannot_do_is_said_before_the_first_stage():
    model = make("adam>native:newton-cg")
    before = model.get_weights()

    with pytest.raises(UnsupportedError, match="native:newton-cg does not honor bounds"):
        model.fit(X, Y, epochs=2, bounds=(-1, 1), verbose=0)

    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_a_stage_s_batch_size_needs_arrays():
    class Source(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return X, Y

    chain = kormos.Chain([("adam", {"epochs": 1, "batch_size": 7}), "native:lbfgs"])

    with pytest.raises(DataError, match="batch_size=7 of the stage 'adam' cannot be honored"):
        make(chain).fit(Source(), verbose=0)


def test_a_layer_may_be_unfrozen_for_a_later_stage():
    def unfreeze(model):
        model.get_layer("hidden").trainable = True

    chain = kormos.Chain([("adam", {}), ("sgd", {"pretrain_fn": unfreeze})])
    model = make(chain)
    model.get_layer("hidden").trainable = False
    before = model.get_layer("hidden").get_weights()[0]

    model.fit(X, Y, epochs=1, verbose=0)

    assert np.abs(model.get_layer("hidden").get_weights()[0] - before).max() > 0


def test_an_optimizer_that_has_stepped_one_model_does_not_step_another():
    chain = kormos.Chain("adam>native:lbfgs")
    make(chain).fit(X, Y, epochs=1, verbose=0)

    with pytest.raises(UnsupportedError, match="'adam' has made steps of other variables"):
        make(chain).fit(X, Y, epochs=1, verbose=0)


def test_a_stage_s_stop_within_an_epoch_hands_over():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    chain = kormos.Chain([("adam", {"callbacks": Stop()}), "native:lbfgs"])

    history = make(chain).fit(X, Y, epochs=[5, 2], verbose=0)

    assert history.history["solver"] == ["adam"] + ["native:lbfgs"] * 2


def test_a_stage_of_steps_that_diverges_ends_the_chain():
    chain = kormos.Chain([keras.optimizers.SGD(1e200), "native:lbfgs"])

    with pytest.warns(RuntimeWarning, match="The chain ends: after the stage 'sgd'"):
        history = make(chain).fit(X, Y, epochs=4, verbose=0)

    assert history.history["solver"] == ["sgd"] * 4


def test_a_user_s_list_of_callbacks_is_left_as_it_was():
    listed = keras.callbacks.CallbackList([keras.callbacks.History()])
    model = anew()

    history = model.fit(X, Y, epochs=2, callbacks=listed, verbose=0)

    assert len(history.epoch) == 4
    assert listed.callbacks == [history]


def stopped_in_the_second_stage():
    model = anew()
    model.fit(X, Y, epochs=[2, 5], callbacks=[stop_at(3)], verbose=0)
    return model


@pytest.mark.parametrize(("first", "epochs"), [(4, [4, 5, 6]), (10, [10, 11, 12])])
def test_a_chain_that_goes_on_numbers_its_epochs_as_it_is_told(first, epochs):
    model = stopped_in_the_second_stage()

    rest = model.fit(X, Y, epochs=[2, 5], initial_epoch=first, verbose=0)

    assert rest.epoch == epochs
    assert [type(result).__name__ for result in rest.results] == ["NoneType", "Result"]


def test_a_chain_that_must_go_on_refuses_other_data():
    model = stopped_in_the_second_stage()

    with pytest.raises(UnsupportedError, match="data or loss have changed"):
        model.fit(X, Y + 1.0, epochs=[2, 5], resume=True, verbose=0)


def test_a_chain_that_is_done_says_that_it_begins_again():
    model = anew()
    model.fit(X, Y, epochs=2, verbose=0)

    with pytest.warns(RestartWarning, match="begins again with its first stage"):
        again = model.fit(X, Y, epochs=2, initial_epoch=4, verbose=0)

    assert again.epoch == [4, 5, 6, 7]


def test_the_loss_is_scaled_in_every_stage_of_steps():
    keras.utils.set_random_seed(1)
    model = kormos.BatchOptimizedSequentialModel([keras.Input((4,)), layers.Dense(1)])
    scaler = keras.optimizers.LossScaleOptimizer(kormos.Chain("adam>native:lbfgs>sgd"))
    model.compile(optimizer=scaler, loss="mse")

    model.fit(X.astype("float32"), Y.astype("float32"), epochs=2, verbose=0)

    assert model.optimizer is scaler
    assert int(scaler.step_counter) == 8  # two batches an epoch, two stages of two epochs
