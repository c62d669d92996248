"""The optimizers of kormos 0.1: names, options, and the loss as NumPy functions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy import optimize
from training.problems import (
    METHODS,
    best_line,
    data,
    flat_weights,
    line,
    line_gradient,
    line_loss,
)

import kormos
from kormos import Status
from kormos.optimizers import ScipyBatchOptimizer, get
from kormos_core.errors import (
    NotBuiltError,
    OptionError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)

X, Y = data()
HESSIAN = 2.0 * np.column_stack([X, np.ones(len(X))]).T @ np.column_stack([X, np.ones(len(X))])
HESSIAN /= len(X)

# sums of 20 terms in float64, in another order; and of values that partly cancel
ROUNDING = {"rtol": 1e-12, "atol": 1e-13}


def cases(name: str) -> list[str]:
    return [name, name.upper(), name.title(), name.swapcase()]


# --- names -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_get_knows_every_method_in_any_case(method):
    for name in cases(method):
        assert get(name).request.registered.name == f"scipy:{method}"


@pytest.mark.parametrize("name", cases("scipy"))
def test_the_bare_namespace_is_the_default_method(name):
    assert get(name).request.registered.name == "scipy:l-bfgs-b"


@pytest.mark.parametrize("method", METHODS)
def test_the_optimizer_knows_every_method_in_any_case(method):
    for name in cases(method):
        assert ScipyBatchOptimizer(method=name).method == method


def test_the_default_method_is_l_bfgs_b():
    assert ScipyBatchOptimizer().method == "l-bfgs-b"


@pytest.mark.parametrize("name", ["lbfgs", "adam", ""])
def test_get_refuses_other_names(name):
    with pytest.raises(UnknownSolverError, match=f"unknown solver '{name}'"):
        get(name)


def test_an_unknown_method_is_refused():
    with pytest.raises(UnknownSolverError, match="unknown solver 'scipy:newton'"):
        ScipyBatchOptimizer("newton")


def test_a_list_of_methods_is_refused_with_a_cure():
    with pytest.raises(UnsupportedError, match=r"one string.*use kormos.Chain"):
        ScipyBatchOptimizer(["l-bfgs-b", "newton-cg"])


def test_an_unknown_option_is_refused():
    with pytest.raises(UnknownOptionError, match=r"'maxcors'.*Did you mean 'maxcor'"):
        ScipyBatchOptimizer(options={"maxcors": 3})


# --- compiled ----------------------------------------------------------------------------


def test_a_model_compiled_with_it_is_fitted():
    solver = ScipyBatchOptimizer(method="Newton-CG", options={"xtol": 1e-8}, epochs=15)

    history = line(solver).fit(X, Y, verbose=0)

    assert history.result.solver == "scipy:newton-cg"
    assert history.result.converged
    assert solver.results == [history.result]


def test_fit_may_name_another_method():
    history = line(ScipyBatchOptimizer()).fit(X, Y, epochs=3, verbose=0, method="bfgs")

    assert history.result.solver == "scipy:bfgs"


# --- built -------------------------------------------------------------------------------


@pytest.fixture
def solver():
    """Give an optimizer that is built on a line and its data."""
    optimizer = ScipyBatchOptimizer()
    model = line(optimizer)
    optimizer.build(model, (X, Y))
    return optimizer, model


POINTS = [np.zeros(3), np.ones(3), np.array([1.0, -2.0, 0.5]), np.array([-30.0, 4.0, 1e3])]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_func_is_the_loss(solver, point):
    value = solver[0].func(point)

    assert type(value) is float
    assert value == pytest.approx(line_loss(X, Y, point), rel=1e-12)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_grad_is_its_gradient(solver, point):
    np.testing.assert_allclose(solver[0].grad(point), line_gradient(X, Y, point), **ROUNDING)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_func_and_grad_are_both_at_once(solver, point):
    value, gradient = solver[0].func_and_grad(point)

    assert value == solver[0].func(point)
    np.testing.assert_array_equal(gradient, solver[0].grad(point))
    assert gradient.dtype == np.float64


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_hessp_is_the_product_with_the_hessian(solver, point):
    vector = np.array([0.3, -1.0, 2.0])

    np.testing.assert_allclose(solver[0].hessp(point, vector), HESSIAN @ vector, **ROUNDING)


def test_weights_are_read_and_written_as_one_vector(solver):
    optimizer, model = solver
    point = np.array([4.0, 5.0, 6.0])

    optimizer.set_weights(point)

    np.testing.assert_array_equal(optimizer.get_weights(), point)
    np.testing.assert_array_equal(flat_weights(model), point)
    np.testing.assert_array_equal(model.get_weights()[0], [[4.0], [5.0]])


def test_functions_do_not_touch_the_models_weights(solver):
    optimizer, model = solver
    before = flat_weights(model)

    optimizer.func_and_grad(np.ones(3))
    optimizer.hessp(np.ones(3), np.ones(3))

    np.testing.assert_array_equal(flat_weights(model), before)


def test_functions_take_lists(solver):
    assert solver[0].func([0, 0, 0]) == solver[0].func(np.zeros(3))


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), ()])
@pytest.mark.parametrize("name", ["func", "grad", "func_and_grad", "set_weights"])
def test_a_vector_of_another_shape_is_refused(solver, name, shape):
    with pytest.raises(UnsupportedError, match=r"Allowed is shape \(3,\)"):
        getattr(solver[0], name)(np.zeros(shape))


def test_evaluations_are_counted(solver):
    optimizer, _ = solver
    optimizer.func(np.zeros(3))
    optimizer.grad(np.zeros(3))
    optimizer.func_and_grad(np.zeros(3))

    assert optimizer.fg_evals == 3
    assert optimizer.hessp_evals == 0


def test_products_are_counted_and_their_check_as_evaluations(solver):
    optimizer, _ = solver
    optimizer.hessp(np.zeros(3), np.ones(3))
    checked = optimizer.fg_evals
    optimizer.hessp(np.zeros(3), np.eye(3)[0])

    assert optimizer.hessp_evals == 2
    assert optimizer.fg_evals == checked > 0


def test_building_again_counts_anew_and_takes_other_data(solver):
    optimizer, model = solver
    optimizer.func(np.zeros(3))

    optimizer.build(model, (X, 2.0 * Y))

    assert optimizer.fg_evals == 0
    assert optimizer.func(np.zeros(3)) == pytest.approx(np.mean((2.0 * Y) ** 2), rel=1e-12)


def test_building_takes_sample_weights():
    optimizer, weight = ScipyBatchOptimizer(), np.linspace(0.0, 1.0, len(X))
    optimizer.build(line(optimizer), (X, Y, weight))

    assert optimizer.func(np.zeros(3)) == pytest.approx(np.mean(weight * Y[:, 0] ** 2), rel=1e-12)


def test_building_takes_batches():
    optimizer = ScipyBatchOptimizer(batch_size=6)
    optimizer.build(line(optimizer), (X, Y))

    assert optimizer.func(np.ones(3)) == pytest.approx(line_loss(X, Y, np.ones(3)), rel=1e-12)


def test_the_functions_serve_scipy_itself(solver):
    optimizer, _ = solver

    found = optimize.minimize(
        optimizer.func_and_grad, np.zeros(3), jac=True, hessp=optimizer.hessp, method="trust-ncg"
    )

    np.testing.assert_allclose(found.x, best_line(X, Y), atol=1e-6)


@pytest.mark.parametrize(
    "use",
    [
        lambda o: o.func(np.zeros(3)),
        lambda o: o.grad(np.zeros(3)),
        lambda o: o.func_and_grad(np.zeros(3)),
        lambda o: o.hessp(np.zeros(3), np.zeros(3)),
        lambda o: o.get_weights(),
        lambda o: o.set_weights(np.zeros(3)),
        lambda o: o.minimize(),
        lambda o: o.fg_evals,
        lambda o: o.hessp_evals,
    ],
)
def test_use_before_building_is_refused(use):
    with pytest.raises(NotBuiltError, match=r"is not built.*Call build\(model, \(x, y\)\) first"):
        use(ScipyBatchOptimizer())


# --- minimize ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_minimize_sets_the_model_to_the_best_point(method):
    optimizer = ScipyBatchOptimizer(method)
    model = line(optimizer)
    optimizer.build(model, (X, Y))

    found = optimizer.minimize()

    np.testing.assert_array_equal(flat_weights(model), found)
    # slsqp ends at changes of the loss below 1e-6, the others closer
    np.testing.assert_allclose(found, best_line(X, Y), rtol=0, atol=2e-3)
    result = optimizer.results[-1]
    assert result.solver == f"scipy:{method}"
    assert result.loss == pytest.approx(line_loss(X, Y, found), rel=1e-12)
    assert (result.fg_evals, result.hessp_evals) == (optimizer.fg_evals, optimizer.hessp_evals)


def test_minimize_takes_precedence_over_the_constructor(solver):
    optimizer, _ = solver

    optimizer.minimize(epochs=2, method="CG", options={"gtol": 1e-9})

    result = optimizer.results[-1]
    assert (result.solver, result.num_iterations) == ("scipy:cg", 2)
    assert optimizer.method == "l-bfgs-b"


def test_minimize_runs_a_list_of_methods_one_after_the_other(solver):
    optimizer, _ = solver
    optimizer.minimize(method=["cg", "l-bfgs-b"], epochs=[2, 3], options=[None, {"maxcor": 3}])

    assert [result.solver for result in optimizer.results] == ["scipy:cg", "scipy:l-bfgs-b"]
    assert [result.num_iterations for result in optimizer.results] == [2, 3]
    assert optimizer.results[1].loss < optimizer.results[0].loss


def test_minimize_refuses_lists_of_unequal_length(solver):
    with pytest.raises(OptionError, match="epochs has 1 values for 2 methods"):
        solver[0].minimize(method=["cg", "bfgs"], epochs=[2])


def test_minimize_keeps_bounds_and_constraints(solver):
    optimizer, _ = solver

    inside = optimizer.minimize(bounds=(-0.1, 0.1))
    on_plane = optimizer.minimize(
        method="slsqp", constraints={"type": "eq", "fun": lambda w: w.sum()}
    )

    assert np.abs(inside).max() <= 0.1
    assert abs(on_plane.sum()) < 1e-6


def test_minimize_calls_back_with_each_iterate(solver):
    optimizer, _ = solver
    seen = []

    found = optimizer.minimize(callback=lambda w: seen.append(w.copy()))

    assert len(seen) == optimizer.results[-1].num_iterations
    np.testing.assert_array_equal(seen[-1], found)


def test_a_callback_that_raises_leaves_the_best_point(solver):
    optimizer, model = solver
    seen = []

    def fail(w):
        seen.append(w.copy())
        if len(seen) == 2:
            message = "mine"
            raise ZeroDivisionError(message)

    with pytest.raises(ZeroDivisionError, match="mine"):
        optimizer.minimize(callback=fail)

    np.testing.assert_array_equal(flat_weights(model), seen[-1])


def test_minimize_goes_on_from_the_models_weights(solver):
    optimizer, _ = solver
    optimizer.minimize(epochs=2)
    first = optimizer.results[-1]

    optimizer.minimize(epochs=2)

    assert optimizer.results[-1].loss < first.loss
    assert len(optimizer.results) == 2


def test_pretrain_fn_that_freezes_a_layer_takes_effect():
    keras.utils.set_random_seed(1)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((2,), dtype="float64"),
            keras.layers.Dense(2, dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    optimizer = ScipyBatchOptimizer("bfgs")
    model.compile(optimizer, "mse")
    optimizer.build(model, (X, Y))
    optimizer.minimize(epochs=2)
    before = model.layers[0].get_weights()[0]

    def freeze(given):
        given.layers[0].trainable = False

    found = optimizer.minimize(pretrain_fn=freeze)

    assert found.size == 3
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)


def test_pretrain_fn_that_changes_a_regularizer_takes_effect(solver):
    optimizer, _ = solver
    optimizer.minimize()

    def regularize(given):
        given.layers[0].kernel_regularizer = keras.regularizers.L2(0.5)
        given.layers[0].kernel.regularizer = given.layers[0].kernel_regularizer

    found = optimizer.minimize(pretrain_fn=regularize, method="newton-cg")

    ridge = np.diag([0.5, 0.5, 0.0])
    design = np.column_stack([X, np.ones(len(X))])
    expected = np.linalg.solve(design.T @ design / len(X) + ridge, design.T @ Y[:, 0] / len(X))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_minimize_tells_nan(solver):
    optimizer, model = solver
    optimizer.build(model, (np.full_like(X, np.nan), Y))
    before = flat_weights(model)

    optimizer.minimize()

    assert optimizer.results[-1].status is Status.NONFINITE
    assert "the input has 40 NaN" in optimizer.results[-1].message
    np.testing.assert_array_equal(flat_weights(model), before)


def test_minimize_refuses_what_the_method_cannot_keep(solver):
    with pytest.raises(UnsupportedError, match="scipy:cg does not honor bounds"):
        solver[0].minimize(method="cg", bounds=(0, 1))
