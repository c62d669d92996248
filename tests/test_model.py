from __future__ import annotations

import copy
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import layers
from scipy.optimize import Bounds
from training.problems import best_line, data, flat_weights, line, line_layers, plain_line

import kormos
from kormos_core.errors import UnknownSolverError, UnsupportedError
from kormos_core.objective import floatx_scope

X, Y = data()

OPTIMIZER = {
    "options": {"initial_simplex": np.eye(4, 3), "maxfev": np.int64(60)},
    "bounds": {"unit/kernel": (-3, None)},
    "tol": np.float64(1e-6),
    "epochs": 4,
}


def optimizer():
    return kormos.BatchOptimizer("scipy:nelder-mead", **OPTIMIZER)


@keras.saving.register_keras_serializable(package="tests")
class Line(kormos.BatchOptimizedModel):
    """A line as a subclass."""

    def __init__(self, **options):
        super().__init__(**options)
        self.unit = layers.Dense(1, name="unit", dtype="float64")

    def call(self, inputs):
        return self.unit(inputs)


@keras.saving.register_keras_serializable(package="tests")
class MixedLine(kormos.BatchOptimizedMixin, keras.Model):
    """A line with the mixin before Keras's own class."""

    def __init__(self, **options):
        super().__init__(**options)
        self.unit = layers.Dense(1, name="unit", dtype="float64")

    def call(self, inputs):
        return self.unit(inputs)


def functional(**options):
    inputs, unit = line_layers()
    model = kormos.BatchOptimizedModel(inputs, unit(inputs), **options)
    model.compile(optimizer(), "mse", metrics=["mae"])
    return model


def built(make):
    keras.utils.set_random_seed(3)
    model = make()
    model.compile(optimizer(), "mse", metrics=["mae"])
    model(np.zeros((1, 2)))
    return model


MAKERS = {
    "sequential": lambda: line(optimizer(), metrics=["mae"]),
    "functional": functional,
    "subclass": lambda: built(Line),
    "mixin": lambda: built(MixedLine),
    "plain": lambda: plain_line(optimizer=optimizer(), metrics=["mae"]),
}


