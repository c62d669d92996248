"""Callbacks of a user's own: every hook, with what it is told, in whatever form they are given."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from integrations.cases import EPOCHS, HELD_OUT, Weights, every_case, fit, network
from training.problems import flat_weights

SOLVER_LOGS = {"loss", "grad", "fg_evals", "hessp_evals"}
TRAIN_LOGS = SOLVER_LOGS | {"mae"}
EPOCH_LOGS = TRAIN_LOGS | {"val_loss", "val_mae"}


class EveryHook(keras.callbacks.Callback):
    """Override every hook that a fit reaches; keep the place and a copy of the logs."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def told(self, name, logs, *place):
        self.calls.append((name, *place, None if logs is None else dict(logs)))

    def on_train_begin(self, logs=None):
        self.told("train begin", logs)

    def on_train_end(self, logs=None):
        self.told("train end", logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.told("epoch begin", logs, epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.told("epoch end", logs, epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self.told("batch begin", logs, batch)

    def on_train_batch_end(self, batch, logs=None):
        self.told("batch end", logs, batch)

    def on_test_begin(self, logs=None):
        self.told("test begin", logs)

    def on_test_end(self, logs=None):
        self.told("test end", logs)

    def on_test_batch_begin(self, batch, logs=None):
        self.told("test batch begin", logs, batch)

    def on_test_batch_end(self, batch, logs=None):
        self.told("test batch end", logs, batch)

    def logs_of(self, name):
        return [call[-1] for call in self.calls if call[0] == name]


@every_case
def test_every_hook_is_called_in_order_and_by_its_number(case):
    hooks = EveryHook()

    fit(case, hooks, validation_data=HELD_OUT)

    expected = [("train begin",)]
    for first, last in zip(case.begun, case.served, strict=True):
        expected += [
            ("epoch begin", first),
            ("batch begin", 0),
            ("batch end", 0),
            ("test begin",),
            ("test batch begin", 0),
            ("test batch end", case.steps - 1),  # as Keras counts steps per execution
            ("test end",),
            ("epoch end", last),
        ]
    assert [call[:-1] for call in hooks.calls] == [*expected, ("train end",)]


@every_case
def test_every_hook_is_told_what_the_history_keeps(case):
    hooks = EveryHook()

    columns = fit(case, hooks, validation_data=HELD_OUT).history

    ends = hooks.logs_of("epoch end")
    assert all(logs.keys() == EPOCH_LOGS for logs in ends)
    for row, (epoch, logs) in enumerate(zip(case.served, ends, strict=True)):
        assert {name: logs[name] for name in TRAIN_LOGS} == {
            name: columns[name][epoch] for name in TRAIN_LOGS
        }
        assert logs["val_loss"] == columns["val_loss"][row]
    assert hooks.logs_of("batch end") == [
        {name: logs[name] for name in TRAIN_LOGS} for logs in ends
    ]
    assert hooks.logs_of("train end") == [ends[-1]]
    tests = hooks.logs_of("test end")
    assert [logs["loss"] for logs in tests] == [logs["val_loss"] for logs in ends]
    assert [logs["mae"] for logs in tests] == [logs["val_mae"] for logs in ends]


@every_case
def test_the_old_names_of_the_batch_hooks_work(case):
    class Old(keras.callbacks.Callback):
        seen = ()

        def on_batch_begin(self, batch, logs=None):
            self.seen += (("begin", batch),)

        def on_batch_end(self, batch, logs=None):
            self.seen += (("end", batch, logs["loss"]),)

    old = Old()

    columns = fit(case, old).history

    assert old.seen == tuple(
        call
        for epoch in case.served
        for call in (("begin", 0), ("end", 0, columns["loss"][epoch]))
    )


@every_case
def test_a_lambda_callback_may_take_every_hook(case):
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("train begin"),
        on_train_end=lambda logs: seen.append(("train end", logs["loss"])),
        on_epoch_begin=lambda epoch, logs: seen.append(("begin", epoch)),
        on_epoch_end=lambda epoch, logs: seen.append(("end", epoch, logs["loss"])),
        on_train_batch_begin=lambda batch, logs: seen.append(("batch begin", batch)),
        on_train_batch_end=lambda batch, logs: seen.append(("batch end", batch, logs["grad"])),
    )

    columns = fit(case, callback).history

    expected = []
    for first, last in zip(case.begun, case.served, strict=True):
        expected += [
            ("begin", first),
            ("batch begin", 0),
            ("batch end", 0, columns["grad"][last]),
            ("end", last, columns["loss"][last]),
        ]
    assert seen == ["train begin", *expected, ("train end", columns["loss"][-1])]


@every_case
@pytest.mark.parametrize("form", ["alone", "list", "tuple", "nested", "CallbackList"])
def test_callbacks_may_be_given_in_every_form(case, form):
    model, one, other = network(case), Weights(), Weights()
    given = {
        "alone": one,
        "list": [one, other],
        "tuple": (one, other),
        "nested": [one, [other]],
        "CallbackList": keras.callbacks.CallbackList([one, other], model=model, epochs=EPOCHS),
    }[form]

    history = fit(case, callbacks=given)

    assert list(one.at) == case.served
    assert list(other.at) == ([] if form == "alone" else case.served)
    assert history is model.history
    assert len(history.history["loss"]) == EPOCHS


@every_case
def test_a_callback_list_keeps_its_own_history(case):
    model = network(case)
    told = keras.callbacks.CallbackList([], add_history=True, model=model, epochs=EPOCHS)

    history = fit(case, callbacks=told)

    assert history is told.callbacks[0]
    assert history.epoch == list(range(EPOCHS))


@every_case
def test_a_callback_without_hooks_changes_nothing(case):
    without = fit(case)

    with_one = fit(case, keras.callbacks.Callback())

    # where iterations go by in the graph, metrics are NaN
    np.testing.assert_equal(with_one.history, without.history)
    np.testing.assert_array_equal(with_one.result.x, without.result.x)


@every_case
def test_a_hook_that_raises_within_validation_leaves_the_best_point(case):
    class Fails(keras.callbacks.Callback):
        tests = 0

        def on_test_batch_end(self, batch, logs=None):
            self.tests += 1
            if self.tests == 2:
                message = "the hook's own"
                raise ZeroDivisionError(message)

    free = Weights()
    fit(case, free)
    second = case.served[1]

    with pytest.raises(ZeroDivisionError, match="the hook's own"):
        fit(case, Fails(), validation_data=HELD_OUT)

    np.testing.assert_array_equal(flat_weights(free.model), free.at[second])
