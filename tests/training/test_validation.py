"""Validation, metrics, weights and steps: what is computed on which data."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from training.problems import Watch, data, flat_weights, line, line_anew, line_loss

import kormos
from kormos_core.data import streams
from kormos_core.errors import DataError

X, Y = data()
X_VAL, Y_VAL = data(seed=1)

# Keras evaluates on float32 copies of float64 data
AS_KERAS = 1e-6


def fit(model, **options):
    return model.fit(X, Y, **({"verbose": 0, "epochs": 4} | options))


class Evaluate(keras.callbacks.Callback):
    """Evaluate the model anew at each iterate, as a user would."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays, self.found = arrays, []

    def on_epoch_end(self, epoch, logs=None):
        x, y, *weight = self.arrays
        self.found.append(
            self.model.evaluate(x, y, sample_weight=weight[0] if weight else None, verbose=0)
        )


@pytest.mark.parametrize("method", ["l-bfgs-b", "trust-ncg", "tnc", "nelder-mead"])
def test_validation_is_what_evaluate_gives_at_each_accepted_iterate(method):
    model, evaluate = line_anew(method, "mae"), Evaluate(X_VAL, Y_VAL)

    columns = fit(model, validation_data=(X_VAL, Y_VAL), callbacks=[evaluate]).history

    # the same numbers, by way of a list and of a dictionary
    assert columns["val_loss"] == [loss for loss, _ in evaluate.found]
    assert columns["val_mae"] == [mae for _, mae in evaluate.found]


def test_validation_data_is_fresh_in_a_second_fit():
    model = line_anew()
    fit(model, validation_data=(X_VAL, Y_VAL))

    columns = fit(model, validation_data=(X, Y)).history

    assert columns["val_loss"] == pytest.approx(columns["loss"], rel=AS_KERAS)


@pytest.mark.parametrize("form", ["tuple", "list", "tf.data"])
def test_validation_data_comes_in_all_forms(form):
    forms = {
        "tuple": (X_VAL, Y_VAL),
        "list": [X_VAL, Y_VAL],
        "tf.data": tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(7),
    }
    watch = Watch()

    columns = fit(line_anew(), validation_data=forms[form], callbacks=[watch]).history

    expected = [line_loss(X_VAL, Y_VAL, weights) for weights in watch.weights]
    assert columns["val_loss"] == pytest.approx(expected, rel=AS_KERAS)


@pytest.mark.parametrize("steps", [None, 2])
def test_a_generator_is_validated_on_again_and_again(steps):
    batches = ((X_VAL[at : at + 5], Y_VAL[at : at + 5]) for at in range(0, 20, 5))
    watch = Watch()

    columns = fit(
        line_anew(), validation_data=batches, validation_steps=steps, callbacks=[watch]
    ).history

    used = slice(0, None if steps is None else 5 * steps)
    expected = [line_loss(X_VAL[used], Y_VAL[used], weights) for weights in watch.weights]
    assert columns["val_loss"] == pytest.approx(expected, rel=AS_KERAS)


def test_an_endless_generator_is_validated_on_by_its_first_batches():
    endless = itertools.cycle([(X_VAL[:5], Y_VAL[:5]), (X_VAL[5:10], Y_VAL[5:10])])
    watch = Watch()

    columns = fit(
        line_anew(), validation_data=endless, validation_steps=1, callbacks=[watch]
    ).history

    expected = [line_loss(X_VAL[:5], Y_VAL[:5], weights) for weights in watch.weights]
    assert columns["val_loss"] == pytest.approx(expected, rel=AS_KERAS)


def test_an_endless_generator_without_steps_is_refused(monkeypatch):
    monkeypatch.setattr(streams, "MAX_CACHED_BATCHES", 10)

    with pytest.raises(DataError, match=r"validation_data does not end: cycle.*validation_steps"):
        fit(line_anew(), validation_data=itertools.cycle([(X_VAL, Y_VAL)]))


