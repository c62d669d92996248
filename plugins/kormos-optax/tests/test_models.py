"""Models: what users do with the solvers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import kormos
from kormos_core import Status

pytestmark = pytest.mark.backends("jax")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ [[1.0], [-2.0], [0.5]] + 0.25


class Halves(keras.utils.PyDataset):
    """The data in two batches."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(index * 20, index * 20 + 20)
        return X[rows], Y[rows]


def linear(solver, **options):
    """Make a linear model of float64."""
    optimizer = kormos.BatchOptimizer(solver, options=options)
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((3,)), layers.Dense(1, kernel_initializer="zeros", dtype="float64")]
    )
    model.compile(optimizer=optimizer, loss="mse")
    return model


@pytest.mark.parametrize(
    ("solver", "options"), [("optax:lbfgs", {}), ("optax:adam", {"learning_rate": 0.1})]
)
def test_a_model_is_trained_with_one_row_of_history_an_iteration(solver, options):
    model = linear(solver, **options)

    history = model.fit(X, Y, epochs=400, verbose=0)

    assert history.result.status in {Status.GRAD_TOL, Status.F_TOL}
    assert len(history.history["loss"]) == history.result.num_iterations
    np.testing.assert_allclose(model.get_weights()[0].ravel(), [1.0, -2.0, 0.5], atol=1e-4)


def test_a_line_search_reads_streams_in_the_graph():
    slices, stream = (linear("optax:lbfgs") for _ in range(2))

    losses = [
        slices.fit(X, Y, epochs=3, batch_size=15, verbose=0).history["loss"],
        stream.fit(Halves(), epochs=3, verbose=0).history["loss"],
    ]

    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)  # losses in float32


def test_a_fit_goes_on_where_a_file_left_it(tmp_path):
    model, path = linear("optax:adam", learning_rate=0.1), tmp_path / "model.keras"
    whole = linear("optax:adam", learning_rate=0.1).fit(X, Y, epochs=6, verbose=0)

    model.fit(X, Y, epochs=3, verbose=0)
    model.save(path)
    loaded = keras.saving.load_model(path)
    rest = loaded.fit(X, Y, epochs=6, initial_epoch=3, resume=True, verbose=0)

    np.testing.assert_allclose(rest.history["loss"], whole.history["loss"][3:], rtol=1e-9)
