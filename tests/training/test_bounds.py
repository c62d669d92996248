"""Bounds in every form and constraints, through `fit`, against exact solutions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from scipy import optimize
from training.problems import (
    BOUNDED,
    CONSTRAINED,
    METHODS,
    SAMPLES,
    Watch,
    best_line,
    data,
    flat_weights,
    line,
    line_layers,
    line_loss,
)

import kormos
from kormos_core.errors import BoundsError, UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "torch")

X, Y = data()
DESIGN = np.column_stack([X, np.ones(SAMPLES)])
FREE = np.inf

# The loss is a parabola whose curvature is near 2: where a method ends it with an error e,
# the parameters are within sqrt(e). Default tolerances: 1e-4 for the direct searches.
TOLERANCE = {"nelder-mead": 1e-3, "powell": 1e-3, "cobyla": 1e-3, "slsqp": 1e-3}
EXACT = 1e-4

# Options that take a method to its end on a bound.
TIGHT = {
    "nelder-mead": {"xatol": 1e-6, "fatol": 1e-9},
    "cobyla": {"tol": 1e-7},
    "slsqp": {"ftol": 1e-12},
}


def exact(lower, upper):
    """Solve the least squares problem in a box: SciPy's own solver for it."""
    return optimize.lsq_linear(DESIGN, Y[:, 0], (lower, upper), tol=1e-14).x


def assert_solves(method, model, expected):
    np.testing.assert_allclose(
        flat_weights(model), expected, rtol=0, atol=TOLERANCE.get(method, EXACT)
    )


@pytest.mark.parametrize("method", BOUNDED)
def test_bounds_on_every_parameter_are_kept_and_the_best_point_is_found(method):
    lower, upper = np.array([-0.5, -1.0, 0.6]), np.array([0.7, 5.0, 0.9])
    model, watch = line(method), Watch()

    history = model.fit(
        X,
        Y,
        verbose=0,
        bounds=list(zip(lower, upper, strict=True)),
        callbacks=[watch],
        options=TIGHT.get(method),
    )

    assert_solves(method, model, exact(lower, upper))
    for weights in watch.weights:
        assert (lower <= weights).all()
        assert (weights <= upper).all()
    assert history.result.grad_norm < 1e-2  # projected: zero at a minimum on the bounds


# SciPy's Powell ends in a corner of this box, as it does without kormos: its line searches
# run along directions that a corner leaves no room for.
INTO_A_CORNER = [name for name in BOUNDED if name != "powell"]


@pytest.mark.parametrize("method", INTO_A_CORNER)
def test_nonnegative_weights_are_those_of_nnls(method):
    model = line(method)

    model.fit(X, Y, verbose=0, bounds=(0, None), options=TIGHT.get(method))

    assert_solves(method, model, optimize.nnls(DESIGN, Y[:, 0])[0])
    assert (flat_weights(model) >= 0).all()


ONE = np.ones(3)
FORMS = {
    "one pair": ((-0.5, 0.75), -0.5 * ONE, 0.75 * ONE),
    "one pair with None": ((None, 0.75), -FREE * ONE, 0.75 * ONE),
    "a pair for each": ([(0, None), (None, 2), (-1, 0.25)], [0, -FREE, -1], [FREE, 2, 0.25]),
    "an array of pairs": (np.array([[0, 1], [-1, 1], [0, 0.3]]), [0, -1, 0], [1, 1, 0.3]),
    "Bounds of numbers": (optimize.Bounds(-0.5, 0.75), -0.5 * ONE, 0.75 * ONE),
    "Bounds of arrays": (
        optimize.Bounds([-1, -1, -FREE], [0.5, FREE, 0.2]),
        [-1, -1, -FREE],
        [0.5, FREE, 0.2],
    ),
    "a weight's path": ({"unit/kernel": (-1, 0.5)}, [-1, -1, -FREE], [0.5, 0.5, FREE]),
    "a layer's name": ({"unit": (-1, 0.5)}, -ONE, 0.5 * ONE),
    "path and name": (
        {"unit": (-1, 0.5), "unit/bias": (0.1, None)},
        [-1, -1, 0.1],
        [0.5, 0.5, 0.5],
    ),
    "arrays for a weight": (
        {"unit/kernel": ([[-1], [-3]], np.array([[0.5], [-1]]))},
        [-1, -3, -FREE],
        [0.5, -1, FREE],
    ),
    "no limit at all": ((None, None), -FREE * ONE, FREE * ONE),
}


@pytest.mark.parametrize("form", FORMS)
def test_bounds_come_in_every_form(form):
    bounds, lower, upper = FORMS[form]
    model = line()

    model.fit(X, Y, verbose=0, bounds=bounds)

    assert_solves("l-bfgs-b", model, exact(lower, upper))