def test_validation_weights_count():
    weight = np.linspace(0.0, 2.0, len(X_VAL))
    evaluate = Evaluate(X_VAL, Y_VAL, weight)

    columns = fit(
        line(weighted_metrics=["mae"]),
        validation_data=(X_VAL, Y_VAL, weight),
        callbacks=[evaluate],
    ).history

    assert columns["val_loss"] == [loss for loss, _ in evaluate.found]
    assert columns["val_mae"] == [mae for _, mae in evaluate.found]
    assert (
        columns["val_loss"] != fit(line_anew(), validation_data=(X_VAL, Y_VAL)).history["val_loss"]
    )


def test_validation_steps_are_kept():
    batches = tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(5)
    watch = Watch()

    columns = fit(
        line_anew(), validation_data=batches, validation_steps=2, callbacks=[watch]
    ).history

    expected = [line_loss(X_VAL[:10], Y_VAL[:10], weights) for weights in watch.weights]
    assert columns["val_loss"] == pytest.approx(expected, rel=AS_KERAS)


def test_validation_batch_size_is_kept():
    class CountBatches(keras.callbacks.Callback):
        batches = 0

        def on_test_batch_end(self, batch, logs=None):
            self.batches = max(self.batches, batch + 1)

    count = CountBatches()

    fit(line_anew(), validation_data=(X_VAL, Y_VAL), validation_batch_size=3, callbacks=[count])

    assert count.batches == 7  # of 20 samples


@pytest.mark.parametrize(
    ("freq", "validated"),
    [(1, [0, 1, 2, 3]), (2, [1, 3]), (3, [2]), ([1, 4], [0, 3]), ((2,), [1])],
)
def test_validation_frequency_is_kept(freq, validated):
    watch = Watch()

    columns = fit(
        line_anew("cg"), validation_data=(X_VAL, Y_VAL), validation_freq=freq, callbacks=[watch]
    ).history

    assert [row for row, logs in enumerate(watch.logs) if "val_loss" in logs] == validated
    assert len(columns["val_loss"]) == len(validated)


@pytest.mark.parametrize("freq", [0, -1, 1.5, True, "all", None])
def test_a_validation_frequency_without_meaning_is_refused(freq):
    with pytest.raises(DataError, match="validation_freq is not usable"):
        fit(line_anew(), validation_data=(X_VAL, Y_VAL), validation_freq=freq)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ((X_VAL, Y_VAL[:5]), r"validation_data is not usable, .*\[20, 5\] samples"),
        ((X_VAL[:0], Y_VAL[:0]), r"validation_data is not usable, .*is empty"),
        (3, r"validation_data is not usable: int\. Allowed are \(x, y\)"),
    ],
)
def test_validation_data_that_cannot_be_evaluated_is_refused_before_the_start(bad, match):
    watch = Watch()

    with pytest.raises(DataError, match=match):
        fit(line_anew(), validation_data=bad, callbacks=[watch])

    assert watch.events == []


def test_validation_split_sets_the_last_samples_apart():
    split = fit(line_anew(), validation_split=0.25).history

    explicit = line_anew().fit(
        X[:15], Y[:15], validation_data=(X[15:], Y[15:]), epochs=4, verbose=0
    )

    assert split == explicit.history


def test_validation_split_cuts_the_weights_too():
    weight = np.linspace(0.5, 2.0, len(X))

    split = fit(line_anew(), validation_split=0.25, sample_weight=weight).history
    explicit = line_anew().fit(
        X[:15],
        Y[:15],
        sample_weight=weight[:15],
        validation_data=(X[15:], Y[15:], weight[15:]),
        epochs=4,
        verbose=0,
    )

    assert split == explicit.history


def test_validation_data_goes_before_a_split():
    given = fit(line_anew(), validation_split=0.5, validation_data=(X_VAL, Y_VAL)).history

    assert given == fit(line_anew(), validation_data=(X_VAL, Y_VAL)).history


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5])
def test_a_split_out_of_range_is_refused(fraction):
    with pytest.raises(DataError, match=r"validation_split is out of range: -?\d\.\d"):
        fit(line_anew(), validation_split=fraction)


def test_a_split_of_a_stream_is_refused():
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)

    with pytest.raises(DataError, match=r"validation_split=0\.5 cannot cut a _BatchDataset"):
        line_anew().fit(batches, validation_split=0.5, verbose=0)


