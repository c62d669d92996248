from __future__ import annotations

import sys

import keras
import numpy as np
import pytest

from kormos_core.compare import UnknownProblemError, find_problem
from kormos_core.compare.tabular import TABULAR
from kormos_core.errors import UnsupportedError

# samples to train on, samples to validate on, parameters
SIZES = {
    "digits": (1347, 450, 650),
    "diabetes": (331, 111, 11),
    "linear": (1000, 1000, 50),
    "breast-cancer": (426, 143, 31),
    "wine": (133, 45, 42),
    "iris": (112, 38, 15),
    "linnerud": (15, 5, 12),
    "digits-mlp": (1347, 450, 1210),
}


@pytest.mark.parametrize("name", ["digits", "Digits", "DIGITS"])
def test_a_problem_is_found_in_any_case(name):
    assert find_problem(name).name == "digits"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digit", "unknown problem 'digit'. Did you mean 'digits'"),
        ("nothing", r"Allowed are the problems of the sets classic, sklearn.*--list"),
    ],
)
def test_an_unknown_problem_is_told_with_the_nearest_names(name, said):
    with pytest.raises(UnknownProblemError, match=said):
        find_problem(name)


@pytest.mark.parametrize("problem", TABULAR, ids=lambda problem: problem.name)
def test_data_has_the_stated_sizes_and_is_the_same_at_every_call(problem):
    first, second = problem.recipe.load(), problem.recipe.load()

    samples, validation_samples, _ = SIZES[problem.name]
    assert (len(first.x), len(first.y)) == (samples, samples)
    assert (len(first.x_val), len(first.y_val)) == (validation_samples, validation_samples)
    for part in ("x", "y", "x_val", "y_val"):
        assert np.array_equal(getattr(first, part), getattr(second, part))


@pytest.mark.parametrize("problem", TABULAR, ids=lambda problem: problem.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_has_the_stated_size_and_dtype(problem, dtype):
    model = problem.recipe.build(dtype)

    assert model.count_params() == SIZES[problem.name][2]
    assert {str(weight.dtype) for weight in model.trainable_variables} == {dtype}


@pytest.mark.parametrize("problem", TABULAR, ids=lambda problem: problem.name)
def test_the_metric_is_one_that_keras_knows(problem):
    assert isinstance(keras.metrics.get(problem.metric), keras.metrics.Metric)


def test_diabetes_is_standardized_by_its_training_samples():
    data = find_problem("diabetes").recipe.load()

    # a mean of 331 numbers of size one is exact to about 1e-15
    assert np.allclose(data.x.mean(axis=0), 0, atol=1e-13)
    assert np.allclose(data.x.std(axis=0), 1, atol=1e-13)
    assert np.allclose((data.y.mean(), data.y.std()), (0, 1), atol=1e-13)


def test_linear_starts_at_the_published_loss_of_ones(linear):
    data = linear.data
    residual = data.x.sum(axis=1, keepdims=True) - data.y

    penalty = 50 * float(np.float32(1e-3))  # Keras holds the factor in single precision
    # equal but for the order of summation
    assert linear.start_loss == pytest.approx(np.mean(residual**2) + penalty, rel=1e-12)


def test_without_scikit_learn_the_error_tells_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    with pytest.raises(UnsupportedError, match="Install it: pip install scikit-learn"):
        find_problem("digits").recipe.load()
