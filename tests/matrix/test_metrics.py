"""Metrics of every form, in every row of the history, with every family of solvers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from matrix.families import FAMILIES, SAMPLES, Shared, column, normal

import kormos

X = normal(SAMPLES, 2)
Y = {
    "price": X @ [[1.0], [2.0]] + normal(SAMPLES, 1, seed=1),
    "kind": (X[:, :1] + 0.5 * normal(SAMPLES, 1, seed=2) > 0).astype("float64"),
}
WEIGHT = {"price": np.linspace(0.0, 2.0, SAMPLES), "kind": np.linspace(3.0, 1.0, SAMPLES)}
METRICS = {"price": "mae", "kind": ["accuracy", keras.metrics.AUC(name="area")]}
WEIGHTED = {"price": [keras.metrics.MeanAbsoluteError(name="weighted")]}


def measured(**how):
    inputs = keras.Input((2,))
    outputs = {
        "price": layers.Dense(1, name="price")(inputs),
        "kind": layers.Dense(1, activation="sigmoid", name="kind")(inputs),
    }
    model = kormos.BatchOptimizedModel(inputs, outputs)
    losses = {"price": "mse", "kind": "binary_crossentropy"}
    model.compile(loss=losses, metrics=METRICS, weighted_metrics=WEIGHTED, **how)
    return model


MEASURED = Shared(measured)
NAMES = ("price_mae", "price_weighted", "kind_accuracy", "kind_area", "price_loss", "kind_loss")


class Weights(keras.callbacks.Callback):
    """Write down the weights of each iterate."""

    def __init__(self):
        super().__init__()
        self.kernels = []

    def on_epoch_end(self, epoch, logs=None):
        unit = self.model.get_layer("price")
        self.kernels.append(np.concatenate([np.ravel(w) for w in unit.get_weights()]))


@pytest.mark.parametrize("family", FAMILIES)
def test_metrics_of_each_iterate_are_those_that_evaluate_gives(family):
    watch = Weights()

    columns = MEASURED.fit(
        family,
        X,
        Y,
        sample_weight=WEIGHT,
        validation_data=(X, Y, WEIGHT),
        epochs=3,
        batch_size=9,
        validation_batch_size=SAMPLES,  # Keras's own mean over ragged batches is another
        callbacks=[watch],
    ).history

    # Keras evaluates the validation data, which are the training data; metrics are float32
    for name in NAMES:
        np.testing.assert_allclose(columns[name], columns[f"val_{name}"], rtol=1e-5)
    errors = [np.abs(column(X) @ kernel - Y["price"][:, 0]) for kernel in watch.kernels]
    assert columns["price_mae"] == pytest.approx([np.mean(e) for e in errors], rel=1e-6)
    weighted = [np.average(e, weights=WEIGHT["price"]) for e in errors]
    assert columns["price_weighted"] == pytest.approx(weighted, rel=1e-6)
    assert len(errors) == 3
