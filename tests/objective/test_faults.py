from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from models import SAMPLES, Case, floatx, make, normal, regression
from oracles import RAGGED, objective_of, point_of

from kormos_core.errors import UnsupportedError
from kormos_core.objective import FunctionObjective
from kormos_core.objective.faults import unusable

MANY = 40  # samples: a trial evaluation looks at the first 32


def late_label() -> Case:
    """Give a class that there is not to a sample behind those of the trial."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer="sgd")
    y = np.arange(MANY) % 3
    y[-1] = 7
    return Case(model, normal(MANY, 3), y)


def value_in_graph(objective, x):
    return objective.compile(lambda graph, z: graph.value(z), "value")(tf.constant(x))


EVALUATIONS = {
    "value": lambda objective, x: objective.value(x),
    "gradient": lambda objective, x: objective.value_and_grad(x),
    "graph": value_in_graph,
}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("way", EVALUATIONS)
def test_an_error_of_the_backend_has_our_sentence_in_front(way, batch_size, eager):
    case = late_label()
    objective = objective_of(case, batch_size, dtype="float32", eager=eager)[0]

    with pytest.raises(UnsupportedError, match=r"^the model '.*' cannot be evaluated.*value of 7"):
        EVALUATIONS[way](objective, point_of(objective))


def test_the_batch_that_fails_is_shown():
    objective = objective_of(late_label(), 15, dtype="float32")[0]

    with pytest.raises(UnsupportedError, match=r"Inputs: float32\[10, 3\], targets: int64\[10\]"):
        objective.value(point_of(objective))


class Failing(layers.Layer):
    """A layer that raises when it is told to."""

    fails = False

    def call(self, x):
        if self.fails:
            raise RuntimeError("the layer fails")
        return x


@pytest.mark.parametrize("way", EVALUATIONS)
def test_what_fails_while_it_is_traced_has_our_sentence_in_front(way):
    failing = Failing()
    case = regression(failing)
    objective = objective_of(case, dtype="float32")[0]
    failing.fails = True

    with pytest.raises(
        UnsupportedError, match=r"cannot be evaluated.* RuntimeError: the layer"
    ) as e:
        EVALUATIONS[way](objective, point_of(objective))

    assert e.value.__cause__ is not None


def test_a_loss_written_in_numpy_is_refused():
    case = regression()
    case.model.compile(loss=lambda y, p: np.mean(np.square(np.asarray(y) - np.asarray(p))))
    objective = objective_of(case, dtype="float32")[0]

    with pytest.raises(UnsupportedError, match="NotImplementedError: Cannot convert a symbolic"):
        objective.value_and_grad(point_of(objective))


def test_a_metric_that_fails_has_our_sentence_in_front():
    class Picky(keras.metrics.Mean):
        picky = False

        def update_state(self, y_true, y_pred, sample_weight=None):
            if self.picky:
                raise RuntimeError("the metric fails")
            super().update_state(y_pred)

    metric, case = Picky(), regression()
    case.model.compile(loss="mse", metrics=[metric])
    objective, statistics = objective_of(case, RAGGED, dtype="float32")
    metric.picky = True

    with pytest.raises(UnsupportedError, match=r"cannot be evaluated.* the metric fails"):
        statistics.metrics(objective, point_of(objective))


def test_errors_of_our_own_are_passed_on():
    case = regression(layers.SpectralNormalization(layers.Dense(2)))
    objective = objective_of(case, dtype="float32")[0]

    for evaluate in EVALUATIONS.values():
        with pytest.raises(UnsupportedError, match=r"^the model assigns to its trainable weight"):
            evaluate(objective, point_of(objective))


@pytest.mark.parametrize("name", ["ResourceExhaustedError", "MemoryError"])
def test_what_does_not_fit_into_memory_has_a_cure_of_its_own(name):
    model = make("dense").model
    error = type(name, (Exception,), {})("OOM when allocating tensor")

    told = str(unusable(model, None, error))

    assert told.endswith("Pass a smaller batch_size.")


def test_a_loss_of_another_precision_has_a_cure_of_its_own():
    with floatx("float64"):
        case = regression()
    case.model.compile(loss=keras.losses.MeanSquaredError(dtype="float32"))

    told = str(unusable(case.model, None, TypeError("float32 and float64")))

    assert "call keras.config.set_floatx('float64')" in told


def test_a_function_that_fails_in_the_graph_is_told_in_our_words():
    def picky(x):
        low = tf.debugging.assert_greater(x, tf.zeros_like(x), message="too low")
        with tf.control_dependencies([low]):
            return ops.sum(x)

    objective = FunctionObjective(picky, 2)

    with pytest.raises(UnsupportedError, match=r"^the function cannot be evaluated: .*too low"):
        value_in_graph(objective, -np.ones(2))

    assert value_in_graph(objective, np.ones(SAMPLES)) == SAMPLES
