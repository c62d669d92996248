"""Solvers of every way of evaluating a model find its optimum on every backend."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from models import floatx

import kormos

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

random = np.random.default_rng(3)
X = random.normal(size=(40, 3))
Y = X @ random.normal(size=(3, 2)) + 0.5 + 0.3 * random.normal(size=(40, 2))
ONES = np.ones((40, 1))
SOLVERS = {
    "native:lbfgs": {"gtol": 1e-10, "ftol": 0.0},
    "native:lbfgs-b": {"gtol": 1e-10, "ftol": 0.0},
    "native:newton-cg": {"gtol": 1e-10, "ftol": 0.0},
    "native:trust-ncg": {"gtol": 1e-10, "ftol": 0.0},
    "native:levenberg-marquardt": {"gtol": 1e-10, "ftol": 0.0},
    "native:gauss-newton": {"gtol": 1e-10, "ftol": 0.0},
    "scipy:newton-cg": {"xtol": 1e-12},
    "scipy:trust-exact": {"gtol": 1e-10},
    "scipy:least-squares-trf": {"gtol": 1e-12, "ftol": 1e-15, "xtol": 1e-15},
}


class Batches(keras.utils.PyDataset):
    """The data in batches of 16, of which the last one is shorter."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return X[rows], Y[rows]


def distance_of(solver, *data, **how):
    """Return how far a linear regression ends from the normal equations' solution."""
    with floatx("float64"):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype="float64")])
        model.compile(loss=keras.losses.MeanSquaredError(dtype="float64"))
        kormos.fit(model, *data, solver=solver, options=SOLVERS[solver], verbose=0, **how)
    exact = np.linalg.lstsq(np.hstack([X, ONES]), Y, rcond=None)[0]
    return np.abs(np.vstack(model.get_weights()) - exact).max()


@pytest.mark.parametrize("solver", SOLVERS)
def test_arrays_in_ragged_slices_lead_to_the_optimum(solver):
    assert distance_of(solver, X, Y, batch_size=16) < 1e-7


@pytest.mark.parametrize(
    "solver", ["native:lbfgs", "native:newton-cg", "native:levenberg-marquardt"]
)
def test_a_stream_is_read_in_the_graph_to_the_optimum(solver):
    assert distance_of(solver, Batches()) < 1e-7
