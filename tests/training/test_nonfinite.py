"""NaN and infinity: told where they come from, and never left in the weights."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from training.problems import Watch, data, flat_weights, line, line_layers

import kormos
from kormos import Status

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

X, Y = data()

# one of each kind: line search, products, trust regions that recover, direct searches
KINDS = ("l-bfgs-b", "newton-cg", "trust-ncg", "trust-exact", "trust-constr", "slsqp", "tnc")
KINDS += ("nelder-mead", "powell", "cobyla", "cobyqa")
WITH_GRADIENT = KINDS[:7]
UNFORGIVING = ("l-bfgs-b", "bfgs", "newton-cg", "slsqp", "powell")


def with_nan(array: np.ndarray, *places) -> np.ndarray:
    spoiled = array.copy()
    for place in places:
        spoiled[place] = np.nan
    return spoiled


def fit_badly(model, x, y, **options):
    """Fit, and see that the user is warned with the reason."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("ignore", DeprecationWarning)  # of Keras's own
        warnings.simplefilter("always", RuntimeWarning)
        history = model.fit(x, y, verbose=0, **options)
    told = [str(warning.message) for warning in warned]
    assert told == [history.result.message]
    assert history.result.status is Status.NONFINITE
    return history


@pytest.mark.parametrize("method", KINDS)
def test_nan_in_the_input_is_named_and_changes_nothing(method):
    model = line(method)
    start = flat_weights(model)

    history = fit_badly(model, with_nan(X, (3, 1), (4, 0)), Y)

    assert "at the starting point: the input" in history.result.message
    assert "2 NaN or infinite values (batch 0)" in history.result.message
    np.testing.assert_array_equal(flat_weights(model), start)
    assert history.history == {}


@pytest.mark.parametrize("method", ["bfgs", "cobyla"])
def test_nan_in_a_later_batch_is_named_with_its_batch(method):
    history = fit_badly(line(method), with_nan(X, (13, 0)), Y, batch_size=6)

    assert "the input" in history.result.message
    assert "1 NaN or infinite values (batch 2)" in history.result.message


@pytest.mark.parametrize("method", ["bfgs", "trust-ncg", "cobyqa"])
def test_nan_in_one_of_several_inputs_is_named_by_the_input(method):
    inputs = {name: keras.Input((1,), name=name, dtype="float64") for name in ("age", "height")}
    joined = layers.Concatenate(dtype="float64")(list(inputs.values()))
    model = kormos.BatchOptimizedModel(inputs, layers.Dense(1, dtype="float64")(joined))
    model.compile(method, "mse")

    x = {"age": X[:, :1], "height": with_nan(X[:, 1:], (0, 0))}
    history = fit_badly(model, x, Y)

    assert "the input 'height' has 1 NaN" in history.result.message


@pytest.mark.parametrize("method", KINDS)
def test_nan_in_the_target_is_named(method):
    history = fit_badly(line(method), X, with_nan(Y, 2))

    assert "at the starting point: the target has 1 NaN" in history.result.message


def test_an_infinite_sample_weight_is_named():
    weight = np.ones(len(X))
    weight[5] = np.inf

    history = fit_badly(line(), X, Y, sample_weight=weight)

    assert "the sample weight has 1 NaN or infinite values" in history.result.message


def logarithm_model(method, **first):
    """Make a model whose output is the logarithm of a line."""
    keras.utils.set_random_seed(5)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((2,), dtype="float64"),
            layers.Dense(1, dtype="float64", name="unit", kernel_initializer="zeros", **first),
            layers.Lambda(ops.log, dtype="float64", name="logarithm"),
        ]
    )
    model.compile(method, loss=lambda _, y_pred: ops.mean(y_pred))
    return model


@pytest.mark.parametrize("method", KINDS)
def test_a_layer_whose_output_is_not_finite_is_named(method):
    minus_one = keras.initializers.Constant(-1.0)
    model = logarithm_model(method, bias_initializer=minus_one)
    start = flat_weights(model)

    history = fit_badly(model, X, Y)

    assert "the output of layer 'logarithm' is not finite (batch 0)" in history.result.message
    np.testing.assert_array_equal(flat_weights(model), start)


@pytest.mark.parametrize("method", WITH_GRADIENT)
def test_a_gradient_that_alone_is_not_finite_is_named_by_its_weight(method):
    keras.utils.set_random_seed(1)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((2,), dtype="float64"),
            layers.Dense(1, use_bias=False, dtype="float64", kernel_initializer="zeros"),
            layers.Lambda(lambda u: ops.sqrt(ops.square(u)), dtype="float64"),
        ]
    )
    model.compile(method, "mse")
    start = flat_weights(model)

    history = fit_badly(model, X, Y)

    assert "The gradient is not finite at the starting point" in history.result.message
    assert model.trainable_variables[0].path in history.result.message
    np.testing.assert_array_equal(flat_weights(model), start)


