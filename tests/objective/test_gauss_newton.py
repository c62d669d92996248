"""Gauss-Newton products against dense matrices from naive Jacobians."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, losses
from models import SAMPLES, Case, classes, make, normal
from oracles import RAGGED, objective_of, point_of, relative

from kormos_core.errors import CurvatureWarning, UnsupportedError
from kormos_core.objective import FunctionObjective, Numerics

ROUNDING = 1e-10  # dense products of some hundred terms
GAUSS_NEWTON = "gauss-newton"


def model_of(loss, *body, units: int = 2, y=None) -> Case:
    """Make a small network with `units` outputs and a loss by name or instance."""
    keras.utils.set_random_seed(3)
    hidden = body or (layers.Dense(3, "tanh", kernel_regularizer="l2"),)
    model = keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(units)])
    model.compile(loss=loss, optimizer="sgd")
    return Case(model, normal(SAMPLES, 3), normal(SAMPLES, units, seed=1) if y is None else y)


def naive(case: Case, x: np.ndarray) -> np.ndarray:
    """Build J' H J from the outputs' Jacobian and the loss's Hessian, all dense."""
    model, variables = case.model, case.model.trainable_variables
    offsets = np.cumsum([0, *(int(np.prod(v.shape)) for v in variables)])
    for variable, start, stop in zip(variables, offsets, offsets[1:], strict=False):
        variable.assign(x[start:stop].reshape(variable.shape))
    with tf.GradientTape(persistent=True) as tape:
        y_pred = model(tf.constant(case.x), training=True)
        flat = tf.reshape(y_pred, [-1])
    parts = tape.jacobian(flat, [v.value for v in variables])
    jacobian = np.concatenate([np.reshape(p, (flat.shape[0], -1)) for p in parts], axis=1)
    with tf.GradientTape() as outer:
        outer.watch(flat)
        with tf.GradientTape() as inner:
            inner.watch(flat)
            outputs = tf.reshape(flat, y_pred.shape)
            f = model.compute_loss(
                y=tf.constant(case.y), y_pred=outputs, sample_weight=case.sample_weight
            )
        slope = inner.gradient(f, flat)
    curvature = outer.jacobian(slope, flat).numpy()
    hessian = jacobian.T @ curvature @ jacobian
    for variable, start, stop in zip(variables, offsets, offsets[1:], strict=False):
        if variable.regularizer is not None:  # L2(0.01), whose factor Keras rounds
            hessian[start:stop, start:stop] += 2 * float(np.float32(0.01)) * np.eye(stop - start)
    return hessian


def own_huber():
    """Make a loss that has a name of Keras's, and nothing else of it."""

    def huber(y_true, y_pred):
        return -keras.ops.square(y_true - y_pred)

    return huber


LABELS = classes()
LOSSES = {
    "mse": (lambda: "mse", 2, None),
    "mean_squared_error": (lambda: losses.mean_squared_error, 2, None),
    "sum": (lambda: losses.MeanSquaredError(reduction="sum"), 2, None),
    "huber": (lambda: losses.Huber(0.5), 2, None),
    "log_cosh": (losses.LogCosh, 2, None),
    "softmax": (lambda: losses.SparseCategoricalCrossentropy(from_logits=True), 3, LABELS),
    "sigmoid": (
        lambda: losses.BinaryCrossentropy(from_logits=True),
        1,
        (normal(SAMPLES, 1) > 0).astype(float),
    ),
    "smooth": (
        lambda: losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        3,
        np.eye(3)[LABELS],
    ),
}


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [*((name, RAGGED) for name in LOSSES), ("mse", None), ("softmax", None)],
)
def test_the_product_is_that_of_the_dense_matrix(name, batch_size, float64):
    loss, units, y = LOSSES[name]
    case = model_of(loss(), units=units, y=y)
    objective = objective_of(case, batch_size, hvp=GAUSS_NEWTON)[0]
    x, v = point_of(objective), np.random.default_rng(2).normal(size=objective.size)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        hv = objective.hvp(x, v)

    dense = naive(case, x)
    assert objective.hvp_kind == GAUSS_NEWTON
    assert relative(hv, dense @ v) < ROUNDING
    assert np.linalg.eigvalsh(dense).min() > -ROUNDING


