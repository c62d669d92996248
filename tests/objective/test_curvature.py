from __future__ import annotations

import functools
import warnings

import keras
import models
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, Case, floatx, make, normal, regression
from oracles import differences, objective_of, point_of, quiet_hvp, relative, study

from kormos_core.backends import current_backend
from kormos_core.curvature import CheckedHVP, generic_direction, gradient_difference
from kormos_core.errors import CurvatureWarning, UnsupportedError
from kormos_core.objective import HVP_KINDS, FunctionObjective
from kormos_core.objective.kinds import kinds_of
from kormos_core.protocols import StopSolve
from kormos_core.result import Status

pytestmark = pytest.mark.backends("tensorflow", "torch")

FORWARD, REVERSE, GAUSS_NEWTON, DIFFERENCE = HVP_KINDS
FIRST = next(iter(current_backend().hvp_kinds))  # what a backend does best
ROUNDING = 1e-12
DIFFERENCES = 1e-6  # steps of 1e-6 leave |g|/|Hv| * 1e-10, and third derivatives * 1e-12


def quadratic(matrix):
    return lambda x: matrix @ x


def checked(products=None, gradient=None, *, kind=FORWARD, dtype="float64", unusable=None):
    """Check products of a quadratic function whose Hessian is diag(1, 2, 3)."""
    hessian = np.diag([1.0, 2.0, 3.0])
    kinds = dict.fromkeys((FORWARD, REVERSE, GAUSS_NEWTON), lambda x, v: hessian @ v)
    kinds |= products or {}
    return CheckedHVP(
        kinds.__getitem__,
        gradient or quadratic(hessian),
        gauss_newton=lambda x, v, step: hessian @ v,
        kinds=kinds_of(kind),
        dtype=dtype,
        unusable={} if unusable is None else unusable,
    )


X = np.array([1.0, -1.0, 0.5])
V = np.array([0.3, 0.2, -0.1])
HV = np.array([0.3, 0.4, -0.3])


def wrong(x, v):
    return 1.05 * HV


def failing(x, v):
    raise ValueError("no forward-mode rule\nand more lines")


def test_a_difference_of_gradients_is_exact_for_a_quadratic():
    hessian = np.array([[2.0, 1.0], [1.0, 3.0]])

    hv = gradient_difference(quadratic(hessian), np.ones(2), np.array([5.0, -7.0]), 1e-3)

    assert hv == pytest.approx(hessian @ [5.0, -7.0], rel=ROUNDING * 1e3)  # rounding over step


def test_a_difference_of_gradients_is_of_second_order():
    def cubic(x):
        return x**3

    errors = [
        abs(gradient_difference(cubic, np.ones(1), np.ones(1), step)[0] - 3.0)
        for step in (1e-2, 1e-3)
    ]

    assert errors[0] / errors[1] == pytest.approx(100.0, rel=1e-3)


def test_a_difference_does_not_depend_on_the_length_of_the_direction():
    def gradient(x):
        return np.exp(x)

    one, other = (
        gradient_difference(gradient, X, length * V, 1e-6) / length for length in (1e-9, 1e9)
    )

    assert one == pytest.approx(other, rel=1e-9)  # the points differ by rounding, over the step


def test_a_difference_along_nothing_is_nothing():
    assert not gradient_difference(quadratic(np.eye(3)), X, np.zeros(3), 1e-6).any()


@pytest.mark.parametrize("kind", HVP_KINDS)
def test_a_right_kind_is_taken_as_asked_without_a_word(kind):
    hvp = checked(kind=kind)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        hv = hvp(X, V)

    assert hvp.kind == kind
    assert hv == pytest.approx(HV, rel=1e-8)  # a difference's rounding over its step


@pytest.mark.parametrize(
    ("kind", "instead"), [(FORWARD, REVERSE), (REVERSE, FORWARD), (GAUSS_NEWTON, FIRST)]
)
@pytest.mark.parametrize("bad", [wrong, failing])
def test_a_kind_that_is_wrong_or_fails_is_replaced_and_told(kind, instead, bad):
    hvp = checked({kind: bad}, kind=kind)

    with pytest.warns(CurvatureWarning, match=rf"Hessian products by {kind}: .*Taken instead: "):
        hv = hvp(X, V)

    assert hvp.kind == instead
    assert hv == pytest.approx(HV)


@pytest.mark.parametrize(("one", "other"), [(wrong, failing), (failing, wrong), (wrong, wrong)])
def test_differences_are_taken_where_nothing_else_is_right(one, other):
    hvp = checked({FORWARD: one, REVERSE: other})

    with pytest.warns(CurvatureWarning, match="Taken instead: finite-difference, at two grad"):
        hv = hvp(X, V)

    assert hvp.kind == DIFFERENCE
    assert hv == pytest.approx(HV, rel=1e-8)


