from __future__ import annotations

import textwrap

import keras
import pytest

from kormos_core.compare import UnknownProblemError, find_problem
from kormos_core.compare.catalog import find_outline
from kormos_core.errors import DataError, NotCompiledError, UnsupportedError

MODULE = """
import keras
import numpy as np

from kormos_core.compare import find_problem

SIZE = 7


def make(compiled=True):
    x = np.linspace(0.0, 1.0, SIZE)[:, None]
    model = keras.Sequential([keras.layers.Dense(1)])
    if compiled:
        model.compile("rmsprop", loss="mse", loss_weights=3.0)
    return model, x, 2.0 * x


def bare():
    return make(compiled=False)


def pair():
    return make()[1:]


def number():
    return 3


def broken():
    return 1 / 0


LINEAR = find_problem("linear")


def problem():
    return find_problem("linear")
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "own_problems.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "own_broken.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_a_function_of_ones_own_gives_model_data_and_loss():
    problem = find_problem("own_problems:make")
    instance = problem.make(seed=0, start=0, dtype="float32")
    problem.compile(instance.model, keras.optimizers.SGD())
    x, y = instance.data.x, instance.data.y

    loss = float(instance.model.compute_loss(x, y, instance.model(x)))

    kernel, bias = (weight.item() for weight in instance.model.get_weights())
    assert loss == pytest.approx(
        3.0 * float(((kernel - 2.0) * x + bias).var() + ((kernel - 2.0) * x + bias).mean() ** 2),
        rel=1e-5,
    )
    assert (problem.name, problem.f_min, problem.num_starts) == ("own_problems:make", None, None)


def test_a_plan_does_not_call_a_function():
    assert find_outline("own_problems:number") == ("own_problems:number", "", None)
    assert find_outline("own_problems:LINEAR") == ("own_problems:LINEAR", "synthetic", 1)


def test_a_start_that_there_is_not_is_refused():
    with pytest.raises(UnsupportedError, match=r"has no start number 1. Allowed are 0 to 0"):
        find_problem("own_problems:problem").make(seed=0, start=1, dtype="float32")


def test_a_function_may_give_a_problem():
    problem = find_problem("own_problems:problem")

    assert (problem.name, problem.metric) == ("own_problems:problem", "mean_absolute_error")


def test_a_model_without_a_loss_is_refused():
    problem = find_problem("own_problems:bare")
    instance = problem.make(seed=0, start=0, dtype="float32")

    with pytest.raises(NotCompiledError, match=r"has no loss: it is not compiled.*model.compile"):
        problem.compile(instance.model, keras.optimizers.SGD())


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("own_problems:pair", DataError, r"returned \(ndarray, ndarray\). Allowed is a function"),
        ("own_problems:number", DataError, r"returned \(int\). Allowed"),
        ("own_problems:broken", DataError, "raised ZeroDivisionError: division by zero. Allowed"),
        ("own_problems:none", UnknownProblemError, "'own_problems' has nothing of that name"),
        ("own_problems:SIZE", UnknownProblemError, "'own_problems' has a int"),
        ("own_nowhere:f", UnknownProblemError, "importing 'own_nowhere' gave ModuleNotFound"),
        ("own_broken:f", UnknownProblemError, "No module named 'nothing_of_that_name'"),
    ],
)
def test_what_is_wrong_with_a_function_is_told(name, error, said):
    with pytest.raises(error, match=said):
        find_problem(name)
