"""The laws of the objective, over models that differ in kind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from models import ZOO, floatx, make
from oracles import (
    KERAS,
    differences,
    naive_value_and_grad,
    objective_of,
    point_of,
    quiet_hvp,
    relative,
    state_of,
    study,
)

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ROUNDING = 1e-12  # sums of some hundred float64 terms in another order
BATCHES = 1e-10  # law 1's own figure
KERAS_OWN = {"torch": 1e-6}  # there `evaluate` multiplies matrices in float32
DIFFERENCES = 1e-6  # steps of 1e-6 leave |g|/|Hv| * 1e-10, and third derivatives * 1e-12

# Not all on other backends, where time is short and the laws are kept by the same code.
ELSEWHERE = {
    "batch_normalization",
    "dense",
    "gru",
    "layer_normalization",
    "masked_tokens",
    "own_mean_loss",
    "two_in_two_out",
}
ON_TENSORFLOW = keras.config.backend() == "tensorflow"

ALL = [name for name in sorted(ZOO) if ON_TENSORFLOW or name in ELSEWHERE]
BY_SAMPLE = [name for name in ALL if name != "batch_normalization"]
# Their products are made as those of gru and of layer normalization are, of which slices are
# added up too: to trace all of them takes long.
NO_SLICES = {"group_normalization", "lstm", "simple_rnn"}
EVALUATED = [
    "added_sum",
    "dense",
    "hidden_mask",
    "ignored_class",
    "masked_and_plain",
    "masked_tokens",
    "own_mean_loss",
    "own_sum_loss",
    "shared_layer",
    "two_in_two_out",
]
EVALUATED = [name for name in EVALUATED if name in ALL]


def batches(name):
    """Return the bound of law 1: on JAX a mean of Keras's divides by a number in float32."""
    rounded = name == "own_mean_loss" and keras.config.backend() == "jax"
    return 1e-7 if rounded else BATCHES


@pytest.mark.parametrize("name", ALL)
def test_value_and_gradient_are_those_of_a_naive_full_batch(name):
    zoo = study(name)
    expected_f, expected_g = naive_value_and_grad(zoo.case, zoo.x)

    f, g = zoo.whole.value_and_grad(zoo.x)

    assert f == pytest.approx(expected_f, rel=KERAS)
    assert relative(g, expected_g) < KERAS


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_value_and_gradient_do_not_depend_on_the_batch_size(name):
    zoo = study(name)
    f, g = zoo.whole.value_and_grad(zoo.x)

    ragged_f, ragged_g = zoo.ragged.value_and_grad(zoo.x)

    assert ragged_f == pytest.approx(f, rel=batches(name))
    assert relative(ragged_g, g) < batches(name)


@pytest.mark.parametrize("name", [name for name in BY_SAMPLE if name not in NO_SLICES])
def test_hessian_products_do_not_depend_on_the_batch_size(name):
    zoo = study(name)
    hv = quiet_hvp(zoo.whole, zoo.x, zoo.v)

    ragged_hv = quiet_hvp(zoo.ragged, zoo.x, zoo.v)

    exact = zoo.whole.hvp_kind != "finite-difference"
    assert zoo.ragged.hvp_kind == zoo.whole.hvp_kind
    assert relative(ragged_hv, hv) < (batches(name) if exact else DIFFERENCES)


@pytest.mark.parametrize("name", ALL)
def test_the_value_alone_is_the_value_beside_the_gradient(name):
    zoo = study(name)

    f = zoo.whole.value(zoo.x)

    assert f == pytest.approx(zoo.whole.value_and_grad(zoo.x)[0], rel=ROUNDING)


@pytest.mark.parametrize("name", ALL)
def test_the_same_point_gives_the_same_bits(name):
    zoo = study(name)

    values = {zoo.whole.value(zoo.x) for _ in range(3)}
    both = [zoo.ragged.value_and_grad(zoo.x) for _ in range(3)]

    assert len(values) == 1
    assert len({(f, g.tobytes()) for f, g in both}) == 1


