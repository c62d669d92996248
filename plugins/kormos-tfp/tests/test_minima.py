"""Minima: those of SciPy, of the compiled loop and of XLA, with honest counts."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import kormos
from kormos_core import Status
from kormos_tfp.specs import SPECS

PROBLEMS = ["bowl", "negative", "logistic"]

# The largest component of the gradient is 1e-8 at the end, so the loss is off by 1e-16 over
# the curvature, at least 0.01 here; the losses at the simplex differ by 1e-8.
TOLERANCES = {"l-bfgs": 1e-12, "bfgs": 1e-12, "nelder-mead": 1e-7}


def scipys_minimum(graph):
    def value_and_grad(x):
        f, g = graph.value_and_grad(tf.constant(x))
        return float(f), np.array(g)

    return scipy.optimize.minimize(
        value_and_grad, graph.x0, jac=True, method="BFGS", options={"gtol": 1e-9}
    ).fun


@pytest.mark.parametrize(("name", "problem"), [*itertools.product(SPECS, PROBLEMS)])
def test_the_minimum_is_scipys_and_every_evaluation_is_counted(name, problem, build, solve):
    graph = build(problem)
    minimum = scipys_minimum(build(problem))

    # eager loops need no seconds of compilation; the simplex takes hundreds of iterations
    result, host = solve(name, graph, compiled=name == "nelder-mead")

    assert result.status is (Status.F_TOL if name == "nelder-mead" else Status.GRAD_TOL)
    assert result.loss == pytest.approx(minimum, rel=1e-14, abs=TOLERANCES[name])
    assert host.losses[-1] == pytest.approx(result.loss, abs=TOLERANCES[name])
    assert len(host.losses) == result.num_iterations
    assert host.num_fg == graph.count


@pytest.mark.parametrize("name", ["l-bfgs", "nelder-mead"])
def test_the_compiled_loop_traces_the_objective_once(name, build, solve):
    graph, eager = build("bowl"), build("bowl")

    result, host = solve(name, graph, maxiter=6, compiled=True)
    slow, _ = solve(name, eager, maxiter=6)

    assert graph.num_traces == 1
    assert host.num_fg == graph.count == eager.count
    np.testing.assert_allclose(result.x, slow.x, rtol=1e-12)


@pytest.mark.parametrize("name", SPECS)
def test_xla_compiles_the_loop(name, build):
    valley = build("valley")

    result = kormos.minimize(valley.f, valley.x0, solver=f"tfp:{name}", jit_compile=True)

    assert result.converged
    assert result.loss == pytest.approx(0.0, abs=1e-8)  # the losses at the simplex differ by it
    assert result.solver == f"tfp:{name}"


def test_a_model_is_trained_with_one_row_of_history_an_iteration():
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = X @ [[1.0], [-2.0], [0.5]] + 0.25
    model = kormos.BatchOptimizedSequentialModel(
        [keras.layers.Input((3,)), keras.layers.Dense(1, dtype="float64")]
    )
    model.compile(optimizer="tfp-lbfgs", loss="mse", jit_compile=False)

    history = model.fit(X, y, epochs=50, verbose=0)

    assert history.result.status is Status.GRAD_TOL
    assert len(history.history["loss"]) == history.result.num_iterations
    np.testing.assert_allclose(model.get_weights()[0].ravel(), [1.0, -2.0, 0.5], atol=1e-7)


def test_a_callback_stops_the_solve(build):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    result = kormos.minimize(
        build("bowl").f, [0.0] * 4, solver="tfp:nelder-mead", callbacks=[Stop()]
    )

    assert result.status is Status.STOPPED_BY_CALLBACK
    assert result.num_iterations == 2
