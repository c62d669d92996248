"""What `kormos.fit` and the models' `fit` accept, and what they refuse with which cure."""

from __future__ import annotations

import keras
import numpy as np
import psutil
import pytest
from keras import layers
from training.problems import best_line, data, flat_weights, line, line_layers, plain_line

import kormos
from kormos import Status
from kormos_core.errors import (
    DataError,
    MemoryLimitError,
    NotCompiledError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

X, Y = data()

# l-bfgs-b ends at |g| < 1e-5, and the least eigenvalue of the Hessian is near 1
CLOSE = {"rtol": 0, "atol": 1e-4}


def fit(model, **options):
    return kormos.fit(model, X, Y, **({"verbose": 0} | options))


# --- which solver ------------------------------------------------------------------------


def test_a_plain_model_is_fitted_by_naming_a_solver():
    model = plain_line()

    history = fit(model, solver="l-bfgs-b")

    np.testing.assert_allclose(flat_weights(model), best_line(X, Y), **CLOSE)
    assert history.result.solver == "scipy:l-bfgs-b"
    assert history is model.history


def test_a_plain_model_is_fitted_by_the_solver_it_was_compiled_with():
    model = plain_line(optimizer=kormos.BatchOptimizer("scipy:newton-cg"))

    history = fit(model)

    np.testing.assert_allclose(flat_weights(model), best_line(X, Y), **CLOSE)
    assert history.result.solver == "scipy:newton-cg"


def test_a_plain_model_and_a_kormos_model_are_fitted_alike():
    plain = fit(plain_line(), solver="bfgs").history

    assert plain == line("bfgs").fit(X, Y, verbose=0).history


def test_an_instance_as_solver_brings_its_own_options():
    solver = kormos.BatchOptimizer("cg", epochs=2)

    history = fit(plain_line(), solver=solver)

    assert history.result.num_iterations == 2
    assert solver.results == [history.result]


def test_a_solver_by_name_goes_before_the_compiled_one():
    compiled = kormos.BatchOptimizer("l-bfgs-b", epochs=3)
    model = line(compiled)

    history = model.fit(X, Y, method="tnc", verbose=0)

    assert history.result.solver == "scipy:tnc"
    assert compiled.results == [history.result]


@pytest.mark.parametrize(
    "name", ["L-BFGS-B", "l-bfgs-b", "scipy:l-bfgs-b", "scipy", "SciPy:L-BFGS-B"]
)
def test_a_solver_has_many_names(name):
    assert fit(plain_line(), solver=name).result.solver == "scipy:l-bfgs-b"


def test_compile_takes_its_arguments_by_position():
    model = kormos.BatchOptimizedSequentialModel(line_layers())

    model.compile("bfgs", "mse", None, ["mae"])
    history = model.fit(X, Y, verbose=0)

    assert history.result.converged
    assert "mae" in history.history


def test_a_result_is_kept_for_each_fit():
    model = line()

    results = [model.fit(X, Y, verbose=0).result for _ in range(2)]

    assert model.optimizer.results == results


# --- limits ------------------------------------------------------------------------------


def test_without_epochs_the_solver_runs_until_it_converges():
    history = fit(plain_line(), solver="cg")

    assert history.result.converged
    assert history.result.grad_norm < 1e-4


@pytest.mark.parametrize(
    ("constructed", "given", "iterations"),
    [
        ({"epochs": 4}, {}, 4),
        ({"epochs": 4}, {"epochs": 2}, 2),
        ({"epochs": 4}, {"options": {"maxiter": 2}}, 2),
        ({"options": {"maxiter": 4}}, {}, 4),
        ({"options": {"maxiter": 4}}, {"epochs": 2}, 2),
        ({"options": {"maxiter": 4}}, {"options": {"maxiter": 2}}, 2),
        ({"options": {"maxiter": 4}}, {"options": {"gtol": 1e-9}}, 4),
        ({}, {"options": {"maxiter": 2}}, 2),
        ({}, {"epochs": 2, "options": {"maxiter": 2}}, 2),
    ],
)
def test_the_limit_of_fit_goes_before_the_constructors(constructed, given, iterations):
    model = line(kormos.BatchOptimizer("cg", **constructed))

    history = model.fit(X, Y, verbose=0, **given)

    assert history.result.num_iterations == iterations
    assert history.result.status is Status.MAX_ITER


def test_two_limits_that_differ_are_refused():
    with pytest.raises(UnsupportedError, match=r"epochs=3 and options=\{'maxiter': 4\}"):
        fit(line(), epochs=3, options={"maxiter": 4})


@pytest.mark.parametrize("epochs", [0, -1, 2.5, "ten", True])
def test_a_limit_without_meaning_is_refused(epochs):
    with pytest.raises(UnsupportedError, match=rf"is not usable: {epochs!r}\. Allowed is a pos"):
        fit(line(), epochs=epochs)


def test_initial_epoch_at_the_limit_leaves_nothing_to_do():
    with pytest.raises(
        UnsupportedError, match=r"no iteration is left: epochs=2 .*initial_epoch=2"
    ):
        fit(line(), epochs=2, initial_epoch=2)


# --- options -----------------------------------------------------------------------------


def test_options_of_fit_go_before_the_constructors_and_the_others_stay():
    solver = kormos.BatchOptimizer("l-bfgs-b", options={"gtol": 1e-1, "maxcor": 1}, tol=1e-3)
    loose = line(solver).fit(X, Y, verbose=0)

    tight = line(solver).fit(X, Y, verbose=0, options={"gtol": 1e-10}, tol=0.0)

    assert tight.result.num_iterations > loose.result.num_iterations
    assert tight.result.grad_norm < 1e-6 < loose.result.grad_norm
    assert solver.request.options == {"gtol": 1e-1, "maxcor": 1}
    assert solver.request.tol == 1e-3


def test_an_unknown_option_is_refused_before_anything_is_changed():
    called = []
    model = line()
    watch = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: called.append("begun"))

    with pytest.raises(UnknownOptionError, match=r"'xtol'.*scipy:l-bfgs-b"):
        fit(model, options={"xtol": 1.0}, callbacks=[watch], pretrain_fn=called.append)

    assert called == []