def test_the_reason_of_a_failure_is_told_in_one_line():
    with pytest.warns(CurvatureWarning, match="ValueError: no forward-mode rule. Taken instead"):
        checked({FORWARD: failing})(X, V)


def test_a_replacement_is_told_once():
    hvp = checked({FORWARD: wrong})
    with pytest.warns(CurvatureWarning, match="Taken instead"):
        hvp(X, V)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        for scale in range(2, 9):
            hvp(scale * X, V)


def test_a_kind_that_failed_is_not_tried_by_the_next_solve():
    unusable = {}
    with pytest.warns(CurvatureWarning, match="Taken instead"):
        checked({FORWARD: failing}, unusable=unusable)(X, V)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        hvp = checked({FORWARD: failing}, unusable=unusable)
        hvp(X, V)

    assert list(unusable) == [FORWARD]
    assert hvp.kind == REVERSE


def test_an_unknown_kind_is_refused():
    with pytest.raises(UnsupportedError, match=r"hvp='forward-reverse'\. Did you mean 'forward-"):
        checked(kind="forward-reverse")


def test_a_choice_is_checked_at_once_and_kept():
    hvp = checked({FORWARD: wrong})

    with pytest.warns(CurvatureWarning, match="Taken instead"):
        kind = hvp.choose(X)

    assert kind == hvp.kind == hvp.current == REVERSE


def test_auto_is_the_best_kind_of_the_backend():
    hvp = checked(kind="auto")

    hvp(X, V)

    assert hvp.kind == next(iter(current_backend().hvp_kinds))


@pytest.mark.parametrize("error", [StopSolve(Status.MAX_TIME), UnsupportedError("no")])
def test_a_request_to_stop_is_no_fault_of_a_kind(error):
    def stopping(x, v):
        raise error

    hvp = checked({FORWARD: stopping})

    with pytest.raises(type(error), match=str(error)):
        hvp(X, V)


def test_a_product_with_nothing_is_nothing_and_settles_nothing():
    hvp = checked({FORWARD: wrong})

    hv = hvp(X, np.zeros(3))

    assert not hv.any()
    assert hvp.kind is None


def test_a_point_without_finite_gradients_settles_nothing():
    hvp = checked(gradient=lambda x: np.full(3, np.nan))

    hvp(X, V)

    assert hvp.kind is None


def test_a_fault_that_shows_at_a_later_point_is_found_there():
    def right_at_first(x, v):
        product = np.diag([1.0, 2.0, 3.0]) @ v
        return product if x[0] == X[0] else 1.05 * product

    hvp = checked({FORWARD: right_at_first})
    hvp(X, V)

    with pytest.warns(CurvatureWarning, match="disagrees with differences"):
        hv = hvp(2.0 * X, V)

    assert hv == pytest.approx(HV)


def test_points_are_checked_ever_more_rarely():
    gradients = []
    hvp = checked(gradient=lambda x: gradients.append(x) or np.diag([1.0, 2.0, 3.0]) @ x)
    checks = []
    for point in range(1, 20):
        before = len(gradients)
        hvp(point * X, V)
        hvp(point * X, V)
        if len(gradients) > before:
            checks.append(point)

    assert checks == [1, 2, 4, 8, 16]
    assert len(gradients) == 2 * len(checks)


def test_rounding_of_float32_gradients_convicts_nobody():
    rng = np.random.default_rng(0)
    hessian = np.diag(rng.uniform(0.1, 10.0, 30))

    def gradient(x):
        return (hessian @ x).astype(np.float32).astype(float)

    hvp = CheckedHVP(
        {FORWARD: lambda x, v: hessian @ v, REVERSE: failing}.__getitem__,
        gradient,
        gauss_newton=failing,
        kinds=kinds_of(FORWARD),
        dtype="float32",
        unusable={},
    )

    hvp(rng.normal(size=30), rng.normal(size=30))

    assert hvp.kind == FORWARD


@functools.cache
def relu_network(dtype):
    with floatx(dtype):
        return regression(layers.Dense(16, "relu"), layers.Dense(8, "relu"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_kinks_of_relu_networks_convict_nobody(dtype, seed):
    case = relu_network(dtype)
    keras.utils.set_random_seed(seed)
    for variable in case.model.trainable_variables:
        draw = keras.initializers.GlorotUniform() if len(variable.shape) > 1 else ops.zeros
        variable.assign(draw(variable.shape, dtype=dtype))
    objective = objective_of(case, dtype=dtype)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        objective.hvp(point_of(objective), np.random.default_rng(seed).normal(size=objective.size))

    assert objective.hvp_kind == FORWARD


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("batch_normalization", "float32"),
        ("batch_normalization", "float64"),
        ("layer_normalization", "float32"),
        ("group_normalization", "float64"),
    ],
)
def test_wrong_products_through_normalization_are_replaced(name, dtype):
    objective = objective_of(make(name, dtype), dtype=dtype)[0]
    x, v = point_of(objective), generic_direction(objective.size)

    with pytest.warns(CurvatureWarning, match="forward-over-reverse: it disagrees.*reverse-over"):
        objective.hvp(x, v)

    assert objective.hvp_kind == DIFFERENCE


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", ["simple_rnn", "gru", "lstm", "masked_then_pooled"])
def test_recurrent_layers_take_reverse_over_reverse(name):
    zoo = study(name)

    quiet_hvp(zoo.whole, zoo.x, zoo.v)

    assert zoo.whole.hvp_kind == REVERSE