def test_a_method_without_gradients_does_not_mind_a_gradient_that_is_not_finite():
    root = layers.Lambda(lambda u: ops.sqrt(ops.square(u)), dtype="float64")
    model = kormos.BatchOptimizedSequentialModel([*line_layers(), root])
    model.compile("nelder-mead", "mse")
    model.set_weights([np.zeros((2, 1)), np.zeros(1)])

    history = model.fit(X, np.abs(Y), verbose=0)

    assert history.result.status is Status.X_TOL


def cliff_model(method):
    """Make a model whose loss falls towards a cliff, behind which it is NaN."""
    keras.utils.set_random_seed(5)
    model = kormos.BatchOptimizedSequentialModel(
        [
            *line_layers(kernel_initializer="zeros"),
            layers.Lambda(
                lambda u: ops.where(u < -4.0, np.nan, ops.exp(u)), dtype="float64", name="cliff"
            ),
        ]
    )
    model.compile(method, loss=lambda _, y_pred: ops.mean(y_pred))
    return model


@pytest.mark.parametrize("method", UNFORGIVING)
def test_nan_after_some_iterations_ends_at_the_best_accepted_point(method):
    model, watch = cliff_model(method), Watch()

    history = fit_badly(model, X, Y, callbacks=[watch])

    result = history.result
    assert "the output of layer 'cliff' is not finite" in result.message
    assert len(history.history.get("loss", [])) == result.num_iterations == len(watch.logs)
    best = watch.best_weights if watch.logs else np.zeros(3)
    np.testing.assert_array_equal(flat_weights(model), best)
    assert result.loss == pytest.approx(float(np.mean(np.exp(X @ best[:2] + best[2]))), rel=1e-12)


@pytest.mark.parametrize("method", ["l-bfgs-b", "bfgs", "newton-cg", "slsqp"])
def test_the_message_names_the_iteration_that_met_nan(method):
    history = fit_badly(cliff_model(method), X, Y)

    done = history.result.num_iterations
    assert done > 0
    assert f"in iteration {done + 1}: " in history.result.message
    assert history.result.message.endswith("The best point before it is kept.")


@pytest.mark.parametrize("method", UNFORGIVING)
def test_nan_that_arises_in_the_loss_is_told_as_such(method):
    model = line(method, loss=lambda _, y_pred: ops.mean(ops.log(y_pred)))
    model.set_weights([np.zeros((2, 1)), np.ones(1)])

    history = fit_badly(model, X, Y)

    assert "all layers' outputs are finite, so it arises in the loss" in history.result.message
    assert np.isfinite(flat_weights(model)).all()


@pytest.mark.parametrize("method", ["trust-ncg", "trust-constr", "nelder-mead", "cobyqa"])
def test_a_method_that_recovers_from_nan_finds_the_minimum(method):
    # least at y_pred = 1, not defined below 0: first steps from 0.01 overshoot
    model = line(method, loss=lambda _, y_pred: ops.mean(y_pred - ops.log(y_pred)))
    model.set_weights([np.zeros((2, 1)), np.full(1, 0.01)])

    history = model.fit(X, Y, verbose=0, tol=1e-8)

    assert history.result.status.converged, history.result
    # a loss flat to 1e-8 leaves parameters open to its root
    np.testing.assert_allclose(flat_weights(model), [0.0, 0.0, 1.0], atol=1e-3)


@pytest.mark.parametrize("method", ["l-bfgs-b", "nelder-mead"])
def test_an_infinite_loss_at_the_start_is_told(method):
    model = line(method, loss=lambda _, y_pred: ops.mean(1.0 / y_pred))
    model.set_weights([np.zeros((2, 1)), np.zeros(1)])

    history = fit_badly(model, X, Y)

    assert history.result.message.startswith("The loss is inf at the starting point")


@pytest.mark.parametrize("method", KINDS)
def test_a_weight_that_is_nan_at_the_start_is_named(method):
    model = line(method)
    model.set_weights([np.array([[1.0], [np.nan]]), np.zeros(1)])

    history = fit_badly(model, X, Y)

    assert history.result.message.startswith("A parameter is not finite at the starting point: ")
    assert "unit/kernel' is not finite" in history.result.message


def test_terminate_on_nan_has_nothing_left_to_do():
    terminate = keras.callbacks.TerminateOnNaN()
    history = fit_badly(cliff_model("l-bfgs-b"), X, Y, callbacks=[terminate])

    assert np.isfinite(history.history["loss"]).all()


def test_the_history_of_a_solve_that_meets_nan_has_its_validation():
    history = fit_badly(cliff_model("bfgs"), X, Y, validation_data=(0.1 * X, Y))

    assert len({len(column) for column in history.history.values()}) == 1
    assert "val_loss" in history.history


def test_a_fit_after_nan_data_works_on_good_data():
    model = line()
    fit_badly(model, with_nan(X, (0, 0)), Y)

    history = model.fit(X, Y, verbose=0)

    assert history.result.converged
