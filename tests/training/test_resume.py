"""Going on where an earlier fit stood."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import kormos
from kormos_core.errors import RestartWarning, UnsupportedError

# Each in one precision, and one in both: what a solver keeps has the same dtypes whatever the
# layers are.
IN_GRAPH = [
    ("native:lbfgs", "float32"),
    ("native:lbfgs", "float64"),
    ("native:lbfgs-b", "float32"),
    ("native:newton-cg", "float64"),
    ("native:trust-ncg", "float32"),
    ("tfp:l-bfgs", "float64"),
    ("tfp:bfgs", "float32"),
    ("tfp:nelder-mead", "float64"),
]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = np.sin(X @ RNG.normal(size=4))[:, None]


def make(optimizer, dtype="float64", share=0.1):
    keras.utils.set_random_seed(1)
    model = kormos.BatchOptimizedSequentialModel(
        [
            keras.Input((4,)),
            layers.Dense(6, activation="tanh", dtype=dtype),
            layers.Dropout(share, seed=3, dtype=dtype),  # noise must be the same, too
            layers.Dense(1, dtype=dtype),
        ]
    )
    model.compile(optimizer=optimizer, loss="mse")
    return model


@functools.cache
def made(solver, dtype):
    model = make(solver, dtype)
    return model, [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def anew(solver="native:lbfgs", dtype="float64"):
    """Return the model of a solver as it was made, its noise too: tracing is what costs."""
    model, start = made(solver, dtype)
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)
    return model


@pytest.fixture(scope="module")
def whole():
    """Losses of a fit that nothing interrupted."""
    return anew().fit(X, Y, epochs=10, verbose=0).history["loss"]


def saved_and_loaded(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


@pytest.mark.parametrize(("solver", "dtype"), IN_GRAPH)
def test_a_loaded_model_goes_on_as_if_it_had_never_stopped(solver, dtype, tmp_path):
    whole = anew(solver, dtype).fit(X, Y, epochs=9, verbose=0)
    part = anew(solver, dtype)
    part.fit(X, Y, epochs=4, verbose=0)

    rest = saved_and_loaded(part, tmp_path).fit(X, Y, epochs=9, initial_epoch=4, verbose=0)

    assert rest.epoch == [4, 5, 6, 7, 8]
    np.testing.assert_allclose(rest.history["loss"], whole.history["loss"][4:], rtol=1e-10)
    np.testing.assert_allclose(rest.result.x, whole.result.x, rtol=1e-8, atol=1e-10)


def test_weights_files_keep_where_a_solve_stands(whole, tmp_path):
    part = anew()
    part.fit(X, Y, epochs=3, verbose=0)
    part.save_weights(tmp_path / "model.weights.h5")
    other = make("native:lbfgs")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.h5")

    rest = other.fit(X, Y, epochs=8, initial_epoch=3, verbose=0)

    np.testing.assert_allclose(rest.history["loss"], whole[3:8], rtol=1e-10)


def test_a_model_in_memory_goes_on(whole):
    model = anew()
    model.fit(X, Y, epochs=3, verbose=0)

    rest = model.fit(X, Y, epochs=8, resume=True, verbose=0)

    assert rest.epoch[0] == 3
    np.testing.assert_allclose(rest.history["loss"], whole[3:8], rtol=1e-10)


def test_a_second_fit_begins_afresh():
    model = anew()
    model.fit(X, Y, epochs=5, verbose=0)
    before = model.optimizer.state

    again = model.fit(X, Y, epochs=5, verbose=0)

    assert again.epoch == [0, 1, 2, 3, 4]
    assert (before.num_iterations, model.optimizer.state.num_iterations) == (5, 5)
    assert again.result.raw["num_fg"] <= 8  # counts of this fit alone


def test_scipy_s_solvers_start_afresh_and_say_so():
    model = make("scipy:l-bfgs-b")
    model.fit(X, Y, epochs=3, verbose=0)

    with pytest.warns(RestartWarning, match="starts afresh.*within its library"):
        rest = model.fit(X, Y, epochs=6, initial_epoch=3, verbose=0)

    assert rest.epoch == [3, 4, 5]


def change_weights(model):
    model.set_weights([weight + 0.5 for weight in model.get_weights()])
    return {}


def change_options(model):
    return {"options": {"gtol": 1e-3}}


def change_data(model):
    return {"y": Y + 1.0}


def change_solver(model):
    return {"method": "native:newton-cg"}


CHANGES = [
    (change_weights, "weights have changed"),
    (change_options, "options have changed"),
    (change_data, "data or loss have changed"),
    (change_solver, "made by native:lbfgs"),
]


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_what_has_changed_is_said_before_a_fresh_start(change, why):
    model = anew()
    model.fit(X, Y, epochs=3, verbose=0)
    arguments = {"x": X, "y": Y, "epochs": 6, "verbose": 0, **change(model)}

    with pytest.warns(RestartWarning, match=why):
        rest = model.fit(**arguments, initial_epoch=3)

    assert rest.epoch == [3, 4, 5]


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_a_fresh_start_is_an_error_where_going_on_is_a_must(change, why):
    model = anew()
    model.fit(X, Y, epochs=3, verbose=0)
    arguments = {"x": X, "y": Y, "epochs": 6, "verbose": 0, **change(model)}

    with pytest.raises(UnsupportedError, match=f"cannot go on.*{why}.*resume=False"):
        model.fit(**arguments, resume=True)


def test_a_model_that_was_never_fitted_cannot_go_on():
    with pytest.raises(UnsupportedError, match="not been fitted by it"):
        make("native:lbfgs").fit(X, Y, epochs=6, resume=True, verbose=0)


def test_a_solve_that_has_converged_does_not_go_on():
    model = anew()
    model.fit(X, Y, verbose=0)

    with pytest.raises(UnsupportedError, match="had come to its end"):
        model.fit(X, Y, resume=True, verbose=0)


@pytest.mark.parametrize("resume", ["yes", None, 1.5])
def test_resume_is_one_of_three_words(resume):
    with pytest.raises(UnsupportedError, match=r"resume is not usable.*'auto', True and False"):
        anew().fit(X, Y, epochs=2, resume=resume, verbose=0)


def test_weights_that_a_callback_restored_are_not_gone_on_from():
    model = anew()
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    far = (X, Y + 3.0)  # gets worse while the fit gets better
    model.fit(X, Y + 0 * Y, epochs=30, validation_data=far, callbacks=[stop], verbose=0)
    assert len(model.history.epoch) < 30

    with pytest.warns(RestartWarning, match="weights have changed"):
        model.fit(X, Y, epochs=40, initial_epoch=30, verbose=0)


# Where fits are killed: solver, end of the epoch, epochs to the last backup by then.
KILLED = [("native:lbfgs", 6, 4), ("adam>native:lbfgs", 8, 6), ("scipy:bfgs", 6, 5)]

OTHER_PROCESS = """
import os, signal, sys
from pathlib import Path
import keras, kormos, numpy as np