def test_training_metrics_are_those_of_the_accepted_iterate():
    watch = Watch()

    columns = fit(line_anew("l-bfgs-b", "mae"), callbacks=[watch]).history

    expected = [
        np.mean(np.abs(X @ weights[:2] + weights[2] - Y[:, 0])) for weights in watch.weights
    ]
    # float64 but for the metric's own mean, which Keras keeps in float32
    assert columns["mae"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 20, None])
def test_training_metrics_do_not_depend_on_the_batch_size(batch_size):
    columns = fit(line_anew("bfgs", "mae"), batch_size=batch_size).history

    whole = fit(line_anew("bfgs", "mae")).history
    # two thousandths of rounding a sweep cannot matter; see law 1
    np.testing.assert_allclose(columns["mae"], whole["mae"], rtol=1e-6)
    np.testing.assert_allclose(columns["loss"], whole["loss"], rtol=1e-10)


def test_metrics_of_every_kind_are_what_evaluate_gives():
    labels = (Y > 0).astype("float64")
    model = line(
        loss=keras.losses.BinaryCrossentropy(from_logits=True, dtype="float64"),
        metrics=["AUC", "accuracy", keras.metrics.Precision()],
    )

    columns = model.fit(
        X, labels, validation_data=(X, labels), batch_size=6, epochs=3, verbose=0
    ).history

    for name in ("AUC", "accuracy", "precision"):
        assert columns[name] == pytest.approx(columns[f"val_{name}"], rel=1e-6)


def test_each_outputs_loss_has_a_column():
    inputs = keras.Input((2,), dtype="float64")
    outputs = {
        name: keras.layers.Dense(1, name=name, dtype="float64")(inputs) for name in ("a", "b")
    }
    model = kormos.BatchOptimizedModel(inputs, outputs)
    model.compile("bfgs", {"a": "mse", "b": "mae"}, {"a": 1.0, "b": 2.0})
    y = {"a": Y, "b": -Y}

    columns = model.fit(X, y, validation_data=(X, y), epochs=2, verbose=0).history

    for name in ("a_loss", "b_loss"):
        assert columns[name] == pytest.approx(columns[f"val_{name}"], rel=1e-6)
    total = np.array(columns["a_loss"]) + 2.0 * np.array(columns["b_loss"])
    np.testing.assert_allclose(columns["loss"], total, rtol=1e-6)


def test_a_batch_size_of_the_constructor_is_for_arrays_only():
    solver = kormos.BatchOptimizer(batch_size=4)
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)

    by_arrays = fit(line(solver)).history
    by_stream = line(solver).fit(stream, verbose=0, epochs=4).history

    np.testing.assert_allclose(by_stream["loss"], by_arrays["loss"], rtol=1e-9)


def test_training_metrics_without_callbacks_are_the_same():
    watched = fit(line_anew("l-bfgs-b", "mae"), callbacks=[Watch()]).history

    assert fit(line_anew("l-bfgs-b", "mae")).history == watched


def test_weighted_metrics_are_weighted():
    weight = np.linspace(0.0, 2.0, len(X))
    watch = Watch()

    columns = fit(
        line(metrics=["mae"], weighted_metrics=["mse"]), sample_weight=weight, callbacks=[watch]
    ).history

    errors = [X @ weights[:2] + weights[2] - Y[:, 0] for weights in watch.weights]
    assert columns["mae"] == pytest.approx([np.mean(np.abs(e)) for e in errors], rel=1e-6)
    expected = [np.average(e**2, weights=weight) for e in errors]
    assert columns["mse"] == pytest.approx(expected, rel=1e-6)


def test_sample_weights_weigh_the_loss():
    weight = np.linspace(0.5, 2.0, len(X))
    model = line_anew()

    loss = fit(model, sample_weight=weight, epochs=None).history["loss"][-1]

    design = np.column_stack([X, np.ones(len(X))])
    root = np.sqrt(weight)[:, None]
    expected = np.linalg.lstsq(root * design, root * Y)[0][:, 0]
    # l-bfgs-b ends at |g| < 1e-5, and the least eigenvalue of the Hessian is near 1
    np.testing.assert_allclose(flat_weights(model), expected, atol=1e-4)
    assert loss == pytest.approx(
        np.mean(weight * (design @ flat_weights(model) - Y[:, 0]) ** 2), rel=1e-12
    )


