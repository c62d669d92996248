"""Options: all of them reach TensorFlow Probability, and what cannot be used is refused."""

from __future__ import annotations

import inspect
import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from kormos_core.errors import UnsupportedError
from kormos_tfp.specs import SPECS

MINIMIZERS = {
    "l-bfgs": tfp.optimizer.lbfgs_minimize,
    "bfgs": tfp.optimizer.bfgs_minimize,
    "nelder-mead": tfp.optimizer.nelder_mead_minimize,
}

SEARCH = {
    "tolerance": 1e-4,
    "x_tolerance": 1e-5,
    "f_relative_tolerance": 1e-6,
    "f_absolute_tolerance": 1e-7,
    "max_line_search_iterations": 7,
}

# A value other than the default for every option of every method; for n = 4 parameters.
VALUES = {
    "l-bfgs": {"num_correction_pairs": 3, **SEARCH},
    "bfgs": {
        "initial_inverse_hessian_estimate": 0.5 * np.eye(4),
        "scale_initial_inverse_hessian": False,
        **SEARCH,
    },
    "nelder-mead": {
        "step_sizes": [0.1],
        "func_tolerance": 1e-4,
        "position_tolerance": 1e-5,
        "reflection": 1.1,
        "expansion": 1.7,
        "contraction": 0.4,
        "shrinkage": 0.6,
    },
}

ONE_STEP = {
    "l-bfgs": "lbfgs_minimize",
    "bfgs": "bfgs_minimize",
    "nelder-mead": "nelder_mead_one_step",
}


@pytest.fixture
def passed(build, make, monkeypatch):
    """Return what TensorFlow Probability is told in the first iteration of a solver."""

    def advance(name, **options):
        told = {}
        function = getattr(tfp.optimizer, ONE_STEP[name])
        signature = inspect.signature(function)

        def record(*args, **kwargs):
            told.update(signature.bind(*args, **kwargs).arguments)
            return function(*args, **kwargs)

        solver, graph = make(name, **options), build("bowl")
        state = {key: tf.constant(value) for key, value in solver.init(graph.x0, None).items()}
        if name == "nelder-mead":
            state = solver.advance(graph, state)
        monkeypatch.setattr(tfp.optimizer, ONE_STEP[name], record)
        solver.advance(graph, state)
        monkeypatch.undo()
        return told, graph

    return advance


def names_of(solver):
    return {field.name for field in fields(solver)} - {"tol"}


@pytest.mark.parametrize("name", SPECS)
def test_every_option_has_tensorflow_probabilitys_name_and_default(name, make):
    parameters = inspect.signature(MINIMIZERS[name]).parameters

    for option in names_of(make(name)):
        assert getattr(make(name), option) == parameters[option].default


@pytest.mark.parametrize("name", SPECS)
def test_every_option_reaches_tensorflow_probability(name, passed, make):
    told, graph = passed(name, **VALUES[name])

    assert set(VALUES[name]) == names_of(make(name))
    expected = {**VALUES[name]}
    # the change of the loss that ends the solve is one: see `kormos_tfp.iteration.arguments`
    if expected.pop("f_relative_tolerance", None):
        f0 = float(graph.f(tf.constant(graph.x0)))
        expected["f_absolute_tolerance"] = 1e-6 * f0
        assert "f_relative_tolerance" not in told
    if expected.pop("step_sizes", None):
        np.testing.assert_allclose(told["current_simplex"][1:], graph.x0 + 0.1 * np.eye(4))
    for option, value in expected.items():
        np.testing.assert_allclose(told[option], value, rtol=1e-12)


def test_the_number_of_pairs_is_that_of_the_state(make):
    state = make("l-bfgs", num_correction_pairs=3).init(np.zeros(4), None)

    assert state["position_deltas"].shape == state["gradient_deltas"].shape == (3, 4)


@pytest.mark.parametrize("name", SPECS)
def test_the_general_tolerance_yields_to_none_but_defaults(name, passed):
    alone, _ = passed(name, tol=1e-3)
    beside, _ = passed(name, tol=1e-3, **VALUES[name])

    options = ["func_tolerance", "position_tolerance"] if name == "nelder-mead" else ["tolerance"]
    for option in options:
        assert alone[option] == 1e-3
        assert beside[option] == VALUES[name][option]


@pytest.mark.parametrize("name", SPECS)
def test_every_option_is_documented(name, make):
    documented = inspect.getdoc(make(name)).split("Notes")[0]

    for option in names_of(make(name)) | {"tol"}:
        assert f"{option} : " in documented


@pytest.mark.parametrize("name", SPECS)
def test_solvers_are_immutable_comparable_and_hashable(name, make):
    solver, same = make(name, **VALUES[name]), make(name, **VALUES[name])

    assert solver == same
    assert hash(solver) == hash(same)
    assert solver != make(name)
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        solver.tol = 1.0


INVALID = [
    ("l-bfgs", {"num_correction_pairs": 0}, r"num_correction_pairs=0 of LBFGS .* 1 or above"),
    ("l-bfgs", {"tolerance": -1.0}, "option tolerance=-1.0 .* a finite number, 0 or above"),
    ("l-bfgs", {"x_tolerance": math.nan}, "option x_tolerance=nan"),
    ("l-bfgs", {"f_relative_tolerance": "tight"}, "option f_relative_tolerance='tight'"),
    ("l-bfgs", {"f_absolute_tolerance": math.inf}, "option f_absolute_tolerance=inf"),
    ("l-bfgs", {"max_line_search_iterations": 2.5}, "max_line_search_iterations=2.5"),
    ("l-bfgs", {"tol": -1.0}, "option tol=-1.0 .* or None"),
    ("bfgs", {"scale_initial_inverse_hessian": 1}, "option scale.*=1 .* True or False"),
    ("bfgs", {"initial_inverse_hessian_estimate": [1.0]}, "with 2 dimension"),
    ("nelder-mead", {"step_sizes": 0.5}, "option step_sizes=0.5 .* with 1 dimension"),
    ("nelder-mead", {"func_tolerance": None}, "option func_tolerance=None"),
    ("nelder-mead", {"position_tolerance": -1.0}, "option position_tolerance=-1.0"),
    ("nelder-mead", {"reflection": 0.0}, "option reflection=0.0 .* above 0, or None"),
    ("nelder-mead", {"expansion": 0.9}, "contradict each other. Keep expansion above 1"),
    ("nelder-mead", {"expansion": 1.5, "reflection": 2.0}, "reflection=2.0, expansion=1.5"),
    ("nelder-mead", {"contraction": 1.0}, "option contraction=1.0 .* above 0 and below 1"),
    ("nelder-mead", {"shrinkage": 0.0}, "option shrinkage=0.0 .* above 0 and below 1"),
]


@pytest.mark.parametrize(("name", "options", "message"), INVALID)
def test_a_value_that_an_option_cannot_take_is_refused(name, options, message, make):
    with pytest.raises(UnsupportedError, match=message):
        make(name, **options)


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        (np.eye(3), r"of shape \(3, 3\), does not fit 4 parameters. Its shape is \(4, 4\)"),
        (-np.eye(4), "is not usable. Allowed are symmetric positive definite"),
        (np.eye(4) + np.eye(4, k=1) / 8, "is not usable. Allowed are symmetric"),
    ],
)
def test_an_estimate_that_is_none_of_an_inverse_hessian_is_refused(estimate, message, make):
    solver = make("bfgs", initial_inverse_hessian_estimate=estimate)

    with pytest.raises(UnsupportedError, match=message):
        solver.init(np.zeros(4), None)