@pytest.mark.parametrize("form", FORMS)
def test_bounds_of_the_constructor_come_in_every_form(form):
    bounds, lower, upper = FORMS[form]
    model = line(kormos.BatchOptimizer("tnc", bounds=bounds))

    model.fit(X, Y, verbose=0)

    assert_solves("tnc", model, exact(lower, upper))


def test_bounds_of_fit_take_the_place_of_the_constructors():
    model = line(kormos.BatchOptimizer(bounds=(5, 6)))

    model.fit(X, Y, verbose=0, bounds=(0, None))

    assert_solves("l-bfgs-b", model, optimize.nnls(DESIGN, Y[:, 0])[0])


@pytest.mark.parametrize("method", INTO_A_CORNER)
def test_a_nonnegative_constraint_of_keras_becomes_a_bound(method):
    model = kormos.BatchOptimizedSequentialModel(line_layers(kernel_constraint="non_neg"))
    model.compile(method, "mse")

    model.fit(X, Y, verbose=0, options=TIGHT.get(method))

    assert_solves(method, model, exact([0, 0, -FREE], [FREE, FREE, FREE]))
    assert (flat_weights(model)[:2] >= 0).all()


def test_a_nonnegative_constraint_and_bounds_both_hold():
    model = kormos.BatchOptimizedSequentialModel(line_layers(kernel_constraint="non_neg"))
    model.compile("l-bfgs-b", "mse")

    model.fit(X, Y, verbose=0, bounds=(None, 0.5))

    assert_solves("l-bfgs-b", model, exact([0, 0, -FREE], 0.5 * ONE))


def test_another_constraint_of_keras_is_refused_with_a_cure():
    limit = keras.constraints.MaxNorm(2.0)
    model = kormos.BatchOptimizedSequentialModel(line_layers(kernel_constraint=limit))
    model.compile("l-bfgs-b", "mse")

    with pytest.raises(UnsupportedError, match=r"unit/kernel' has the constraint MaxNorm.*NonNeg"):
        model.fit(X, Y, verbose=0)


def test_a_start_outside_the_box_is_projected():
    model, watch = line("l-bfgs-b"), Watch()
    model.set_weights([np.array([[9.0], [-9.0]]), np.array([0.0])])
    losses = []

    model.fit(
        X,
        Y,
        verbose=0,
        bounds=(-1, 1),
        epochs=1,
        callbacks=[watch],
        pretrain_fn=lambda m: losses.append(line_loss(X, Y, np.array([1.0, -1.0, 0.0]))),
    )

    assert (np.abs(watch.weights[0]) <= 1).all()
    assert watch.logs[0]["loss"] <= losses[0]


def test_parameters_that_bounds_fix_stay():
    model = line("bfgs")
    model.compile("l-bfgs-b", "mse")

    model.fit(X, Y, verbose=0, bounds={"unit/bias": (0.25, 0.25)})

    kernel = np.linalg.lstsq(X, Y[:, 0] - 0.25)[0]
    assert_solves("l-bfgs-b", model, [*kernel, 0.25])


def test_a_solve_that_ends_on_its_bounds_says_that_it_converged():
    model = line()

    history = model.fit(X, Y, verbose=0, bounds=(-0.25, 0.25))

    assert history.result.converged
    # of the projected gradient, whose largest component SciPy tests
    assert history.result.grad_norm < np.sqrt(3.0) * 1e-5


UNBOUNDED = tuple(name for name in METHODS if name not in BOUNDED)


@pytest.mark.parametrize("method", UNBOUNDED)
def test_a_method_that_cannot_keep_bounds_refuses_them(method):
    match = rf"scipy:{method} does not honor bounds, and bounds are given.*: scipy:l-bfgs-b"
    with pytest.raises(UnsupportedError, match=match):
        line(method).fit(X, Y, verbose=0, bounds=(0, 1))


@pytest.mark.parametrize("method", UNBOUNDED[:2])
def test_a_method_that_cannot_keep_bounds_refuses_a_nonnegative_weight(method):
    model = kormos.BatchOptimizedSequentialModel(line_layers(kernel_constraint="non_neg"))
    model.compile(method, "mse")

    with pytest.raises(UnsupportedError, match="does not honor bounds"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        ([(0, 1), (0, 1)], r"bounds have 2 pairs for 3 parameters"),
        ((1, 0), r"bounds exclude every value of parameter 0: lower 1\.0, upper 0\.0"),
        ([(0, 1, 2)] * 3, r"Allowed are pairs \(lower, upper\)"),
        ("wide", r"bounds are not usable: 'wide'"),
        (3, r"bounds are not usable: 3"),
        (
            {"unti/kernel": (0, 1)},
            r"bounds name 'unti/kernel'.*weights: .*unit/kernel, .*unit/bias",
        ),
        ({"unit/kernel": 3}, r"the bounds of 'unit/kernel' are not a pair: 3"),
        ({"unit/kernel": ([1, 2, 3], None)}, r"does not fit: \[1, 2, 3\].*of shape \(2, 1\)"),
        ({"unit/kernel": ("low", None)}, r"a limit of 'unit/kernel' does not fit: 'low'"),
        ((np.nan, 1), r"bounds exclude every value of parameter 0: lower nan"),
        (
            {"unit/kernel": (1, None), "unit": (None, 0)},
            r"bounds exclude every value of parameter 0: lower 1\.0, upper 0\.0",
        ),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds, match):
    with pytest.raises(BoundsError, match=match):
        line().fit(X, Y, verbose=0, bounds=bounds)