def test_it_is_the_hessian_of_a_linear_model(float64):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_regularizer="l2")])
    model.compile(loss="mse", optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 2, seed=1))
    exact, other = objective_of(case)[0], objective_of(case, hvp=GAUSS_NEWTON)[0]
    x, v = point_of(exact), np.random.default_rng(2).normal(size=exact.size)

    assert relative(other.hvp(x, v), exact.hvp(x, v)) < ROUNDING


@pytest.mark.parametrize("name", ["masked_tokens", "convolution", "lstm", "nested_models"])
def test_it_is_positive_where_the_hessian_is_not_always(name, float64):
    case = make(name)
    if name == "nested_models":
        case = model_of("mse", keras.Sequential([keras.Input((3,)), layers.Dense(2, "tanh")]))
    objective = objective_of(case, hvp=GAUSS_NEWTON)[0]
    x, rng = point_of(objective), np.random.default_rng(0)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        forms = [v @ objective.hvp(x, v) for v in rng.normal(size=(5, objective.size))]

    assert objective.hvp_kind == GAUSS_NEWTON
    assert min(forms) >= 0.0


def test_normalization_is_no_fault_of_it(float64):
    objective = objective_of(make("layer_normalization"), hvp=GAUSS_NEWTON)[0]
    x = point_of(objective)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        objective.hvp(x, np.ones(objective.size))

    assert objective.hvp_kind == GAUSS_NEWTON


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("mae", "mean_absolute_error is not"),
        ("categorical_crossentropy", "categorical_crossentropy is not"),
        (losses.CategoricalCrossentropy(), r"CategoricalCrossentropy\(from_logits=False\) is not"),
        (losses.CosineSimilarity(), "CosineSimilarity is not"),
        (lambda y, p: p - y, "<lambda> is not"),
        (own_huber(), "huber is not"),
    ],
)
def test_a_loss_that_is_not_known_to_be_convex_is_refused(loss, told, float64):
    case = model_of(loss)

    with pytest.raises(
        UnsupportedError, match=rf"{told}.* Allowed are .*MeanSquaredError.*Use hv"
    ):
        objective_of(case, hvp=GAUSS_NEWTON)


@pytest.mark.parametrize("name", ["own_mean_loss", "added_mean"])
def test_a_loss_of_other_things_than_outputs_is_refused(name, float64):
    case = make(name)

    with pytest.raises(UnsupportedError, match=r"needs a loss of the outputs alone"):
        objective_of(case, hvp=GAUSS_NEWTON)[0].hvp(*2 * (np.ones(case.model.count_params()),))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_logits_that_keras_takes_from_behind_the_outputs_are_refused(activation, float64):
    body = (layers.Dense(3, "tanh"),)
    units = 1 if activation == "sigmoid" else 3
    model = keras.Sequential([keras.Input((3,)), *body, layers.Dense(units, activation)])
    kind = losses.BinaryCrossentropy if units == 1 else losses.SparseCategoricalCrossentropy
    model.compile(loss=kind(from_logits=True), optimizer="sgd")
    y = (LABELS > 0).astype(float)[:, None] if units == 1 else LABELS
    objective = objective_of(Case(model, normal(SAMPLES, 3), y), hvp=GAUSS_NEWTON)[0]

    with pytest.raises(UnsupportedError, match=r"does not depend on them.*Let the last layer be"):
        objective.hvp(point_of(objective), np.ones(objective.size))


def test_a_plain_function_has_none():
    with pytest.raises(UnsupportedError, match=r"a plain function has none\. Allowed are the"):
        FunctionObjective(lambda x: x[0], 1, numerics=Numerics(hvp=GAUSS_NEWTON))
