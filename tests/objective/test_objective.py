from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import SAMPLES, Case, floatx, make, normal
from oracles import (
    NAIVE,
    RAGGED,
    differences,
    direction_of,
    naive_value_and_grad,
    objective_of,
    point_of,
    quiet_hvp,
    relative,
    state_of,
    study,
)
from scipy import optimize

from kormos_core.curvature import dense_hessian
from kormos_core.errors import CurvatureWarning, UnsupportedError
from kormos_core.objective import HESSIAN_LIMIT, FunctionObjective, Numerics
from kormos_core.protocols import Objective

pytestmark = pytest.mark.backends("tensorflow", "torch")

ROUNDING = 1e-12
DIFFERENCES = 1e-6  # steps of 1e-6 leave |g|/|Hv| * 1e-10, and third derivatives * 1e-12


def test_an_objective_keeps_to_the_protocol():
    zoo = study("dense")

    assert isinstance(zoo.whole, Objective)
    assert zoo.whole.size == 3 * 4 + 4 + 4 * 2 + 2 + 2 + 1
    assert zoo.whole.bounds is None
    assert zoo.whole.constraints == ()
    assert zoo.whole.dtype == "float64"


def test_what_comes_out_is_numpy_in_float64():
    objective = objective_of(make("convolution", "float32"), dtype="float32", eager=True)[0]
    x = objective.program.layout.read()

    f, g = objective.value_and_grad(x)
    hv = objective.hvp(x, x)

    assert type(f) is float
    assert type(objective.value(x)) is float
    assert (g.dtype, hv.dtype) == (np.float64, np.float64)
    assert g.shape == hv.shape == x.shape


def test_what_comes_out_is_the_callers_own():
    zoo = study("dense")
    _, g = zoo.whole.value_and_grad(zoo.x)
    expected = g.copy()

    g[:] = 0.0

    assert zoo.whole.value_and_grad(zoo.x)[1] == pytest.approx(expected, rel=0)


def test_what_goes_in_is_not_changed():
    zoo = study("dense")
    x, v = zoo.x.copy(), zoo.v.copy()

    zoo.ragged.value_and_grad(x)
    quiet_hvp(zoo.ragged, x, v)

    assert x.tobytes() == zoo.x.tobytes()
    assert v.tobytes() == zoo.v.tobytes()


def test_evaluations_are_counted_by_kind():
    objective = objective_of(make("dense"), RAGGED, hvp="finite-difference", eager=True)[0]
    x = point_of(objective)

    objective.value(x)
    objective.value_and_grad(x)
    objective.hvp(x, x)

    counts = objective.counts
    assert (counts.value, counts.value_and_grad, counts.hvp) == (1, 1 + 2, 1)
    assert counts.fg == 4


@pytest.mark.parametrize("name", ["dense", "two_in_two_out", "own_sum_loss"])
def test_a_dense_hessian_makes_the_products(name):
    zoo = study(name)

    hessian = zoo.whole.hessian(zoo.x)

    assert hessian.tobytes() == hessian.T.tobytes()
    assert relative(hessian @ zoo.v, quiet_hvp(zoo.whole, zoo.x, zoo.v)) < ROUNDING


def test_a_dense_hessian_of_many_parameters_is_refused():
    def product(x, v):
        raise AssertionError

    with pytest.raises(UnsupportedError, match=r"2,001 parameters.*Use a solver that takes Hess"):
        dense_hessian(product, np.zeros(HESSIAN_LIMIT + 1))


def test_a_dense_hessian_is_made_symmetric():
    skew = np.array([[1.0, 2.0], [4.0, 5.0]])

    hessian = dense_hessian(lambda x, v: skew @ v, np.zeros(2))

    assert hessian.tolist() == [[1.0, 3.0], [3.0, 5.0]]


def test_one_batch_of_arrays_is_passed_on_and_not_copied():
    objective = objective_of(make("two_in_two_out"))[0]
    seen = []
    program = objective.program
    value = program.value
    program.value = lambda x, inputs: seen.append(inputs) or value(x, inputs)

    for scale in (1.0, 2.0):
        objective.value(scale * point_of(objective))

    first, second = (keras.tree.flatten(inputs.arrays) for inputs in seen)
    assert all(a is b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["dense", "masked_tokens", "two_in_two_out", "added_sum"])
def test_eager_evaluation_is_compiled_evaluation(name):
    zoo = study(name)
    eager = objective_of(zoo.case, RAGGED, eager=True)[0]
    f, g = zoo.ragged.value_and_grad(zoo.x)

    eager_f, eager_g = eager.value_and_grad(zoo.x)

    assert eager_f == pytest.approx(f, rel=ROUNDING)
    assert relative(eager_g, g) < ROUNDING


