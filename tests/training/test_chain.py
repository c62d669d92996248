"""Fits by several optimizers, one after the other."""

from __future__ import annotations

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
    history = make("adam>native:lbfgs").fit(X, Y, epochs=3, verbose=0)

    assert history.history["solver"] == ["adam"] * 3 + ["native:lbfgs"] * 3


def test_callbacks_of_the_fit_see_one_training():
    watcher = stop_at(-1)

    make("adam>native:lbfgs").fit(X, Y, epochs=2, callbacks=[watcher], verbose=0)

    assert (watcher.begun, watcher.ended) == (1, 1)


@pytest.mark.parametrize(("epoch", "stages"), [(1, ["adam"]), (4, ["adam", "native:lbfgs"])])
def test_a_callback_of_the_fit_stops_the_chain(epoch, stages):
    history = make("adam>native:lbfgs").fit(X, Y, epochs=4, callbacks=[stop_at(epoch)], verbose=0)

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
        make("adam>native:lbfgs").fit(X, Y, epochs=2, callbacks=[schedule], verbose=0)


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
    model = make("adam>native:lbfgs")
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
        make("adam>native:lbfgs").fit(batches, epochs=2, verbose=0)


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
    model = make("adam>native:lbfgs")
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
    make("adam>native:lbfgs").fit(X, Y, epochs=2, verbose=2)

    told = capsys.readouterr().out
    assert "Iteration 1/4 - loss" in told
    assert "adam: 2 epochs of minibatches" in told
    assert "native:lbfgs: MAX_ITER after 2 iterations" in told