def test_an_option_of_another_solver_is_refused():
    model = line(kormos.BatchOptimizer("l-bfgs-b", options={"maxcor": 5}))

    with pytest.raises(UnknownOptionError, match=r"'maxcor'.*scipy:bfgs"):
        model.fit(X, Y, method="bfgs", verbose=0)


def test_an_option_out_of_range_is_refused():
    with pytest.raises(UnsupportedError, match="option gtol=-1 of BFGS is not usable"):
        fit(line("bfgs"), options={"gtol": -1})


# --- what is refused ---------------------------------------------------------------------


def test_an_unknown_solver_is_refused_with_the_nearest_name():
    with pytest.raises(
        UnknownSolverError, match=r"unknown solver 'lbfgs'\. Did you mean 'l-bfgs-b'"
    ):
        fit(plain_line(), solver="lbfgs")


def test_something_else_than_a_solver_is_refused():
    with pytest.raises(UnsupportedError, match=r"not a solver: 3\. Allowed are the name"):
        fit(plain_line(), solver=3)


@pytest.mark.parametrize("solver", [None, "bfgs"])
@pytest.mark.parametrize("make", [keras.Sequential, kormos.BatchOptimizedSequentialModel])
def test_a_model_that_is_not_compiled_is_refused(make, solver):
    with pytest.raises(
        NotCompiledError, match=r"is not compiled.*Call compile\(\) before fit\(\)"
    ):
        fit(make(line_layers()), solver=solver)


def test_fit_of_a_model_that_is_not_compiled_is_refused():
    model = kormos.BatchOptimizedSequentialModel(line_layers())

    with pytest.raises(
        NotCompiledError, match=r"is not compiled.*Call compile\(\) before fit\(\)"
    ):
        model.fit(X, Y)


def test_a_model_compiled_by_keras_needs_a_solver():
    with pytest.raises(NotCompiledError, match=r"its optimizer is SGD.*Pass solver= to fit\(\)"):
        fit(plain_line())


@pytest.mark.parametrize(
    "argument",
    [
        {"method": "bfgs"},
        {"options": {"gtol": 1.0}},
        {"bounds": (0, 1)},
        {"constraints": []},
        {"tol": 1.0},
        {"pretrain_fn": print},
    ],
    ids=lambda argument: next(iter(argument)),
)
def test_keras_optimizers_refuse_what_only_solvers_honor(argument):
    (name,) = argument

    with pytest.raises(UnsupportedError, match=f"{name} cannot be honored by the optimizer Adam"):
        line("adam").fit(X, Y, verbose=0, **argument)