def test_eager_products_are_compiled_products():
    zoo = study("masked_tokens")
    eager = objective_of(zoo.case, eager=True)[0]

    hv = eager.hvp(zoo.x, zoo.v)

    assert eager.hvp_kind == "forward-over-reverse"
    assert relative(hv, quiet_hvp(zoo.whole, zoo.x, zoo.v)) < ROUNDING


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", ["dense", "convolution", "layer_normalization", "masked_tokens"])
@pytest.mark.parametrize("batch_size", [None, RAGGED])
def test_xla_gives_the_same_but_for_rounding(name, batch_size):
    zoo = study(name)
    jit = objective_of(zoo.case, batch_size, jit=True)[0]
    f, g = zoo.whole.value_and_grad(zoo.x)

    jit_f, jit_g = jit.value_and_grad(zoo.x)

    assert jit_f == pytest.approx(f, rel=ROUNDING)
    assert relative(jit_g, g) < ROUNDING


@pytest.mark.backends("tensorflow")
def test_xla_makes_the_same_hessian_products():
    zoo = study("dense")
    jit = objective_of(zoo.case, jit=True)[0]

    hv = jit.hvp(zoo.x, zoo.v)

    assert jit.hvp_kind == "forward-over-reverse"
    assert relative(hv, quiet_hvp(zoo.whole, zoo.x, zoo.v)) < ROUNDING


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_recurrent_layers_have_products_under_xla_too(name):
    zoo = study(name)
    jit = objective_of(zoo.case, jit=True)[0]

    hv = quiet_hvp(jit, zoo.x, zoo.v)

    assert relative(hv, quiet_hvp(zoo.whole, zoo.x, zoo.v)) < DIFFERENCES


def test_frozen_weights_are_no_parameters_and_stay():
    zoo = study("frozen_layer")
    frozen = zoo.case.model.layers[0]
    before = state_of(frozen)

    zoo.whole.program.layout.write(zoo.x)

    assert zoo.whole.size == 3 * 2 + 2 + 2 + 1
    assert state_of(frozen) == before


def test_a_failed_evaluation_leaves_the_model_and_the_objective_alone():
    class Failing(layers.Layer):
        fails = False

        def call(self, x):
            if self.fails:
                raise RuntimeError("the layer fails")
            return x

    failing = Failing()
    with floatx("float64"):
        model = keras.Sequential(
            [keras.Input((3,)), layers.Dense(2), layers.Dropout(0.5), failing, layers.Dense(1)]
        )
        model.compile(loss="mse", optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1))
    objective = objective_of(case, RAGGED, eager=True)[0]
    x, before = point_of(objective), state_of(model)
    f = objective.value(x)
    failing.fails = True

    with pytest.raises(RuntimeError, match="the layer fails"):
        objective.value_and_grad(x)

    failing.fails = False
    assert state_of(model) == before
    assert objective.value(x) == f


def test_training_mode_is_passed_to_layers_and_inference_mode_too():
    case = make("batch_normalization")
    values = {}
    for training in (True, False):
        objective = objective_of(case, training=training, eager=True)[0]
        x = point_of(objective)
        values[training] = (
            objective.value(x),
            naive_value_and_grad(case, x, training=training)[0],
        )

    assert values[True][0] == pytest.approx(values[True][1], rel=NAIVE)
    assert values[False][0] == pytest.approx(values[False][1], rel=NAIVE)
    assert values[True][0] != pytest.approx(values[False][0], rel=0.01)


def test_a_function_is_an_objective_like_any_other():
    function = FunctionObjective(lambda x: keras.ops.sum(x**2), 3)

    assert isinstance(function, Objective)
    assert direction_of(function).shape == (3,)


def rosenbrock(x):
    return keras.ops.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


POINT = np.array([-1.2, 1.0, 0.3])


@pytest.mark.parametrize("jit", [False, True])
def test_a_function_has_the_derivatives_that_scipy_has(jit):
    function = FunctionObjective(rosenbrock, 3, numerics=Numerics(jit=jit))

    f, g = function.value_and_grad(POINT)

    assert f == pytest.approx(optimize.rosen(POINT), rel=ROUNDING)
    assert function.value(POINT) == pytest.approx(f, rel=ROUNDING)
    assert g == pytest.approx(optimize.rosen_der(POINT), rel=ROUNDING)
    assert function.hessian(POINT) == pytest.approx(optimize.rosen_hess(POINT), rel=ROUNDING)


@pytest.mark.parametrize("kind", ["forward-over-reverse", "reverse-over-reverse"])
def test_a_function_takes_a_kind_of_product_by_name(kind):
    function = FunctionObjective(rosenbrock, 3, numerics=Numerics(hvp=kind))

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        hv = function.hvp(POINT, np.ones(3))

    assert relative(hv, differences(function, POINT, np.ones(3))) < DIFFERENCES


def test_a_function_of_float32_is_read_in_float64():
    function = FunctionObjective(lambda x: keras.ops.sum(keras.ops.cast(x, "float32")), 2)

    f, g = function.value_and_grad(np.array([1.0, 2.0]))

    assert (f, g.tolist()) == (3.0, [1.0, 1.0])


def test_a_function_that_gives_an_array_of_one_is_a_scalar():
    function = FunctionObjective(lambda x: keras.ops.sum(x**2, keepdims=True), 2)

    assert function.value(np.array([3.0, 4.0])) == 25.0


def test_a_function_keeps_what_it_is_given():
    function = FunctionObjective(rosenbrock, 3, constraints=("any",))

    assert function.constraints == ("any",)
    assert function.bounds is None
    assert function.diagnose(POINT) == ""