# --- general constraints -----------------------------------------------------------------


def constrained_optimum():
    """Solve the least squares problem on the plane where the parameters add up to 1."""
    hessian = 2.0 * DESIGN.T @ DESIGN / SAMPLES
    gradient = 2.0 * DESIGN.T @ Y[:, 0] / SAMPLES
    normal = np.ones((3, 1))
    system = np.block([[hessian, normal], [normal.T, np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(gradient, 1.0))[:3]


CONSTRAINTS = {
    "dict": {"type": "eq", "fun": lambda w: np.sum(w) - 1.0},
    "dict with slope": {"type": "eq", "fun": lambda w: np.sum(w) - 1.0, "jac": np.ones_like},
    "linear": optimize.LinearConstraint(np.ones((1, 3)), 1.0, 1.0),
    "nonlinear": optimize.NonlinearConstraint(np.sum, 1.0, 1.0),
}


@pytest.mark.parametrize("form", CONSTRAINTS)
@pytest.mark.parametrize("method", CONSTRAINED)
def test_an_equation_is_kept_and_the_best_point_is_found(method, form):
    model = line(method)

    history = model.fit(X, Y, verbose=0, constraints=CONSTRAINTS[form], options=TIGHT.get(method))

    assert abs(flat_weights(model).sum() - 1.0) < 1e-6
    assert_solves(method, model, constrained_optimum())
    assert history.result.converged


@pytest.mark.parametrize("method", CONSTRAINED)
def test_an_inequality_that_holds_anyway_changes_nothing(method):
    model = line(method)

    model.fit(
        X,
        Y,
        verbose=0,
        constraints=[{"type": "ineq", "fun": lambda w: 100.0 - np.sum(w**2)}],
        options=TIGHT.get(method),
    )

    assert_solves(method, model, best_line(X, Y))


@pytest.mark.parametrize("method", CONSTRAINED)
def test_constraints_of_the_constructor_are_kept(method):
    solver = kormos.BatchOptimizer(
        method, constraints=CONSTRAINTS["linear"], options=TIGHT.get(method)
    )
    model = line(solver)

    model.fit(X, Y, verbose=0)

    assert_solves(method, model, constrained_optimum())


@pytest.mark.parametrize("method", [name for name in METHODS if name not in CONSTRAINED])
def test_a_method_that_cannot_keep_constraints_refuses_them(method):
    match = rf"scipy:{method} does not honor constraints, and .*: scipy:.*slsqp"
    with pytest.raises(UnsupportedError, match=match):
        line(method).fit(X, Y, verbose=0, constraints=CONSTRAINTS["dict"])


@pytest.mark.backends("tensorflow")  # on torch SLSQP wanders until its limit
@pytest.mark.parametrize("method", CONSTRAINED)
def test_constraints_that_contradict_each_other_are_told(method):
    contradiction = [
        {"type": "ineq", "fun": lambda w: w[0] - 2.0},
        {"type": "ineq", "fun": lambda w: 1.0 - w[0]},
    ]

    history = line(method).fit(X, Y, verbose=0, constraints=contradiction, epochs=200)

    assert history.result.status is kormos.Status.CONSTRAINTS_VIOLATED


def test_something_else_than_a_constraint_is_refused():
    with pytest.raises(UnsupportedError, match="constraint of type int is not usable: 3"):
        line("slsqp").fit(X, Y, verbose=0, constraints=3)


def test_bounds_on_a_layer_hold_for_all_layers_of_a_nested_model():
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.Input((2,), dtype="float64"), layers.Dense(2, dtype="float64", name="deep")],
        name="inner",
    )
    model = kormos.BatchOptimizedSequentialModel([inner, layers.Dense(1, dtype="float64")])
    model.compile("l-bfgs-b", "mse")

    model.fit(X, Y, verbose=0, bounds={"inner": (-0.1, 0.1)}, epochs=5)

    kernel, bias = inner.layers[0].get_weights()
    assert np.abs(kernel).max() <= 0.1
    assert np.abs(bias).max() <= 0.1
    assert np.abs(model.layers[1].get_weights()[0]).max() > 0.1