folder = Path(sys.argv[1])
data = np.load(folder / "data.npz")
model = keras.models.load_model(folder / "model.keras")
history = model.fit(data["x"], data["y"], epochs=8, resume=True, verbose=0)
np.save(folder / "loss.npy", history.history["loss"])

from training.test_resume import KILLED, fit_with_backup

def die_in(fits):  # one fit within the other: a single process dies in all of them
    if not fits:
        os.kill(os.getpid(), signal.SIGKILL)
    (solver, kill_at, _), *others = fits
    act = lambda epoch, logs: die_in(others) if epoch + 1 == kill_at else None
    fit_with_backup(solver, folder, act)

die_in(KILLED)
"""


def fit_with_backup(solver, folder, act):
    """Fit with a backup after each call, for which callbacks first `act`."""
    chained = ">" in solver
    # Keras does not save where its own noise stands
    model = make(solver, share=0.0 if chained else 0.1)
    model.steps_per_execution = 1 if solver.startswith("scipy") else 2
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=act),
        keras.callbacks.BackupAndRestore(backup_of(solver, folder)),
    ]
    epochs = [4, 6] if chained else 10
    return model.fit(X, Y, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)


def backup_of(solver, folder):
    return folder / solver.replace(":", "-").replace(">", "-")


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """Let another process go on with a saved model, and be killed amid fits of its own."""
    folder = tmp_path_factory.mktemp("after")
    part = anew("native:newton-cg")
    part.fit(X, Y, epochs=3, verbose=0)
    part.save(folder / "model.keras")
    np.savez(folder / "data.npz", x=X, y=Y)
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder)]
    tests = Path(__file__).parents[1]
    process = subprocess.run(command, cwd=tests, check=False, capture_output=True, text=True)
    assert process.returncode == -9, process.stderr[-2000:]
    return folder


def test_a_new_process_goes_on_as_if_it_were_the_old_one(after):
    whole = anew("native:newton-cg").fit(X, Y, epochs=8, verbose=0)

    rest = np.load(after / "loss.npy")

    assert len(rest) == 5
    np.testing.assert_allclose(rest, whole.history["loss"][3:], rtol=1e-10)


@pytest.mark.parametrize(("solver", "first"), [(solver, first) for solver, _, first in KILLED[:2]])
def test_a_killed_fit_loses_one_chunk_and_ends_the_same(solver, first, after, tmp_path):
    whole = fit_with_backup(solver, tmp_path, None)

    rest = fit_with_backup(solver, after, None)

    assert rest.epoch[0] == first
    np.testing.assert_allclose(rest.history["loss"], whole.history["loss"][first:], rtol=1e-8)
    assert not list(backup_of(solver, after).glob("*.h5"))  # done: nothing to come back to


def test_a_killed_fit_by_scipy_begins_again_at_the_backup(after):
    with pytest.warns(RestartWarning, match="starts afresh from the model's weights"):
        rest = fit_with_backup("scipy:bfgs", after, None)

    assert rest.epoch[0] == 5


def test_a_plain_model_comes_back_to_its_backup(tmp_path):
    def fit(*callbacks):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        own = model.optimizer
        try:
            return kormos.fit(
                model,
                X,
                Y,
                solver="native:lbfgs",
                epochs=8,
                callbacks=[*callbacks, backup],
                verbose=0,
            )
        finally:
            assert model.optimizer is own

    with pytest.raises(ZeroDivisionError, match="by zero"):
        fit(keras.callbacks.LambdaCallback(on_epoch_end=lambda at, logs: 1 // (at - 5)))

    assert fit().epoch == [5, 6, 7]


def test_a_small_loss_that_has_changed_is_noticed():
    model = make("native:lbfgs")
    model.compile(optimizer="native:lbfgs", loss="mse", loss_weights=1e-3)
    options = {"gtol": 1e-30}
    model.fit(X, Y, epochs=2, options=options, verbose=0)

    with pytest.raises(UnsupportedError, match="data or loss have changed"):
        model.fit(X, Y * (1 + 5e-6), epochs=4, options=options, resume=True, verbose=0)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end"])
def test_a_fit_goes_on_after_an_error_in_a_callback(hook, whole):
    model = anew()
    model.fit(X, Y, epochs=3, verbose=0)
    bad = keras.callbacks.LambdaCallback(**{hook: lambda at, logs: 1 // 0})
    with pytest.raises(ZeroDivisionError, match="by zero"):
        model.fit(X, Y, epochs=8, resume=True, callbacks=[bad], verbose=0)

    rest = model.fit(X, Y, epochs=8, resume=True, verbose=0)

    np.testing.assert_allclose(rest.history["loss"], whole[rest.epoch[0] : 8])


def test_an_error_leaves_no_run_behind():
    class Bad(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            message = "the callback's own"
            raise ZeroDivisionError(message)

    model, bad = anew(), Bad()
    kept = weakref.ref(bad)
    with pytest.raises(ZeroDivisionError, match="the callback's own"):
        model.fit(X, Y, epochs=8, callbacks=[bad], verbose=0)

    del bad
    gc.collect()

    assert kept() is None
    assert model.optimizer.state.num_iterations == 1
