"""Words and categories through preprocessing layers inside the model, with every family."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from matrix.families import (
    EVALUATED,
    FAMILIES,
    OPTIMUM,
    SAMPLES,
    Shared,
    evaluated,
    least_squares,
    line_data,
)

import kormos

CITIES = np.array(["Rome", "Oslo", "Lima"])
WORDS = ("red", "green", "blue")
PLACE = CITIES[np.arange(SAMPLES) % 3][:, None]
TEXT = np.array([" ".join(WORDS[: 1 + row % 3]) for row in range(SAMPLES)])
AGE = (20 + np.arange(SAMPLES) % 7)[:, None]  # integers, which stay integers
Y = line_data()[1]


def mixed(**how):
    """Make a line of one-hot cities, words that occur, and one-hot decades."""
    place = keras.Input((1,), dtype="string", name="place")
    text = keras.Input((), dtype="string", name="text")
    age = keras.Input((1,), dtype="int32", name="age")
    cities = layers.StringLookup(vocabulary=list(CITIES), output_mode="multi_hot")
    words = layers.TextVectorization(vocabulary=list(WORDS), output_mode="multi_hot")
    ages = layers.IntegerLookup(vocabulary=[20, 21, 22, 23], output_mode="multi_hot")
    joined = layers.Concatenate()([cities(place), words(text), ages(age)])
    unit = layers.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01))
    model = kormos.BatchOptimizedModel({"place": place, "text": text, "age": age}, unit(joined))
    model.compile(loss="mse", **how)
    return model


MIXED = Shared(mixed)
X = {"place": PLACE, "text": TEXT, "age": AGE}


def design():
    """Write the same columns down by hand; the first of each kind is for what is unknown."""
    places = PLACE == CITIES
    words = np.array([[word in row for word in WORDS] for row in TEXT])
    ages = np.array([20, 21, 22, 23]) == AGE
    unknown = np.zeros((SAMPLES, 1), bool)
    return np.concatenate([unknown, places, unknown, words, (AGE > 23), ages], axis=1) * 1.0


def ridge():
    rows = np.concatenate([design(), np.sqrt(0.01 * SAMPLES) * np.eye(design().shape[1])])
    return least_squares(rows, np.append(Y[:, 0], np.zeros(design().shape[1])))[1] / SAMPLES


@pytest.mark.parametrize("family", FAMILIES)
def test_words_and_integers_are_looked_up_inside_the_model(family):
    history = MIXED.fit(family, X, Y)

    # the factor of the penalty is a float32 in Keras: 0.01 to eight digits
    assert history.result.loss == pytest.approx(ridge(), rel=1e-7)
    # Keras itself takes strings as tensors only
    told = evaluated(
        history.model, X | {"place": tf.constant(PLACE), "text": tf.constant(TEXT)}, Y
    )
    assert history.result.loss == pytest.approx(told["loss"], rel=EVALUATED)


@pytest.mark.parametrize("family", ["scipy:newton-cg", "native:lbfgs"])
def test_words_come_in_slices_and_in_streams(family):
    whole = MIXED.fit(family, X, Y).result.loss

    sliced = MIXED.fit(family, X, Y, batch_size=9).result.loss
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(9)
    streamed = MIXED.fit(family, stream).result.loss

    assert [sliced, streamed] == pytest.approx([whole, whole], rel=OPTIMUM)
