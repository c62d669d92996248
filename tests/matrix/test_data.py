"""Data of every form, weighted in every way, with every family of solvers."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from matrix.families import (
    EVALUATED,
    FAMILIES,
    ONE_OF_EACH,
    OPTIMUM,
    SAMPLES,
    TIGHT,
    Shared,
    best_line,
    column,
    evaluated,
    least_squares,
    line,
    line_data,
    normal,
)

import kormos
from kormos_core.errors import DataError

X, Y = line_data()
WEIGHT = np.linspace(0.2, 2.0, SAMPLES)
DESIGN = column(X)
MINIMUM = best_line()[1]
WEIGHTED = least_squares(DESIGN, Y[:, 0], WEIGHT)[1] / SAMPLES
PARTS = [slice(0, 9), slice(9, 18), slice(18, SAMPLES)]

LINE = Shared(line)


def batches(*arrays):
    return [tuple(array[part] for array in arrays) for part in PARTS]


# --- arrays ----------------------------------------------------------------------------------


ARRAYS = {
    "NumPy": lambda: (X, Y),
    "tensors": lambda: (tf.constant(X), tf.constant(Y)),
    "frame and series": lambda: (pd.DataFrame(X, columns=["u", "v"]), pd.Series(Y[:, 0])),
}


@pytest.mark.parametrize("form", ARRAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_arrays_of_every_form_give_the_same_minimum(family, form):
    result = LINE.fit(family, *ARRAYS[form]()).result

    assert result.loss == pytest.approx(MINIMUM, rel=OPTIMUM)


@pytest.mark.parametrize("family", ["scipy:newton-cg", "native:lbfgs"])
def test_targets_in_a_flat_list_are_those_of_a_column(family):
    by_column = LINE.fit(family, X, Y).result

    by_list = LINE.fit(family, X, Y[:, 0].tolist()).result

    assert by_list.loss == pytest.approx(by_column.loss, rel=EVALUATED)


def named(**how):
    inputs = {name: keras.Input((1,), name=name) for name in ("u", "v")}
    joined = layers.Concatenate()([inputs["u"], inputs["v"]])
    model = kormos.BatchOptimizedModel(inputs, layers.Dense(1)(joined))
    model.compile(loss="mse", **how)
    return model


NAMED = Shared(named)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_columns_of_a_frame_go_to_inputs_of_their_names(family):
    frame = pd.DataFrame({"v": X[:, 1], "u": X[:, 0]})

    result = NAMED.fit(family, dict(frame), Y, batch_size=9).result

    assert result.loss == pytest.approx(MINIMUM, rel=OPTIMUM)


# --- streams ---------------------------------------------------------------------------------


class Rows(keras.utils.PyDataset):
    """Batches by their number."""

    def __init__(self, *arrays, noise=0.0):
        super().__init__()
        self._batches, self._noise = batches(*arrays), noise
        self._random = np.random.default_rng(1)

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        x, *rest = self._batches[index]
        return (x + self._noise * self._random.normal(size=x.shape), *rest)


class Again:
    """An iterable that is gone through anew each time."""

    def __init__(self, *arrays):
        self._arrays = arrays

    def __iter__(self):
        return iter(batches(*self._arrays))


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(9)


STREAMS = {
    "tf.data": (dataset, None),
    "endless tf.data": (lambda *arrays: dataset(*arrays).repeat(), 3),
    "PyDataset": (Rows, None),
    "generator": (lambda *arrays: (batch for batch in batches(*arrays)), None),
    "endless generator": (lambda *arrays: itertools.cycle(batches(*arrays)), 3),
    "iterable": (Again, None),
}


WAYS = [(family, "tf.data") for family in FAMILIES if not family.startswith("tfp:")]
WAYS += [
    (family, kind)
    for family in ("scipy:l-bfgs-b", "native:newton-cg")
    for kind in STREAMS
    if kind != "tf.data"
]


@pytest.mark.parametrize(("family", "kind"), [*WAYS, ("tfp:l-bfgs", "PyDataset")])
def test_weighted_streams_of_every_form_give_the_minimum_of_the_arrays(family, kind):
    make, steps = STREAMS[kind]

    history = LINE.fit(family, make(X, Y, WEIGHT), steps_per_epoch=steps)

    assert history.result.loss == pytest.approx(WEIGHTED, rel=OPTIMUM)
    told = evaluated(history.model, X, Y, WEIGHT)
    assert history.result.loss == pytest.approx(told["loss"], rel=EVALUATED)


def test_the_search_of_tfp_reads_a_stream_in_the_graph():
    model = line(optimizer="tfp:l-bfgs", jit_compile=False)

    result = model.fit(dataset(X, Y), verbose=0, options=TIGHT["tfp:l-bfgs"]).result

    assert result.loss == pytest.approx(MINIMUM, rel=OPTIMUM)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_an_endless_dataset_without_steps_is_refused(family):
    with pytest.raises(DataError, match=r"is endless: a tf.data.Dataset .* Pass steps_per_epoch"):
        LINE.fit(family, dataset(X, Y).repeat())


def augmented():
    random = np.random.default_rng(2)

    def shift(x, y):
        noise = tf.numpy_function(lambda a: random.normal(size=a.shape), [x], tf.float64)
        return x + tf.reshape(noise, tf.shape(x)), y

    return dataset(X, Y).map(shift)


CHANGING = {
    "shuffled": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(SAMPLES).batch(9),
    "augmented": augmented,
    "PyDataset": lambda: Rows(X, Y, noise=0.1),
}


@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_data_that_changes_from_sweep_to_sweep_is_refused(family, kind):
    with pytest.raises(DataError, match=r"changes from sweep to sweep.*Take out what shuffles"):
        LINE.fit(family, CHANGING[kind]())


# --- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["scipy:newton-cg", "native:newton-cg"])
def test_sample_weights_weigh_in_slices_as_in_one_batch(family):
    results = [
        LINE.fit(family, X, Y, sample_weight=WEIGHT, batch_size=size).result for size in (None, 9)
    ]

    assert [result.loss for result in results] == pytest.approx([WEIGHTED] * 2, rel=OPTIMUM)


@pytest.mark.parametrize(
    ("family", "stream"),
    [*((family, False) for family in FAMILIES), ("scipy:l-bfgs-b", True), ("native:lbfgs", True)],
)
def test_class_weights_weigh_their_classes_and_others_by_one(family, stream):
    labels = np.arange(SAMPLES) % 3
    weight = np.array([0.5, 1.0, 3.0])[labels]
    y = labels[:, None].astype("float64")
    arrays = (dataset(X, y),) if stream else (X, y)

    history = LINE.fit(family, *arrays, class_weight={0: 0.5, 2: 3.0})

    expected = least_squares(DESIGN, y[:, 0], weight)[1] / SAMPLES
    assert history.result.loss == pytest.approx(expected, rel=OPTIMUM)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_class_and_sample_weights_exclude_each_other_as_in_keras(family):
    with pytest.raises(DataError, match="class_weight and sample_weight exclude each other"):
        LINE.fit(family, X, Y, class_weight={0: 2.0}, sample_weight=WEIGHT)
    keras_own = line(optimizer="sgd")
    with pytest.raises(ValueError, match=r"cannot `class_weight` and `sample_weight` at the same"):
        keras_own.fit(X, Y, class_weight={0: 2.0}, sample_weight=WEIGHT, verbose=0)


# --- masks and weights of timesteps ----------------------------------------------------------


STEPS = normal(SAMPLES, 4, 2)
for row in range(SAMPLES):
    STEPS[row, 1 + row % 4 :] = 0.0  # what Masking takes for padding
CURVE = normal(SAMPLES, 4, 1, seed=5)
TEMPORAL = np.abs(normal(SAMPLES, 4, seed=6))


def masked(**how):
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((4, 2)), layers.Masking(), layers.Dense(1)]
    )
    model.compile(loss="mse", **how)
    return model


MASKED = Shared(masked)


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_steps_and_their_weights_count_in_slices_as_in_one_batch(family):
    history = MASKED.fit(family, STEPS, CURVE, sample_weight=TEMPORAL, batch_size=9)

    valid = (STEPS != 0.0).any(axis=-1).ravel()
    design = column(STEPS).reshape(-1, 3)
    weight = TEMPORAL.ravel() * valid
    # Keras divides by the number of steps that are not masked
    expected = least_squares(design, CURVE.ravel(), weight)[1] / valid.sum()
    assert history.result.loss == pytest.approx(expected, rel=OPTIMUM)
    told = evaluated(history.model, STEPS, CURVE, TEMPORAL)
    assert history.result.loss == pytest.approx(told["loss"], rel=EVALUATED)


# --- validation ------------------------------------------------------------------------------


HELD_OUT = line_data(seed=9)


@pytest.mark.parametrize("family", ["scipy:newton-cg", "native:lbfgs", "tfp:l-bfgs"])
def test_validation_is_made_where_it_is_due_and_epochs_go_on(family):
    stream = dataset(*HELD_OUT)
    arguments = {"initial_epoch": 2, "epochs": 6, "options": None}

    every = LINE.fit(
        family, X, Y, validation_data=stream, validation_steps=2, validation_freq=2, **arguments
    )
    listed = LINE.fit(
        family,
        X,
        Y,
        validation_data=HELD_OUT,
        validation_batch_size=18,
        validation_steps=1,
        validation_freq=[3, 6],
        **arguments,
    )

    assert every.epoch == listed.epoch == list(range(2, 2 + len(every.epoch)))
    due = [epoch for epoch in every.epoch if (epoch + 1) % 2 == 0]
    assert len(every.history["val_loss"]) == len(due)
    in_list = [epoch for epoch in listed.epoch if epoch + 1 in {3, 6}]
    assert len(listed.history["val_loss"]) == len(in_list)
    assert listed.history["loss"] == every.history["loss"]


@pytest.mark.parametrize("family", ["scipy:l-bfgs-b", "native:lbfgs"])
def test_a_split_trains_on_the_first_and_validates_on_the_last_samples(family):
    at = 17

    history = LINE.fit(family, X, Y, validation_split=0.25)

    expected = least_squares(DESIGN[:at], Y[:at, 0])[1] / at
    assert history.result.loss == pytest.approx(expected, rel=OPTIMUM)
    told = evaluated(history.model, X[at:], Y[at:])
    # the last validated iterate is the result, but for what the solver came to after it
    assert history.history["val_loss"][-1] == pytest.approx(told["loss"], rel=1e-5)