@pytest.mark.parametrize("name", ALL)
def test_the_same_product_has_the_same_bits(name):
    zoo = study(name)
    quiet_hvp(zoo.whole, zoo.x, zoo.v)

    seen = {quiet_hvp(zoo.whole, zoo.x, zoo.v).tobytes() for _ in range(3)}

    assert len(seen) == 1


@pytest.mark.parametrize("name", ALL)
def test_evaluations_leave_every_variable_of_the_model_alone(name):
    zoo = study(name)
    before = state_of(zoo.case.model)

    zoo.whole.value(zoo.x)
    zoo.ragged.value_and_grad(zoo.x)
    quiet_hvp(zoo.whole if name in NO_SLICES else zoo.ragged, zoo.x, zoo.v)

    assert state_of(zoo.case.model) == before


@pytest.mark.parametrize("name", ALL)
def test_a_hessian_product_is_the_difference_of_gradients(name):
    zoo = study(name)

    hv = quiet_hvp(zoo.whole, zoo.x, zoo.v)

    assert relative(hv, differences(zoo.whole, zoo.x, zoo.v)) < DIFFERENCES


@pytest.mark.parametrize("name", ALL)
def test_the_hessian_is_symmetric(name):
    zoo = study(name)
    u = np.random.default_rng(5).normal(size=zoo.v.size)

    hu, hv = quiet_hvp(zoo.whole, zoo.x, u), quiet_hvp(zoo.whole, zoo.x, zoo.v)

    scale = np.linalg.norm(u) * np.linalg.norm(hv)
    exact = zoo.whole.hvp_kind != "finite-difference"
    assert abs(u @ hv - zoo.v @ hu) < scale * (ROUNDING if exact else DIFFERENCES)


@pytest.mark.parametrize("name", ALL)
def test_the_hessian_product_is_linear(name):
    zoo = study(name)
    u = np.random.default_rng(5).normal(size=zoo.v.size)

    hv = quiet_hvp(zoo.whole, zoo.x, 2.0 * u - 3.0 * zoo.v)

    parts = 2.0 * quiet_hvp(zoo.whole, zoo.x, u) - 3.0 * quiet_hvp(zoo.whole, zoo.x, zoo.v)
    exact = zoo.whole.hvp_kind != "finite-difference"
    assert relative(hv, parts) < (ROUNDING if exact else DIFFERENCES)


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [
        *((name, 13) for name in EVALUATED),
        # with fewer at a time Keras's own mean over batches is right for plain means only
        ("dense", 5),
        ("convolution", 5),
        *([("subclassed", 5)] if ON_TENSORFLOW else []),
    ],
)
def test_the_value_is_what_evaluate_reports(name, batch_size):
    zoo = study(name)
    case, layout = zoo.case, zoo.whole.program.layout
    before = layout.read()
    layout.write(zoo.x)

    with floatx("float64"):
        logs = case.model.evaluate(
            case.x, case.y, batch_size=batch_size, verbose=0, return_dict=True
        )

    layout.write(before)
    assert zoo.ragged.value_and_grad(zoo.x)[0] == pytest.approx(
        logs["loss"], rel=max(BATCHES, KERAS, KERAS_OWN.get(keras.config.backend(), 0.0))
    )


@pytest.mark.parametrize("name", ["dense", "convolution", "layer_normalization", "two_in_two_out"])
def test_float32_models_obey_the_laws_to_their_precision(name):
    case = make(name, "float32")
    whole = objective_of(case, dtype="float32")[0]
    x = point_of(whole)
    expected_f, expected_g = naive_value_and_grad(case, x, dtype="float32")

    f, g = whole.value_and_grad(x)
    ragged_f, ragged_g = objective_of(case, 5, dtype="float32")[0].value_and_grad(x)

    # 1e-7 an operation, some ten of them deep
    assert f == pytest.approx(expected_f, rel=1e-6)
    assert relative(g, expected_g) < 1e-6
    assert ragged_f == pytest.approx(f, rel=1e-5)
    assert relative(ragged_g, g) < 1e-5
