"""Residuals of models and functions against NumPy's formulas and differences."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops
from models import SAMPLES, Adding, Case, OwnLoss, make, normal, sequences
from oracles import RAGGED, objective_of, point_of, relative
from squares import (
    ROUNDING,
    WEIGHTS,
    Indexed,
    assert_differences,
    assert_laws,
    dataset,
    masked,
    objective_of_squares,
    prepared,
    regularized,
    squares_of,
)

from kormos_core.errors import CurvatureWarning, MemoryLimitError, UnsupportedError
from kormos_core.objective import FunctionObjective, Numerics, residuals
from kormos_core.objective.rows import BY_SAMPLES, DENSE

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

X, Y = normal(SAMPLES, 3), normal(SAMPLES, 2, seed=1)
EACH = {"rtol": 1e-9, "atol": 1e-14}  # of residuals, which are differences


# --- formulas ----------------------------------------------------------------------------


def over_samples(_: np.ndarray) -> float:
    return 1.0 / SAMPLES


LOSSES = {
    "string": (lambda: "mse", over_samples),
    "sum": (lambda: losses.MeanSquaredError(reduction="sum"), lambda _: 1.0),
    "mean_with_sample_weight": (
        lambda: losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        lambda weights: 1.0 / np.sum(weights),
    ),
}


@pytest.mark.parametrize("batch_size", [None, RAGGED])
@pytest.mark.parametrize("name", LOSSES)
def test_those_of_a_linear_model_are_the_formulas(name, batch_size, float64):
    loss, share = LOSSES[name]
    case = squares_of(layers.Dense(2), loss=loss(), sample_weight=WEIGHTS)
    objective = prepared(case, batch_size)
    x = point_of(objective)

    r, jac, scale = objective.residuals(x), objective.jacobian(x), objective.residual_scale()

    # f sums w_i (x_i A + b - y_i)_k**2 over samples i and the mean over the two outputs k
    expected = np.repeat(np.sqrt(2.0 * WEIGHTS * share(WEIGHTS) / 2.0), 2)
    slopes = np.concatenate([np.kron(X, np.eye(2)), np.tile(np.eye(2), (SAMPLES, 1))], axis=1)
    difference = np.ravel(X @ x[:6].reshape(3, 2) + x[6:] - Y)
    np.testing.assert_allclose(scale, expected, rtol=ROUNDING)
    np.testing.assert_allclose(r, expected * difference, **EACH)
    np.testing.assert_allclose(jac, expected[:, None] * slopes, rtol=ROUNDING, atol=1e-15)


@pytest.mark.parametrize(
    "loss",
    [
        lambda: "MeanSquaredError",
        lambda: losses.mean_squared_error,
        losses.MeanSquaredError,
        lambda: losses.MeanSquaredError(reduction="mean"),
    ],
    ids=["name", "function", "instance", "mean"],
)
def test_squared_errors_of_every_form_are_known(loss, float64):
    objective = prepared(squares_of(layers.Dense(1), loss=loss()))

    np.testing.assert_allclose(objective.residual_scale(), np.sqrt(2.0 / SAMPLES), rtol=ROUNDING)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("named", [False, True], ids=["list", "dict"])
def test_outputs_take_their_weights_and_those_without_a_loss_give_none(named, float64):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3,))
    heads = {
        "a": layers.Dense(1, name="a")(inputs),
        "b": layers.Reshape((2, 2), name="b")(layers.Dense(4)(inputs)),
        "c": layers.Dense(2, name="c")(inputs),
    }
    y = {name: normal(SAMPLES, *head.shape[1:], seed=7) for name, head in heads.items()}
    summed = losses.MeanSquaredError(reduction="sum")
    model = keras.Model(inputs, heads if named else list(heads.values()))
    model.compile(
        loss={"a": "mse", "b": summed} if named else ["mse", summed, None],
        loss_weights={"a": 0.3, "b": 1.5} if named else [0.3, 1.5, None],
        optimizer="sgd",
    )
    objective = prepared(Case(model, X, y if named else list(y.values())))
    x = point_of(objective)
    objective.program.layout.write(x)

    r = objective.residuals(x)

    a, b, _ = (ops.convert_to_numpy(part) for part in keras.tree.flatten(model(X)))
    first = np.sqrt(2.0 * 0.3 / SAMPLES) * np.ravel(a - y["a"])
    np.testing.assert_allclose(r, [*first, *np.sqrt(1.5) * np.ravel(b - y["b"])], **EACH)
    assert_laws(objective, x)


def test_weights_of_classes_are_weights_of_samples(float64):
    labels = np.arange(SAMPLES) % 3
    case = squares_of(layers.Dense(1), y=labels.astype(float))
    weighed = Case(case.model, case.x, case.y, np.array([0.0, 2.0, 1.0])[labels])
    objective = prepared(case, RAGGED, class_weight={0: 0.0, 1: 2.0})
    x = point_of(objective)

    np.testing.assert_allclose(objective.residuals(x), prepared(weighed).residuals(x), **EACH)


def test_regularized_parameters_come_after_the_data(float64):
    objective, x = objective_of_squares(regularized)
    factors = np.array([0.01, 0.3])
    if keras.config.backend() == "tensorflow":
        factors = np.float32(factors).astype(float)  # Keras rounds the factors
    root = np.sqrt(2.0 * np.repeat(factors, [12, 4]))

    r, jac = objective.residuals(x), objective.jacobian(x)

    assert r.size == 2 * SAMPLES + 16
    np.testing.assert_allclose(r[-16:], root * x[:16], rtol=ROUNDING)
    np.testing.assert_allclose(jac[-16:], np.eye(16, x.size) * root[:, None], rtol=ROUNDING)


def test_frozen_layers_have_neither_columns_nor_penalties(float64):
    objective = prepared(make("frozen_layer"))
    x = point_of(objective)

    assert objective.jacobian(x).shape == (SAMPLES + 6, 11)  # with the regularized kernel's 6
    r = objective.residuals(x)
    assert 0.5 * r @ r == pytest.approx(objective.value(x), rel=ROUNDING)


def test_masked_tokens_weigh_nothing(float64):
    objective, _ = objective_of_squares(masked)

    scale = objective.residual_scale()[: SAMPLES * 4].reshape(SAMPLES, 4)
    np.testing.assert_array_equal(scale > 0.0, sequences() > 0)


# --- laws --------------------------------------------------------------------------------


@pytest.mark.parametrize("make_case", [regularized, masked])
def test_residuals_are_half_of_the_loss_and_the_jacobian_their_slopes(make_case, float64):
    objective, x = objective_of_squares(make_case)

    assert_laws(objective, x)
    assert_differences(objective, x)


@pytest.mark.parametrize(("make_case", "batch_size"), [(regularized, 12), (masked, RAGGED)])
def test_the_size_of_batches_changes_nothing(make_case, batch_size, float64):
    (one, x), (other, _) = (objective_of_squares(make_case, size) for size in (None, batch_size))
    v, r, jac = np.cos(np.arange(x.size)), one.residuals(x), one.jacobian(x)

    np.testing.assert_allclose(other.residuals(x), r, **EACH)
    assert relative(other.jacobian(x), jac) < ROUNDING
    assert relative(other.jvp(x, v), jac @ v) < ROUNDING
    assert relative(other.vjp(x, r), jac.T @ r) < ROUNDING
    assert relative(other.ggn_vp(x, v), jac.T @ (jac @ v)) < ROUNDING


@pytest.mark.parametrize("stream", [dataset, Indexed])
def test_streams_give_what_arrays_give(stream, float64):
    (one, x), case = objective_of_squares(regularized), regularized()

    other = prepared(case, stream=stream(case))

    np.testing.assert_allclose(other.residuals(x), one.residuals(x), **EACH)


@pytest.mark.backends("tensorflow", "torch")  # on JAX what is not compiled is rounded by Keras
def test_they_are_the_same_uncompiled(float64):
    (one, x), other = objective_of_squares(regularized), prepared(regularized(), eager=True)

    np.testing.assert_allclose(other.residuals(x), one.residuals(x), **EACH)
    assert_laws(other, x)


def test_counts_are_honest_and_preparing_counts_nothing(float64):
    objective = prepared(squares_of(layers.Dense(1)))
    x = point_of(objective)
    before = objective.counts.fg, objective.counts.hvp

    r = objective.residuals(x)
    objective.jacobian(x)
    objective.jvp(x, x)
    objective.vjp(x, r)
    objective.ggn_vp(x, x)

    counts = objective.counts
    assert before == (0, 0)
    assert (counts.value, counts.value_and_grad, counts.hvp) == (1, 1, 3)


# --- kinds of models ---------------------------------------------------------------------


def recurrent(layer: layers.Layer) -> Case:
    return squares_of(layer, layers.Dense(1), shape=(2, 1))


def attention() -> Case:
    inputs = keras.Input((2, 2))
    hidden = layers.MultiHeadAttention(1, 2)(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(hidden)))
    model.compile(loss="mse", optimizer="sgd")
    return Case(model, normal(SAMPLES, 2, 2), normal(SAMPLES, 1, seed=1))


def convolution() -> Case:
    body = (layers.Conv2D(2, 2, activation="tanh"), layers.MaxPooling2D(), layers.Flatten())
    return squares_of(*body, layers.Dense(1), shape=(5, 5, 1))


def batch_normalization() -> Case:
    return squares_of(layers.Dense(2), layers.BatchNormalization(), layers.Dense(1))


def dropout() -> Case:
    return squares_of(layers.Dense(6, "tanh"), layers.Dropout(0.5), layers.Dense(1))


KINDS = {
    "lstm": (lambda: recurrent(layers.LSTM(1)), DENSE),  # it has a seed, for dropout
    "gru": (lambda: recurrent(layers.GRU(1, return_sequences=True)), DENSE),
    "attention": (attention, BY_SAMPLES),
    "convolution": (convolution, BY_SAMPLES),
    "batch normalization": (batch_normalization, DENSE),
    "dropout": (dropout, DENSE),
}


@pytest.mark.parametrize("name", KINDS)
def test_jacobians_are_the_slopes_of_all_kinds_of_models(name, float64):
    make_case, rows = KINDS[name]
    objective, x = objective_of_squares(make_case)

    r, jac = objective.residuals(x), objective.jacobian(x)

    assert objective._rows == rows
    assert relative(jac.T @ r, objective.value_and_grad(x)[1]) < ROUNDING
    assert_differences(objective, x)


def test_noise_is_frozen(float64):
    objective, x = objective_of_squares(dropout)
    quiet = prepared(dropout(), training=False)

    r = objective.residuals(x)

    np.testing.assert_array_equal(objective.residuals(x), r)
    assert relative(r, quiet.residuals(x)) > 0.01
    assert quiet._rows == DENSE  # it has a seed, whatever becomes of it


# --- refusals ----------------------------------------------------------------------------


def added(**options: Any) -> Case:
    return squares_of(layers.Dense(2, **options))


def own_loss() -> Case:
    model = OwnLoss(ops.mean)
    model.compile(optimizer="sgd")
    return Case(model, X, Y[:, :1])


def without_a_loss() -> Case:
    regularized = layers.Dense(1, kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((3,)), regularized])
    model.compile(loss=None, optimizer="sgd")
    return Case(model, X, None)


REFUSED = {
    "another loss": (lambda: squares_of(layers.Dense(2), loss="mae"), r"is mean_absolute_error"),
    "a function": (
        lambda: squares_of(layers.Dense(2), loss=lambda y, p: ops.mean(ops.square(y - p))),
        r"is <lambda>\. Allowed are losses .*LeastSquaresMixin.*Use one, or a solver of another",
    ),
    "a subclass": (
        lambda: squares_of(layers.Dense(2), loss=type("Own", (losses.MeanSquaredError,), {})()),
        r"is Own\. Allowed",
    ),
    "compute_loss": (own_loss, r"OwnLoss overrides compute_loss\. Allowed"),
    "no loss": (without_a_loss, r"there are no residuals: the model .* has no loss"),
    "L1": (
        lambda: added(kernel_regularizer="l1"),
        r"L1 of '.*kernel' is not a sum of squares\. Allowed .*L2\. Use it",
    ),
    "L1L2": (lambda: added(bias_regularizer=keras.regularizers.L1L2(0.1, 0.1)), r"L1L2 of '.*b"),
    "activity": (lambda: added(activity_regularizer="l2"), r"1 of the model's losses come from"),
    "add_loss": (
        lambda: squares_of(layers.Dense(2), Adding(lambda x: ops.mean(ops.square(x)))),
        r"needs a loss of the outputs alone: 1 of the model's losses come from add_loss",
    ),
    "weights below 0": (
        lambda: squares_of(layers.Dense(2), sample_weight=-WEIGHTS),
        r"the loss is -.* it holds more than them, or weights below 0\. Allowed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sum_of_squares_is_refused(name, float64):
    make_case, message = REFUSED[name]
    objective = objective_of(make_case())[0]

    with pytest.raises(UnsupportedError, match=message):
        objective.prepare_residuals(point_of(objective))


def test_a_jacobian_that_no_memory_holds_is_refused(monkeypatch, float64):
    objective, x = objective_of_squares(regularized)
    monkeypatch.setattr(residuals, "JACOBIAN_LIMIT", 2 * SAMPLES * x.size - 1)

    with pytest.raises(
        MemoryLimitError, match=r"of 26 residuals and 26 parameters would have 676 num.*in slices"
    ):
        objective.jacobian(x)


def test_a_method_that_is_called_alike_makes_no_residuals(float64):
    class Own(keras.Sequential):
        def compute_residuals(self):
            raise NotImplementedError

    model = Own([keras.Input((3,)), layers.Dense(2)])
    model.compile(loss="mse", optimizer="sgd")
    objective = prepared(Case(model, X, Y))

    assert objective.num_residuals == 2 * SAMPLES


# --- functions ---------------------------------------------------------------------------


def curves(x):
    """Give two terms, one of them of two axes."""
    t = ops.convert_to_tensor(np.linspace(0.0, 1.0, 6))
    return {"b": x[0] * ops.exp(-x[1] * t), "a": ops.outer(x, x[:2])}


def test_a_function_gives_them_in_the_order_of_its_terms():
    objective = FunctionObjective(curves, 3, squares=True)
    x = np.array([0.5, -1.0, 2.0])

    expected = [*np.ravel(np.outer(x, x[:2])), *0.5 * np.exp(np.linspace(0.0, 1.0, 6))]
    np.testing.assert_allclose(objective.residuals(x), expected, rtol=ROUNDING)
    np.testing.assert_array_equal(objective.residual_scale(), 1.0)
    assert_laws(objective, x)
    assert_differences(objective, x)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_products_of_gauss_and_newton_of_a_function_are_those_of_its_jacobian(precision):
    numerics = Numerics(hvp="gauss-newton", precision=precision)
    objective = FunctionObjective(curves, 3, squares=True, numerics=numerics)
    x, v = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, -1.0])
    jac = objective.jacobian(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        hv = objective.hvp(x, v)

    assert relative(hv, jac.T @ (jac @ v)) < ROUNDING


def test_a_function_need_not_exist_at_zero():
    # its factorization raises there
    objective = FunctionObjective(lambda x: ops.cholesky(ops.diag(x)), 2, squares=True)
    x = np.array([4.0, 9.0])

    objective.prepare_residuals(x)

    assert objective.num_residuals == 4
    np.testing.assert_allclose(objective.vjp(x, np.ones(4)), [0.25, 1.0 / 6.0], rtol=ROUNDING)


def test_a_function_of_a_single_number_has_none():
    objective = FunctionObjective(ops.sum, 2)

    with pytest.raises(UnsupportedError, match=r"gives a single number\. Allowed.*least_squares"):
        objective.prepare_residuals(np.ones(2))