@pytest.mark.backends("tensorflow", "torch")
def test_keras_own_fit_refuses_a_batch_solver_with_a_cure():
    model = plain_line(optimizer=kormos.BatchOptimizer("bfgs"))
    start = flat_weights(model)

    with pytest.raises(UnsupportedError, match=r"'bfgs' is a batch solver.*kormos\.fit\(model"):
        model.fit(X, Y, verbose=0)

    np.testing.assert_array_equal(flat_weights(model), start)


@pytest.mark.backends("jax")
def test_keras_own_fit_on_jax_has_taken_the_weights_by_then():
    model = plain_line(optimizer=kormos.BatchOptimizer("bfgs"))

    with pytest.raises(UnsupportedError, match=r"kormos\.fit\(model.*make or load the model anew"):
        model.fit(X, Y, verbose=0)

    # once Keras gives them back, the sentence is to go
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        model.get_weights()


def test_a_model_without_a_loss_is_refused():
    with pytest.raises(NotCompiledError, match=r"has no loss: .*Pass loss= to compile\(\)"):
        fit(line(loss=None))


def test_a_loss_that_a_layer_adds_is_enough():
    class Pull(layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(keras.ops.square(x - 3.0)))
            return x

    model = kormos.BatchOptimizedSequentialModel([*line_layers(), Pull(dtype="float64")])
    model.compile("bfgs", loss=None)

    history = fit(model)

    assert history.result.loss < 1e-9


def test_a_model_without_trainable_weights_is_refused():
    model = line()
    model.layers[0].trainable = False
    model.compile("bfgs", "mse")

    with pytest.raises(UnsupportedError, match=r"has no trainable weights.*Set trainable=True"):
        fit(model)


@pytest.mark.parametrize(
    "train",
    [
        lambda: line(steps_per_execution=2),
        lambda: fit(plain_line(steps_per_execution=2), solver="bfgs"),
        lambda: fit(plain_line(optimizer=kormos.BatchOptimizer(), steps_per_execution=2)),
        lambda: fit(line("adam", steps_per_execution=2), solver="bfgs"),
    ],
    ids=["compile", "solver", "plain", "adam"],
)
def test_steps_per_execution_is_refused_by_a_solver_outside_of_the_graph(train):
    with pytest.raises(UnsupportedError, match="cannot honor steps_per_execution=2: it does not"):
        train()


def test_no_data_is_refused():
    with pytest.raises(DataError, match="there is no training data: x is None"):
        kormos.fit(line(), None, Y)


def test_a_list_of_methods_is_refused_with_a_cure():
    with pytest.raises(UnsupportedError, match=r"one string.*use kormos.Chain"):
        kormos.BatchOptimizer(["l-bfgs-b", "newton-cg"])


# --- size --------------------------------------------------------------------------------


def wide_model(method, size):
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((size,)), layers.Dense(1, use_bias=False)]
    )
    model.compile(method, "mse")
    return model


def test_bfgs_on_many_parameters_names_its_memory_and_solvers_that_need_less(monkeypatch):
    free = psutil.virtual_memory()._replace(available=2**33)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    model = wide_model("bfgs", 35_000)

    # one matrix is 9.1 GiB; BFGS keeps seven
    told = "7 dense matrices of n² numbers for n = 35,000 parameters: 63.9 GiB"
    with pytest.raises(MemoryLimitError, match=told) as refused:
        model.fit(np.ones((2, 35_000)), np.ones((2, 1)), verbose=0)

    assert "8.0 GiB are free" in str(refused.value)
    assert "scipy:l-bfgs-b" in str(refused.value)
    assert "scipy:cg" in str(refused.value)
    assert "scipy:slsqp" not in str(refused.value)


def test_l_bfgs_b_on_many_parameters_needs_little(monkeypatch):
    free = psutil.virtual_memory()._replace(available=2**33)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)

    history = wide_model("l-bfgs-b", 35_000).fit(
        np.ones((2, 35_000)), np.ones((2, 1)), epochs=1, verbose=0
    )

    assert history.result.num_iterations == 1


