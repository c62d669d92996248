"""Rows of Jacobians in the graph: sums of squares that in-graph solvers see."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import Case, normal
from oracles import RAGGED, point_of, relative
from squares import (
    ROUNDING,
    assert_gram,
    assert_laws,
    assert_sums,
    dataset,
    linear,
    masked,
    objective_of_squares,
    prepared,
    regularized,
    squares_of,
)

from kormos_core.data import adapt
from kormos_core.objective import FunctionObjective, Settings, build_objective, rows
from kormos_core.objective.rows import BY_SAMPLES, DENSE

pytestmark = pytest.mark.backends("tensorflow", "torch")


class Repeated(layers.Layer):
    """Apply one kernel three times, in a loop: a recurrent layer without a seed."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        return ops.fori_loop(0, 3, lambda _, y: ops.sigmoid(ops.matmul(y, self.kernel)), x)


WAYS = {
    "whole": (regularized, {}, BY_SAMPLES),
    "whole, dense": (regularized, {}, DENSE),
    "slices": (linear, {"batch_size": RAGGED}, BY_SAMPLES),
    "slices, dense": (linear, {"batch_size": RAGGED}, DENSE),
    "stream": (linear, {"streams": True}, BY_SAMPLES),
    "stream, dense": (linear, {"streams": True}, DENSE),
}


@pytest.mark.parametrize("way", WAYS)
def test_sums_are_those_of_the_jacobian_on_every_way_through_the_data(way, float64):
    make_case, options, how = WAYS[way]
    objective, x = objective_of_squares(make_case, **options)

    assert_sums(objective, x, how)


def test_weights_and_masks_of_tokens_are_those_of_their_rows(float64):
    objective, x = objective_of_squares(masked, RAGGED)

    assert objective._rows == BY_SAMPLES
    assert_gram(objective, x)


def test_the_product_of_gauss_and_newton_is_that_of_the_jacobian(float64):
    objective, x = objective_of_squares(regularized)
    jac, v = objective.jacobian(x), np.cos(np.arange(x.size))

    product = objective.compile(lambda graph, x, v: graph.gauss_newton_at(x)(v), ("product",))

    assert relative(product(x, v), jac.T @ (jac @ v)) < ROUNDING


@pytest.mark.parametrize(
    ("how", "numbers"),
    [(BY_SAMPLES, 5 * 2 * 8), (DENSE, 5 * 4 * 26)],
    ids=["samples", "units"],
)
def test_blocks_of_rows_add_up(how, numbers, monkeypatch, float64):
    # blocks of five: of 13 samples, and of 8 parameters
    monkeypatch.setattr(rows, "_NUMBERS", numbers)
    objective = prepared(linear())

    assert_sums(objective, point_of(objective), how)


@pytest.mark.backends("tensorflow")
def test_xla_makes_them_too(float64):
    objective = prepared(linear(), jit=True)

    assert_sums(objective, point_of(objective))


@pytest.mark.backends("tensorflow", "torch")  # on JAX what is not compiled is rounded by Keras
def test_they_are_there_uncompiled(float64):
    objective = prepared(linear(), RAGGED, eager=True)

    assert_sums(objective, point_of(objective))


def test_float32_keeps_to_its_precision():
    objective = prepared(regularized(), dtype="float32")

    assert_sums(objective, point_of(objective), rounding=1e-5)  # sums of float32


def test_batch_statistics_and_noise_are_those_of_the_whole_batch(float64):
    body = (layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(1))
    objective = prepared(squares_of(*body))

    assert objective._rows == DENSE
    assert_gram(objective, point_of(objective))


@pytest.mark.parametrize("streams", [False, True], ids=["back", "forward"])
def test_rows_of_models_with_loops_are_made_one_by_one(streams, float64):
    # of a stream the number of residuals is not known, and columns are made
    case = squares_of(Repeated(), layers.Dense(1))
    objective = prepared(case, stream=dataset(case) if streams else None)

    assert objective._rows == BY_SAMPLES  # samples stand alone, and yet loops take no batch
    assert_gram(objective, point_of(objective))


def test_a_first_batch_of_one_sample_tells_nothing_of_the_others(float64):
    case = squares_of(layers.BatchNormalization(), layers.Dense(1))

    assert prepared(case, stream=dataset(case, (1, 6, 6)))._rows == DENSE


@pytest.mark.backends("tensorflow")
def test_sequences_may_change_their_length_from_batch_to_batch(float64):
    import tensorflow as tf

    model = keras.Sequential([keras.Input((None, 2)), layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")
    signature = tuple(tf.TensorSpec((None, None, size), tf.float64) for size in (2, 1))
    batches = [(normal(4, k, 2, seed=k), normal(4, k, 1, seed=2 * k)) for k in (3, 5)]
    source = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    objective = prepared(Case(model, None, None), stream=source)

    assert objective.num_residuals == 4 * 3 + 4 * 5
    assert_gram(objective, point_of(objective))


def test_an_objective_that_was_not_prepared_has_its_penalties_all_the_same(float64):
    case = linear()
    batches = adapt(case.x, case.y, case.sample_weight, float_dtype="float64")
    objective = build_objective(case.model, batches, settings=Settings())[0]
    x = point_of(objective)

    statistics = objective.fit_statistics(x)

    jac = objective.jacobian(x)
    assert statistics.penalized
    np.testing.assert_allclose(statistics.factor.T @ statistics.factor, jac.T @ jac, atol=1e-12)


@pytest.mark.parametrize("size", [2, 5], ids=["more residuals", "more parameters"])
def test_functions_have_them(size):
    matrix = np.random.default_rng(0).normal(size=(3, size))

    def function(x):
        return [ops.tanh(ops.sum(ops.convert_to_tensor(matrix) * x, axis=1)), x[:1] ** 2]

    objective = FunctionObjective(function, size, squares=True)
    x = np.linspace(0.3, 1.0, size)

    assert_laws(objective, x)
    assert_sums(objective, x)