def test_class_weights_weigh_their_classes():
    labels = (Y[:, 0] > 0).astype("int64")
    weight = np.where(labels == 1, 3.0, 0.5)

    def logistic():
        model = line(loss=keras.losses.BinaryCrossentropy(from_logits=True, dtype="float64"))
        model.set_weights([np.zeros((2, 1)), np.zeros(1)])
        return model

    by_class = logistic().fit(X, labels, class_weight={0: 0.5, 1: 3.0}, epochs=3, verbose=0)
    by_sample = logistic().fit(X, labels, sample_weight=weight, epochs=3, verbose=0)

    assert by_class.history == by_sample.history


def test_class_and_sample_weights_exclude_each_other():
    with pytest.raises(DataError, match="exclude each other"):
        fit(line_anew(), class_weight={0: 1.0}, sample_weight=np.ones(len(X)))


def test_steps_per_epoch_takes_the_first_batches():
    columns = fit(line_anew(), batch_size=5, steps_per_epoch=2).history

    assert columns == line_anew().fit(X[:10], Y[:10], batch_size=5, epochs=4, verbose=0).history


def test_steps_per_epoch_ends_an_endless_stream():
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5).repeat()

    columns = line_anew().fit(endless, steps_per_epoch=4, epochs=4, verbose=0).history

    np.testing.assert_allclose(columns["loss"], fit(line_anew()).history["loss"], rtol=1e-9)


@pytest.mark.parametrize("steps", [0, 5])
def test_steps_that_do_not_fit_the_data_are_refused(steps):
    with pytest.raises(DataError, match=f"steps_per_epoch={steps} does not fit the data"):
        fit(line_anew(), batch_size=5, steps_per_epoch=steps)


def test_a_metric_of_several_numbers_is_kept_as_an_array():
    labels = np.eye(3)[np.arange(len(X)) % 3]
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])

    columns = kormos.fit(
        model, X, labels, solver="l-bfgs-b", epochs=2, validation_data=(X, labels), verbose=2
    ).history

    assert np.shape(columns["f1_score"]) == np.shape(columns["val_f1_score"]) == (2, 3)
    np.testing.assert_allclose(columns["f1_score"], columns["val_f1_score"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["U", "O"])
def test_words_are_validated_on_as_they_are_trained_on(kind):
    words = np.array([["a"], ["b"], ["a"], ["c"]] * 5).astype(kind)
    targets = np.arange(20.0)[:, None]
    lookup = keras.layers.StringLookup(vocabulary=["a", "b", "c"], output_mode="one_hot")
    inputs = keras.Input((1,), dtype="string")
    model = kormos.BatchOptimizedModel(inputs, keras.layers.Dense(1)(lookup(inputs)))
    model.compile(optimizer="scipy:l-bfgs-b", loss="mse")

    history = model.fit(words, targets, validation_data=(words, targets), verbose=0)

    np.testing.assert_allclose(history.history["val_loss"], history.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("solver", ["scipy:l-bfgs-b", "native:lbfgs"])
@pytest.mark.parametrize(
    "held_out",
    [
        (X_VAL[:, 0], Y_VAL),
        (np.zeros((5, 7)), np.zeros((5, 1))),
        tf.data.Dataset.from_tensor_slices((np.zeros((5, 7)), np.zeros((5, 1)))).batch(5),
    ],
    ids=["flat", "wide", "dataset"],
)
def test_validation_data_of_the_wrong_shape_is_refused_before_the_first_step(solver, held_out):
    model = line(solver)
    before, told = flat_weights(model), Watch()

    with pytest.raises(DataError, match=r"on validation_data: ValueError: .*2"):
        fit(model, validation_data=held_out, callbacks=[told])

    np.testing.assert_array_equal(flat_weights(model), before)
    assert not told.logs
