"""What holds on torch alone."""

from __future__ import annotations

import gc
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, floatx, make, masked_tokens, normal, regression
from oracles import RAGGED, differences, objective_of, point_of, relative, state_of

import kormos
from kormos_core.backends import current_backend
from kormos_core.errors import UnsupportedError
from kormos_core.objective import FunctionObjective

pytestmark = pytest.mark.backends("torch")

ROUNDING = 1e-12
PLAIN = {"jit": False, "eager": False}
EXACT = ["forward-over-reverse", "reverse-over-reverse"]
MATRIX, VECTOR = normal(7, 5), normal(5, seed=1)


def test_matrix_products_of_float64_are_those_of_numpy():
    multiply = current_backend().compile(ops.matmul, **PLAIN)

    product = multiply(ops.convert_to_tensor(MATRIX), ops.convert_to_tensor(VECTOR))

    assert relative(ops.convert_to_numpy(product), MATRIX @ VECTOR) < ROUNDING


def test_keras_itself_rounds_them_to_float32():
    product = ops.matmul(ops.convert_to_tensor(MATRIX), ops.convert_to_tensor(VECTOR))

    assert str(product.dtype) == "torch.float32"  # else `computing_in` is needed no more


def test_what_is_cast_by_name_stays_cast():
    cast = current_backend().compile(lambda x: ops.matmul(x, ops.cast(x, "float32")), **PLAIN)
    floats = current_backend().compile(lambda x: ops.cast(x, "float32"), **PLAIN)
    x = ops.convert_to_tensor(VECTOR)

    assert str(floats(x).dtype) == "torch.float32"
    with pytest.raises(RuntimeError, match="dtype"):  # as of any float64 and float32 on torch
        cast(x)


def test_constants_keep_their_digits():
    floor = current_backend().compile(lambda x: ops.maximum(x, 0.1), **PLAIN)

    assert float(floor(ops.zeros((), "float64"))) == 0.1


@pytest.mark.parametrize("inner", ["float32", "float64"])
def test_a_scope_of_float32_suspends_that_of_float64(inner):
    backend = current_backend()
    x = ops.convert_to_tensor(MATRIX)

    with backend.computing_in("float64"):
        with backend.computing_in(inner):
            within = ops.matmul(x, x.T)
        after = ops.matmul(x, x.T)

    assert keras.backend.standardize_dtype(within.dtype) == inner
    assert keras.backend.standardize_dtype(after.dtype) == "float64"


def test_a_matrix_that_is_not_positive_definite_has_a_factor_of_nans():
    factor = current_backend().compile(ops.cholesky, **PLAIN)

    both = factor(ops.convert_to_tensor(np.stack([4.0 * np.eye(2), -np.eye(2)])))

    both = ops.convert_to_numpy(both)
    assert both[0].tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert np.isnan(both[1]).all()


def test_derivatives_touch_nothing_of_the_model():
    case = make("dense")
    before = state_of(case.model)
    objective = objective_of(case)[0]
    x = point_of(objective)

    objective.value_and_grad(x)
    objective.hvp(x, x)

    values = [variable.value for variable in case.model.variables]
    assert all(value.grad is None for value in values)
    trainable = [variable.trainable for variable in case.model.variables]
    assert [value.requires_grad for value in values] == trainable
    assert state_of(case.model) == before


def test_results_hold_no_record(float64):
    objective = objective_of(regression(layers.Dense(2, "tanh")))[0]
    x = ops.convert_to_tensor(point_of(objective))

    f, g, hv = objective.compile(
        lambda graph, x: (*graph.value_and_grad(x), graph.hvp_at(x)(x)), "all"
    )(x)

    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in (f, g, hv, x))


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize(
    "name",
    ["attention", "batch_normalization", "group_normalization", "layer_normalization", "lstm"],
)
def test_both_kinds_are_exact_where_they_are_not_elsewhere(name, kind):
    objective = objective_of(make(name), hvp=kind)[0]
    x, v = point_of(objective), normal(objective.size, seed=2)

    hv = objective.hvp(x, v)

    assert objective.hvp_kind == kind
    assert relative(hv, differences(objective, x, v)) < 1e-6  # of differences


def test_noise_without_a_seed_is_frozen_and_leaves_the_generator_alone(float64):
    import torch

    objective = objective_of(regression(layers.Dense(5), layers.Dropout(0.5)))[0]
    x = point_of(objective)
    before = torch.random.get_rng_state()

    losses = {objective.value(x) for _ in range(3)}

    assert len(losses) == 1
    assert torch.equal(torch.random.get_rng_state(), before)


def test_batches_have_noise_of_their_own_however_many_there_are(float64):
    objective = objective_of(regression(layers.Dropout(0.5)), batch_size=5)[0]

    seeds = {tuple(objective.noise.for_batch(index)[0].tolist()) for index in range(0, 9000, 8)}

    assert len(seeds) == 1125  # counters of 32 bits wrap around