@pytest.mark.parametrize("method", ["dogleg", "trust-exact"])
def test_full_hessians_are_refused_beyond_two_thousand_parameters(method):
    model = wide_model(method, 2001)

    with pytest.raises(UnsupportedError, match=r"takes at most 2,000 parameters.*n = 2,001"):
        model.fit(np.ones((2, 2001)), np.ones((2, 1)), verbose=0)


# --- how the model is compiled -----------------------------------------------------------


@pytest.mark.backends("tensorflow", "torch")  # on JAX what is not compiled is rounded by Keras
@pytest.mark.parametrize("method", ["l-bfgs-b", "trust-ncg", "cobyqa"])
def test_running_eagerly_gives_the_same(method):
    compiled = line(method).fit(X, Y, verbose=0, epochs=5).history

    eager = line(method, run_eagerly=True).fit(X, Y, verbose=0, epochs=5).history

    # the same operations, in another order inside of fused kernels
    np.testing.assert_allclose(eager["loss"], compiled["loss"], rtol=1e-9)


@pytest.mark.backends("tensorflow", "torch")
@pytest.mark.parametrize("method", ["l-bfgs-b", "trust-ncg"])
def test_xla_gives_the_same_to_rounding(method):
    plain = line(method, jit_compile=False).fit(X, Y, verbose=0, epochs=5).history

    jitted = line(method, jit_compile=True).fit(X, Y, verbose=0, epochs=5).history

    np.testing.assert_allclose(jitted["loss"], plain["loss"], rtol=1e-9)


def losses():
    return {
        "string": "mse",
        "function": keras.losses.mean_squared_error,
        "instance": keras.losses.MeanSquaredError(dtype="float64"),
        "list": ["mse"],
        "lambda": lambda y, p: keras.ops.mean(keras.ops.square(y - p), axis=-1),
    }


@pytest.mark.parametrize("form", list(losses()))
def test_a_loss_comes_in_every_form(form):
    model = line("bfgs", loss=losses()[form])

    fit(model)

    np.testing.assert_allclose(flat_weights(model), best_line(X, Y), **CLOSE)


def two_outputs(loss, loss_weights):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((2,), dtype="float64")
    outputs = {
        name: layers.Dense(1, dtype="float64", name=name)(inputs) for name in ("left", "right")
    }
    names = list(outputs)
    if isinstance(loss, list):
        outputs = list(outputs.values())
    model = kormos.BatchOptimizedModel(inputs, outputs)
    model.compile("bfgs", loss, loss_weights)
    y = {"left": Y, "right": -Y}
    return model, y if isinstance(outputs, dict) else [y[name] for name in names]


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ({"left": "mse", "right": "mse"}, {"left": 1.0, "right": 3.0}),
        (["mse", "mse"], [1.0, 3.0]),
    ],
    ids=["dict", "list"],
)
def test_losses_of_several_outputs_are_weighted(loss, weights):
    model, y = two_outputs(loss, weights)

    history = model.fit(X, y, verbose=0)

    residual = np.mean((np.column_stack([X, np.ones(len(X))]) @ best_line(X, Y) - Y[:, 0]) ** 2)
    # the loss at the minimum is right to the square of the weights' error
    assert history.result.loss == pytest.approx(4.0 * residual, rel=1e-6)


def test_pretrain_fn_is_called_with_the_model_before_the_fit():
    model, seen = line(), []

    def move(given):
        seen.append(given)
        given.set_weights([np.full((2, 1), 5.0), np.zeros(1)])

    history = model.fit(X, Y, epochs=1, verbose=0, pretrain_fn=move)

    assert seen == [model]
    design = np.column_stack([X, np.ones(len(X))])
    # one step from (5, 5, 0) is still above where the start (seed 3) would have led
    assert history.history["loss"][0] < np.mean((design @ [5.0, 5.0, 0.0] - Y[:, 0]) ** 2)


def test_pretrain_fn_of_the_constructor_is_called_before_each_fit():
    seen = []
    model = line(kormos.BatchOptimizer("cg", pretrain_fn=seen.append))

    model.fit(X, Y, epochs=1, verbose=0)
    model.fit(X, Y, epochs=1, verbose=0)

    assert seen == [model, model]
