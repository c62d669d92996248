"""Keras's wrappers for scikit-learn around models of kormos."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kormos
from kormos_core.errors import UnsupportedError

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=60)
KINDS = np.array(["low", "middle", "high"])[(Y > -1).astype(int) + (Y > 1)]
SOLVERS = ["scipy:l-bfgs-b", "native:lbfgs", "native:newton-cg"]


@pytest.fixture(autouse=True)
def silence():
    """Let `predict`, which the wrappers call without arguments, show no progress."""
    keras.utils.disable_interactive_logging()
    yield
    keras.utils.enable_interactive_logging()


def layers(units=1, activation=None, penalty=0.0):
    keras.utils.set_random_seed(0)
    return [
        keras.Input((3,), dtype="float64"),
        keras.layers.Dense(
            units,
            activation=activation,
            kernel_regularizer=keras.regularizers.L2(penalty),
            dtype="float64",
        ),
    ]


def line(X, y, solver="scipy:l-bfgs-b"):
    """Make a linear model, as the wrapper asks for one."""
    model = kormos.BatchOptimizedSequentialModel(layers())
    model.compile(optimizer=solver, loss="mse")
    return model


def softmax(X, y, solver="scipy:l-bfgs-b", penalty=1e-2):
    """Make a softmax regression for targets of one column for each class."""
    model = kormos.BatchOptimizedSequentialModel(layers(y.shape[1], "softmax", penalty))
    model.compile(optimizer=solver, loss="categorical_crossentropy")
    return model


def regressor(**model_kwargs):
    return keras.wrappers.SKLearnRegressor(
        line, model_kwargs=model_kwargs, fit_kwargs={"verbose": 0}
    )


def classifier(**model_kwargs):
    return keras.wrappers.SKLearnClassifier(
        softmax, model_kwargs=model_kwargs, fit_kwargs={"verbose": 0}
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_regressor_is_least_squares(solver):
    estimator = regressor(solver=solver).fit(X, Y)

    oracle = LinearRegression().fit(X, Y)
    assert estimator.history_.result.converged
    # a gradient norm of 1e-4, over curvatures near 1, is as much in the weights
    np.testing.assert_allclose(estimator.predict(X), oracle.predict(X), atol=1e-3)
    assert estimator.score(X, Y) == pytest.approx(oracle.score(X, Y), abs=1e-6)


@pytest.mark.parametrize("solver", SOLVERS[:2])
def test_a_classifier_is_logistic_regression(solver):
    estimator = classifier(solver=solver).fit(X, KINDS)

    # its penalty is a half of the squares' sum over C, for the sum of all samples' losses
    oracle = LogisticRegression(C=1 / (2 * 1e-2 * len(X))).fit(X, KINDS)
    assert list(estimator.classes_) == ["high", "low", "middle"]
    assert estimator.score(X, KINDS) == oracle.score(X, KINDS)
    # both are within 1e-4 of the optimum's gradient, whose least curvature is near 0.02
    np.testing.assert_allclose(estimator.model_.predict(X), oracle.predict_proba(X), atol=1e-2)


def test_a_transformer_gives_the_outputs_of_the_model():
    estimator = keras.wrappers.SKLearnTransformer(line)

    changed = estimator.fit_transform(X, Y, verbose=0)

    assert changed.shape == (60, 1)
    np.testing.assert_array_equal(changed, estimator.model_.predict(X))


def test_arguments_of_fit_reach_the_solver():
    estimator = regressor().fit(X, Y, epochs=2, method="scipy:newton-cg", options={"xtol": 1e-9})

    result = estimator.history_.result
    assert result.solver == "scipy:newton-cg"
    assert result.num_iterations <= 2


def test_cross_validation_scores_as_that_of_least_squares():
    folds = KFold(3)

    scores = cross_val_score(regressor(), X, Y, cv=folds, params={"verbose": 0})

    oracle = cross_val_score(LinearRegression(), X, Y, cv=folds)
    assert scores == pytest.approx(oracle, abs=1e-5)


def test_a_pipeline_scales_before_the_solver():
    stretched = X * [1e3, 1.0, 1e-3]

    estimator = make_pipeline(StandardScaler(), regressor()).fit(stretched, Y)

    assert estimator.score(stretched, Y) == pytest.approx(LinearRegression().fit(X, Y).score(X, Y))


def test_a_grid_search_over_solvers_finds_them_equal_where_the_loss_is_convex():
    grid = {"model_kwargs": [{"solver": solver} for solver in SOLVERS[:2]]}

    search = GridSearchCV(regressor(), grid, cv=2).fit(X, Y, verbose=0)

    assert np.ptp(search.cv_results_["mean_test_score"]) < 1e-5
    best = search.best_params_["model_kwargs"]["solver"]
    assert search.best_estimator_.history_.result.solver == best


def test_a_clone_is_not_fitted_and_fits_the_same():
    estimator = regressor(solver="scipy:newton-cg").fit(X, Y)

    copy = clone(estimator)

    assert not hasattr(copy, "model_")
    np.testing.assert_array_equal(copy.fit(X, Y, verbose=0).predict(X), estimator.predict(X))


@pytest.mark.parametrize("solver", SOLVERS[:2])
def test_a_pickled_estimator_predicts_the_same(solver):
    estimator = regressor(solver=solver).fit(X, Y)

    copy = pickle.loads(pickle.dumps(estimator))

    np.testing.assert_array_equal(copy.predict(X), estimator.predict(X))
    assert copy.model_.optimizer.request == estimator.model_.optimizer.request


def functional():
    inputs, unit = layers()
    model = kormos.BatchOptimizedModel(inputs, unit(inputs))
    model.compile(optimizer="scipy:l-bfgs-b", loss="mse")
    return model


def test_a_functional_model_may_be_given_as_it_is():
    estimator = keras.wrappers.SKLearnRegressor(functional()).fit(X, Y, verbose=0)

    assert isinstance(estimator.model_, kormos.BatchOptimizedModel)
    assert estimator.score(X, Y) > 0.99


def test_an_estimator_with_a_functional_model_is_pickled():
    estimator = keras.wrappers.SKLearnRegressor(functional()).fit(X, Y, verbose=0)

    copy = pickle.loads(pickle.dumps(estimator))

    np.testing.assert_array_equal(copy.predict(X), estimator.predict(X))


def test_a_sequential_model_is_refused_as_keras_clones_it_into_its_own_class():
    model = kormos.BatchOptimizedSequentialModel([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer="scipy:l-bfgs-b", loss="mse")

    with pytest.raises(UnsupportedError, match=r"cannot take the minibatch steps .* kormos.fit"):
        keras.wrappers.SKLearnRegressor(model).fit(X, Y, verbose=0)