def test_masks_leave_the_sample_weights_as_they_are():
    with floatx("float64"):
        case = masked_tokens(np.linspace(0.5, 2.0, SAMPLES)[:, None] * np.ones((1, 4)))
    objective = objective_of(case)[0]
    x = point_of(objective)

    losses = {objective.value(x) for _ in range(3)}

    assert len(losses) == 1
    (_, inputs), *_ = objective.inputs()
    np.testing.assert_array_equal(ops.convert_to_numpy(inputs.arrays[2]), case.sample_weight)


def test_rows_of_what_branches_by_values_are_taken_one_by_one():
    def absolute(row):
        return row if float(row[0]) > 0.0 else -row

    rows = current_backend().map_rows(absolute, ops.convert_to_tensor([[1.0, 2.0], [-3.0, 4.0]]))

    assert rows.tolist() == [[1.0, 2.0], [3.0, -4.0]]


def test_compiled_evaluations_are_the_same_but_for_rounding():
    case = make("dense")
    plain, compiled = (objective_of(case, RAGGED, jit=jit)[0] for jit in (False, True))
    x = point_of(plain)
    f, g = plain.value_and_grad(x)

    compiled_f, compiled_g = compiled.value_and_grad(x)

    assert compiled_f == pytest.approx(f, rel=ROUNDING)
    assert relative(compiled_g, g) < ROUNDING


def test_noise_is_not_compiled(float64):
    objective = objective_of(regression(layers.Dropout(0.5, seed=1)), jit=True)[0]

    with pytest.raises(UnsupportedError, match=r"jit_compile=True cannot be honored: .*dropout"):
        objective.value(point_of(objective))


def test_a_solver_in_the_graph_has_its_objective_compiled():
    def bowl(x):
        return ops.sum(ops.square(x - 1.0))

    result = kormos.minimize(bowl, np.zeros(3), solver="native:lbfgs", jit_compile=True)

    assert result.status.converged
    np.testing.assert_allclose(result.x, 1.0)


@pytest.mark.parametrize("solver", ["native:lbfgs", "native:newton-cg"])
def test_a_model_is_trained_in_the_graph_by_compiled_evaluations(solver, float64):
    losses = []
    for jit in (False, True):
        case = regression(layers.Dense(4, "tanh"))
        start = [normal(*weight.shape, seed=2) for weight in case.model.get_weights()]
        case.model.set_weights(start)
        optimizer = kormos.BatchOptimizer(solver, jit_compile=jit)
        history = kormos.fit(case.model, case.x, case.y, solver=optimizer, epochs=5, verbose=0)
        losses.append(history.history["loss"])

    np.testing.assert_allclose(*losses, rtol=1e-9)


def test_functions_take_tensors_and_no_arrays():
    constants = np.arange(3.0)
    objective = FunctionObjective(lambda x: ops.sum(constants * x), 3)

    with pytest.raises(UnsupportedError, match=r"unsupported operand.*ops\.convert_to_tensor"):
        objective.value(np.ones(3))


_FIT = """
import keras, numpy as np, kormos
from kormos_core.peak_memory import peak_memory_bytes
keras.config.set_floatx("float64")
x = np.random.default_rng(0).normal(size=(5000, 50))
y = np.tanh(x @ np.random.default_rng(1).normal(size=(50, 4)))
layers = keras.layers
model = keras.Sequential([keras.Input((50,)), layers.Dense(40, "tanh"), layers.Dense(4)])
model.compile(optimizer=kormos.BatchOptimizer("native:lbfgs"), loss="mse")
kormos.fit(model, x, y, epochs=3, batch_size=5000, verbose=0)
before = peak_memory_bytes()
history = kormos.fit(model, x, y, epochs=50, batch_size=5000, verbose=0)
print(before, peak_memory_bytes(), len(history.history["loss"]))
"""


def test_iterations_leave_no_records_behind():
    # the record of an evaluation is some arrays of 5,000 times 40: 6 MiB, one of a product more
    done = subprocess.run(
        [sys.executable, "-c", _FIT],
        check=True,
        capture_output=True,
        text=True,
    )

    before, after, done_iterations = (int(number) for number in done.stdout.split())
    assert done_iterations == 50
    assert after - before < 30 * 2**20


def test_a_product_that_is_dropped_frees_its_record():
    import torch

    gc.disable()
    try:
        x = ops.convert_to_tensor(np.ones(10))
        product = current_backend().hvp_kinds["reverse-over-reverse"](lambda z: ops.sum(z**4), x)
        product(x)
        del product
        alive = sum(
            type(item) is torch.Tensor and item.grad_fn is not None for item in gc.get_objects()
        )
    finally:
        gc.enable()

    assert alive == 0