def save_and_load(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    return keras.models.load_model(path)


# --- saving ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_solver_options_bounds_and_tolerance_survive_saving(kind, tmp_path):
    model = MAKERS[kind]()

    loaded = save_and_load(model, tmp_path)

    request = loaded.optimizer.request
    assert type(loaded.optimizer) is kormos.BatchOptimizer
    assert request.solver == "scipy:nelder-mead"
    assert request.options == {"initial_simplex": np.eye(4, 3).tolist(), "maxfev": 60}
    assert request.bounds == {"unit/kernel": [-3, None]}
    assert request.tol == 1e-6
    assert request.epochs == 4


@pytest.mark.filterwarnings("ignore:the loss of the float64 model")
@pytest.mark.parametrize("kind", MAKERS)
def test_a_loaded_model_is_compiled_and_trains_on(kind, tmp_path):
    model = MAKERS[kind]()
    kormos.fit(model, X, Y, verbose=0, epochs=2)

    loaded = save_and_load(model, tmp_path)
    history = kormos.fit(loaded, X, Y, verbose=0)

    assert loaded.compiled
    assert type(loaded) is type(model)
    assert history.result.solver == "scipy:nelder-mead"
    assert len(history.history["mae"]) == 4
    again = kormos.fit(model, X, Y, verbose=0)
    # Keras compiles a plain model anew with a loss in float32, which it tells
    np.testing.assert_allclose(history.history["loss"], again.history["loss"], rtol=1e-5)


@pytest.mark.backends("tensorflow")
def test_a_fitted_model_is_exported_for_serving(tmp_path):
    import tensorflow as tf

    model = MAKERS["functional"]()
    kormos.fit(model, X, Y, verbose=0, epochs=2)

    model.export(tmp_path / "served", verbose=False)

    served = tf.saved_model.load(tmp_path / "served")
    expected = model.predict(X, verbose=0)  # in float32, as Keras's floatx is
    np.testing.assert_allclose(served.serve(tf.constant(X)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_weights_survive_saving_alone(kind, tmp_path):
    model, other = MAKERS[kind](), MAKERS[kind]()
    kormos.fit(model, X, Y, verbose=0, epochs=2)
    path = tmp_path / "only.weights.h5"

    model.save_weights(path)
    other.load_weights(path)

    np.testing.assert_array_equal(flat_weights(other), flat_weights(model))
    assert not np.array_equal(flat_weights(MAKERS[kind]()), flat_weights(model))


BOUNDS = {
    "pair": (-0.5, 0.5),
    "pairs": [(None, 0.5), (-1, None), (-1, 1)],
    "array": np.array([[0, 1], [-1, 1], [0, 0.25]]),
    "Bounds of numbers": Bounds(-0.5, 0.5),
    "Bounds of arrays": Bounds([-np.inf, -1, -1], [0.5, np.inf, 1]),
    "layer": {"unit": (-0.5, 0.5)},
    "arrays for a weight": {"unit/kernel": (np.array([[0.0], [-1.0]]), [[1.0], [np.inf]])},
}


@pytest.mark.parametrize("form", BOUNDS)
def test_bounds_of_every_form_mean_the_same_after_loading(form, tmp_path):
    model = line(kormos.BatchOptimizer("l-bfgs-b", bounds=BOUNDS[form]))

    loaded = save_and_load(model, tmp_path)

    weights = [flat_weights(m) for m in (model, loaded) if m.fit(X, Y, verbose=0)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.allclose(weights[0], best_line(X, Y), atol=0.1)


def test_the_optimizer_of_0_1_survives_saving(tmp_path):
    solver = kormos.optimizers.ScipyBatchOptimizer("BFGS", options={"gtol": 1e-3}, epochs=3)

    loaded = save_and_load(line(solver), tmp_path)

    assert type(loaded.optimizer) is kormos.optimizers.ScipyBatchOptimizer
    assert loaded.optimizer.method == "bfgs"
    assert loaded.optimizer.request.options == {"gtol": 1e-3}
    assert loaded.optimizer.request.epochs == 3


@pytest.mark.parametrize(
    ("name", "value"), [("constraints", {"type": "eq", "fun": sum}), ("pretrain_fn", print)]
)
def test_what_holds_functions_cannot_be_saved(name, value, tmp_path):
    model = line(kormos.BatchOptimizer("slsqp", **{name: value}))

    with pytest.raises(UnsupportedError, match=f"{name} hold Python objects"):
        model.save(tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer 'adam")
def test_saving_a_model_that_keras_trains_is_as_ever(tmp_path):
    loaded = save_and_load(line("adam"), tmp_path)

    assert type(loaded.optimizer) is keras.optimizers.Adam
    assert loaded.compiled


def test_models_load_and_train_on_in_a_process_that_only_imports_kormos(tmp_path):
    kinds = ("sequential", "functional", "plain")
    for kind in kinds:
        MAKERS[kind]().save(tmp_path / f"{kind}.keras")
    program = f"""
        import kormos
        import keras, numpy as np

        rng = np.random.default_rng(0)
        x = rng.normal(size=(20, 2))
        y = (x @ [1.0, -2.0] + 0.5)[:, None]
        for kind in {kinds!r}:
            model = keras.models.load_model({str(tmp_path)!r} + f"/{{kind}}.keras")
            assert model.compiled
            result = kormos.fit(model, x, y, verbose=0).result
            print(kind, result.solver, result.num_iterations, model.optimizer.request.bounds)
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = "scipy:nelder-mead 4 {'unit/kernel': [-3, None]}"
    assert done.stdout.splitlines() == [f"{kind} {told}" for kind in kinds]


def test_a_model_can_be_copied():
    model = line(optimizer())

    copied = copy.deepcopy(model)

    assert copied.optimizer.request.solver == "scipy:nelder-mead"
    history = copied.fit(X, Y, verbose=0, epochs=1)
    assert history.result.num_iterations == 1
    assert not np.array_equal(flat_weights(copied), flat_weights(model))


# --- cloning -----------------------------------------------------------------------------


def test_a_functional_model_is_cloned_as_what_it_is():
    clone = keras.models.clone_model(functional())

    clone.compile("bfgs", "mse")
    history = clone.fit(X, Y, verbose=0)

    assert isinstance(clone, kormos.BatchOptimizedModel)
    assert history.result.converged


def test_a_subclass_is_cloned_as_what_it_is():
    clone = keras.models.clone_model(built(Line))

    assert type(clone) is Line


def test_a_sequential_model_is_cloned_by_keras_and_fitted_by_kormos():
    clone = keras.models.clone_model(line())
    with floatx_scope("float64"):
        clone.compile("sgd", "mse")

    history = kormos.fit(clone, X, Y, solver="bfgs", verbose=0)

    assert type(clone) is keras.Sequential  # Keras makes its own class here, whatever it is given
    assert history.result.converged


# --- classes -----------------------------------------------------------------------------


def fit_briefly(model):
    model.compile("bfgs", "mse")
    return model.fit(X, Y, epochs=2, verbose=0).result.num_iterations


def test_functional_models_do_not_change_the_class_for_later_subclasses():
    functional()

    class Later(kormos.BatchOptimizedModel):
        def __init__(self):
            super().__init__()
            self.unit = layers.Dense(1)

        def call(self, inputs):
            return self.unit(inputs)

    assert fit_briefly(Later()) == 2


def test_a_subclass_that_is_functional_does_not_change_the_class_either():
    class Functional(kormos.BatchOptimizedModel):
        def __init__(self):
            inputs = keras.Input((2,))
            super().__init__(inputs=inputs, outputs=layers.Dense(1)(inputs))

    class More(Functional):
        pass

    bases = kormos.BatchOptimizedModel.__bases__
    assert fit_briefly(More()) == 2
    assert fit_briefly(Functional()) == 2

    assert kormos.BatchOptimizedModel.__bases__ == bases
    assert fit_briefly(Line()) == 2


def test_the_mixin_serves_functional_subclasses():
    class Functional(kormos.BatchOptimizedMixin, keras.Model):
        def __init__(self):
            inputs = keras.Input((2,))
            super().__init__(inputs, layers.Dense(1)(inputs))

    assert fit_briefly(Functional()) == 2
    assert fit_briefly(MixedLine()) == 2


@pytest.mark.parametrize(
    "make",
    [
        kormos.BatchOptimizedModel,
        lambda i, o: kormos.BatchOptimizedModel(inputs=i, outputs=o),
        lambda i, o: kormos.BatchOptimizedModel(i, outputs=o, name="mine"),
        lambda i, o: kormos.models.BatchOptimizedModel([i], [o]),
    ],
    ids=["positions", "names", "both", "lists"],
)
def test_a_functional_model_takes_its_arguments_as_keras_does(make):
    inputs, unit = line_layers()

    model = make(inputs, unit(inputs))

    assert isinstance(model, kormos.BatchOptimizedModel)
    assert fit_briefly(model) == 2
    assert model.get_layer("unit") is unit


def test_a_functional_model_has_a_summary_and_layers(capsys):
    functional(name="mine").summary()

    shown = capsys.readouterr().out
    assert "mine" in shown
    assert "3 (24.00 B)" in shown


def test_layers_can_be_added_one_by_one():
    model = kormos.BatchOptimizedSequentialModel()
    for layer in line_layers():
        model.add(layer)

    assert fit_briefly(model) == 2


# --- compiling ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "sgd", "RMSprop", "adamw"])
def test_a_name_that_keras_knows_stays_keras_own(name):
    model = line(name)

    assert type(model.optimizer).__name__.lower() == name.lower()


def test_an_optimizer_of_keras_trains_by_keras():
    model = line("sgd")

    history = model.fit(X, Y, verbose=0, batch_size=5)

    assert list(history.history) == ["loss"]  # one epoch, Keras's default
    assert not hasattr(history, "result")


def test_an_unknown_name_is_refused_when_compiling():
    with pytest.raises(UnknownSolverError, match="unknown solver 'adamn'"):
        line("adamn")


def test_the_default_optimizer_is_keras_own():
    model = kormos.BatchOptimizedSequentialModel(line_layers())
    model.compile(loss="mse")

    assert type(model.optimizer) is keras.optimizers.RMSprop


# --- fit_batch ---------------------------------------------------------------------------


def slow():
    """Name a solver that needs more than 20 iterations for a line."""
    return "nelder-mead"


@pytest.mark.parametrize(
    ("constructed", "given", "iterations"),
    [
        ({}, {}, 20),
        ({}, {"epochs": 5}, 5),
        ({"epochs": 7}, {}, 7),
        ({"epochs": 7}, {"epochs": 5}, 5),
        ({"options": {"maxiter": 7}}, {}, 7),
        ({}, {"options": {"maxiter": 5}}, 5),
    ],
)
def test_fit_batch_runs_20_iterations_unless_told_otherwise(constructed, given, iterations):
    model = line(kormos.BatchOptimizer(slow(), **constructed))

    history = model.fit_batch(X, Y, verbose=0, **given)

    assert history.result.num_iterations == iterations


def test_fit_batch_takes_what_fit_takes():
    model = line("cg", metrics=["mae"])

    history = model.fit_batch(X, Y, None, 3, verbose=0, validation_split=0.25, method="bfgs")

    assert history.result.solver == "scipy:bfgs"
    assert len(history.history["val_mae"]) == 3


def test_fit_batch_refuses_an_optimizer_of_keras():
    with pytest.raises(UnsupportedError, match=r"fit_batch\(\) cannot be honored by the .* Adam"):
        line("adam").fit_batch(X, Y)
