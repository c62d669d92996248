"""How a model is compiled to run: eagerly, by XLA, in chunks; with every family."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import layers
from matrix.families import FAMILIES, best_line, evaluated, flat_weights, line, line_data, tight

import kormos
from kormos_core.errors import UnsupportedError

X, Y = line_data()
BEST = best_line()[0]


def fit(family, *, epochs=4, metrics=None, arguments=None, **how):
    """Fit a small network from the same start; a line would be done too soon to tell."""
    keras.utils.set_random_seed(4)
    model = kormos.BatchOptimizedSequentialModel(
        [keras.Input((2,)), layers.Dense(2, "tanh"), layers.Dense(1)]
    )
    model.compile(optimizer=family, loss="mse", metrics=metrics, **how)
    return model.fit(X, np.sin(Y), epochs=epochs, verbose=0, **(arguments or {}))


@functools.cache
def plain(family):
    """Fit in the graph without XLA, once for all that is held against it."""
    return fit(family, run_eagerly=False, jit_compile=False, epochs=3).history


# --- eagerly ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_running_eagerly_gives_what_evaluate_gives(family):
    history = fit(family, run_eagerly=True, metrics=["mae"])

    told = evaluated(history.model, X, np.sin(Y))
    assert len(history.history["loss"]) == history.result.num_iterations
    assert history.result.loss == pytest.approx(told["loss"], rel=1e-12)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.parametrize("family", ["native:lbfgs", "native:newton-cg"])
def test_running_eagerly_gives_the_iterates_of_the_graph(family):
    eager = fit(family, run_eagerly=True, epochs=3).history

    compiled = plain(family)

    # the same operations, in another order inside of fused kernels
    np.testing.assert_allclose(eager["loss"], compiled["loss"], rtol=1e-9)
    assert eager["fg_evals"] == compiled["fg_evals"]


# --- by XLA ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "jit_compile"),
    [
        ("scipy:newton-cg", True),
        ("native:lbfgs", True),
        ("scipy:l-bfgs-b", "auto"),  # XLA on accelerators
        ("native:lbfgs", "auto"),
    ],
)
def test_xla_gives_the_same_to_rounding(family, jit_compile):
    jitted = fit(family, jit_compile=jit_compile, epochs=3).history

    np.testing.assert_allclose(jitted["loss"], plain(family)["loss"], rtol=1e-9)


# --- in chunks -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["native:newton-cg", "tfp:l-bfgs"])
def test_chunks_change_which_rows_have_metrics_and_nothing_else(family):
    arguments = {"validation_data": (X, np.sin(Y))}
    how = {"metrics": ["mae"], "arguments": arguments, "run_eagerly": True}
    one = fit(family, epochs=4, steps_per_execution=1, **how)

    three = fit(family, epochs=4, steps_per_execution=3, **how)

    assert three.history["loss"] == one.history["loss"]
    assert three.history["fg_evals"] == one.history["fg_evals"]
    served = [row for row, mae in enumerate(three.history["mae"]) if not np.isnan(mae)]
    assert served == [2, 3]
    for row in served:
        assert three.history["mae"][row] == pytest.approx(one.history["mae"][row], rel=1e-9)
    assert three.history["val_loss"] == [one.history["val_loss"][row] for row in served]


@pytest.mark.parametrize("family", ["scipy:l-bfgs-b", "scipy:newton-cg", "scipy:nelder-mead"])
def test_chunks_are_refused_outside_of_the_graph(family):
    with pytest.raises(UnsupportedError, match=rf"{family} cannot honor steps_per_execution=7"):
        fit(family, steps_per_execution=7)


# --- without gradients -----------------------------------------------------------------------


def test_a_method_without_gradients_finds_the_line():
    optimizer = tight("scipy:nelder-mead")
    model = line(optimizer=optimizer, metrics=["mae"], jit_compile=False)

    history = model.fit(X, Y, verbose=0)

    # a simplex of 1e-6 at the end, where the loss differs by its square
    np.testing.assert_allclose(flat_weights(model), BEST, atol=1e-5)
    assert history.history["mae"][-1] == pytest.approx(evaluated(model, X, Y)["mae"], rel=1e-5)


@pytest.mark.parametrize("family", ["scipy:l-bfgs-b", "native:lbfgs"])
def test_metrics_are_no_part_of_the_loss(family):
    measured = fit(family, metrics=["mae", "cosine_similarity"], run_eagerly=True).history

    assert fit(family, run_eagerly=True).history["loss"] == measured["loss"]