@pytest.mark.parametrize(
    "name",
    [
        "dense",
        "convolution",
        "max_pooling",
        "average_pooling",
        "masked_tokens",
        "attention",
        "two_in_two_out",
        "shared_layer",
        "added_sum",
    ],
)
def test_other_layers_need_no_replacement(name):
    zoo = study(name)

    quiet_hvp(zoo.whole, zoo.x, zoo.v)

    assert zoo.whole.hvp_kind == FORWARD


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dense", REVERSE),
        ("dense", DIFFERENCE),
        ("convolution", REVERSE),
        ("max_pooling", REVERSE),
        ("masked_tokens", REVERSE),
        ("two_in_two_out", REVERSE),
        ("gru", DIFFERENCE),
        ("layer_normalization", DIFFERENCE),
    ],
)
def test_a_kind_is_had_by_name_and_right(name, kind):
    zoo = study(name)
    objective = objective_of(zoo.case, hvp=kind)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        hv = objective.hvp(zoo.x, zoo.v)

    assert objective.hvp_kind == kind
    assert relative(hv, differences(objective, zoo.x, zoo.v)) < DIFFERENCES


@pytest.mark.backends("tensorflow")
def test_max_pooling_under_xla_falls_back():
    objective = objective_of(make("max_pooling"), jit=True)[0]
    x, v = point_of(objective), generic_direction(objective.size)

    hv = quiet_hvp(objective, x, v)

    assert relative(hv, differences(objective, x, v)) < DIFFERENCES


@pytest.mark.backends("tensorflow")
def test_a_model_whose_last_weights_are_zero_is_checked_again():
    with floatx("float64"):
        keras.utils.set_random_seed(1)
        body = (layers.Dense(4, "tanh"), layers.BatchNormalization())
        model = keras.Sequential(
            [keras.Input((3,)), *body, layers.Dense(1, kernel_initializer="zeros")]
        )
        model.compile(loss="mse", optimizer="sgd")
    case = Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1, seed=1))
    objective = objective_of(case)[0]
    x, v = objective.program.layout.read(), generic_direction(objective.size)
    objective.hvp(x, v)  # behind zeros the wrong products are right

    with pytest.warns(CurvatureWarning, match="Taken instead"):
        hv = objective.hvp(x + 0.5 * v, v)

    assert relative(hv, differences(objective, x + 0.5 * v, v)) < DIFFERENCES


@pytest.mark.backends("tensorflow")
def test_a_dense_hessian_is_checked_in_every_direction():
    with floatx("float64"):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                layers.Embedding(7, 2),  # nothing uses its first row
                layers.Flatten(),
                layers.Dense(2),
                layers.BatchNormalization(),
                layers.Dense(1),
            ]
        )
        model.compile(loss="mse", optimizer="sgd")
    case = Case(model, 1 + models.sequences(words=6), normal(SAMPLES, 1))
    objective = objective_of(case)[0]
    x, v = point_of(objective), generic_direction(objective.size)

    with pytest.warns(CurvatureWarning, match="Taken instead"):
        hessian = objective.hessian(x)

    assert relative(hessian @ v, differences(objective, x, v)) < DIFFERENCES


@pytest.mark.backends("tensorflow")
def test_a_loss_in_float32_of_a_float64_model_convicts_nobody():
    with floatx("float64"):
        keras.utils.set_random_seed(1)
        case = regression(layers.Dense(4, "tanh"))
    case.model.compile(loss="mse", optimizer="sgd")  # floatx is float32 here
    with pytest.warns(match="computed in float32"):
        objective = objective_of(case)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error", CurvatureWarning)
        objective.hvp(point_of(objective), generic_direction(objective.size))

    assert objective.hvp_kind == FORWARD


def test_what_a_check_costs_is_counted():
    objective = FunctionObjective(lambda x: ops.sum(x**4), 3)

    objective.hvp(X, V)
    objective.hvp(X, V)

    assert objective.counts.hvp == 2
    assert objective.counts.value_and_grad == 2
