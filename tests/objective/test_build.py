from __future__ import annotations

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import SAMPLES, Adding, Case, Subclassed, floatx, make, normal, regression
from oracles import (
    NAIVE,
    RAGGED,
    naive_value_and_grad,
    objective_of,
    point_of,
    quiet_hvp,
    relative,
)

from kormos_core.data import adapt
from kormos_core.errors import (
    BoundsError,
    DataError,
    NotBuiltError,
    NotCompiledError,
    PrecisionWarning,
    UnsupportedError,
)
from kormos_core.objective import Settings, build_objective, forget_programs

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")
collecting = pytest.mark.usefixtures("little_to_collect")


def use(objective):
    """Evaluate all that is traced."""
    x = point_of(objective)
    objective.value(x)
    objective.value_and_grad(x)
    quiet_hvp(objective, x, x)
    return objective.program.num_traces


@functools.cache
def used(name, batch_size):
    """Return a case, an objective of which all is traced, and how much that was."""
    case = make(name)
    objective = objective_of(case, batch_size)[0]
    return case, objective, use(objective)


def other(case):
    """Give the case new data of the same shapes."""
    return Case(case.model, case.x[::-1].copy() + 1.0, -case.y)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("batch_size", [RAGGED, SAMPLES])
@pytest.mark.parametrize("name", ["dense", "added_sum", "batch_normalization"])
def test_a_second_objective_of_the_same_shapes_traces_nothing_anew(name, batch_size):
    case, first, traces = used(name, batch_size)

    second = objective_of(other(case), batch_size)[0]

    assert use(second) == traces
    assert second.program is first.program


@pytest.mark.parametrize("batch_size", [RAGGED, SAMPLES])
def test_new_data_gives_new_values(batch_size):
    case = other(used("dense", batch_size)[0])
    objective = objective_of(case, batch_size)[0]
    x = point_of(objective)

    f, g = objective.value_and_grad(x)

    expected_f, expected_g = naive_value_and_grad(case, x)
    assert f == pytest.approx(expected_f, rel=NAIVE)
    assert relative(g, expected_g) < NAIVE


@pytest.mark.backends("tensorflow")
def test_sweeps_of_ragged_batches_do_not_trace_again_and_again():
    _, objective, traces = used("dense", RAGGED)

    for _ in range(3):
        use(objective)

    assert objective.program.num_traces == traces


def recompiled(case):
    with floatx("float64"):
        case.model.compile(loss="mae", optimizer="sgd")


def reweighted(case):
    with floatx("float64"):
        case.model.compile(loss="mse", loss_weights=0.1, optimizer="sgd")


def frozen(case):
    case.model.layers[0].trainable = False


def regularized(case):
    case.model.layers[0].kernel.regularizer = keras.regularizers.L2(3.0)
    forget_programs(case.model)


@pytest.mark.parametrize("change", [recompiled, reweighted, frozen, regularized])
def test_a_changed_model_is_never_answered_from_a_stale_trace(change):
    case = make("dense")
    before = objective_of(case)[0]
    before.value_and_grad(point_of(before))
    change(case)
    objective = objective_of(case)[0]
    x = point_of(objective)

    f, g = objective.value_and_grad(x)

    expected_f, expected_g = naive_value_and_grad(case, x)
    assert g.size == sum(np.prod(v.shape) for v in case.model.trainable_variables)
    assert f == pytest.approx(expected_f, rel=NAIVE)
    assert relative(g, expected_g) < NAIVE


def test_freezing_batch_normalization_without_weights_is_seen():
    with floatx("float64"):
        layer = layers.BatchNormalization(center=False, scale=False)
        case = regression(layers.Dense(2), layer)
    before = objective_of(case)[0]
    x = point_of(before)
    before.value(x)
    layer.trainable = False

    f = objective_of(case)[0].value(x)

    assert f == pytest.approx(naive_value_and_grad(case, x)[0], rel=NAIVE)


def test_changed_metrics_are_seen():
    case = make("convolution")
    objective, statistics = objective_of(case)
    x = objective.program.layout.read()
    statistics.metrics(objective, x)
    with floatx("float64"):
        case.model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["sparse_categorical_accuracy"],
            optimizer="sgd",
        )
    objective, statistics = objective_of(case)

    found = statistics.metrics(objective, x)

    assert list(found) == ["sparse_categorical_accuracy"]


@pytest.mark.parametrize(
    ("one", "another"),
    [({"training": True}, {"training": False}), ({"eager": False}, {"eager": True})],
)
def test_ways_of_evaluation_do_not_share_programs(one, another):
    case = make("dense")

    programs = [objective_of(case, **settings)[0].program for settings in (one, another)]

    assert programs[0] is not programs[1]


def closing_over(model):
    """Make a loss that holds the model."""
    kernel = model.layers[0].kernel
    return lambda y, y_pred: ops.square(y - y_pred) + 0.0 * ops.sum(kernel) * len(model.layers)


@collecting
@pytest.mark.parametrize(
    "kind",
    [
        "dense",
        "batch_normalization",
        pytest.param("simple_rnn", marks=pytest.mark.backends("tensorflow", "torch")),
        "added_sum",
        "closure",
    ],
)
def test_a_model_is_freed_although_its_programs_are_kept(kind):
    case = make("dense" if kind == "closure" else kind)
    if kind == "closure":
        with floatx("float64"):
            case.model.compile(loss=closing_over(case.model), optimizer="sgd")
    objective, statistics = objective_of(case, RAGGED)
    use(objective)
    statistics.metrics(objective, objective.program.layout.read())
    statistics.update_moving(objective, objective.program.layout.read())
    model = weakref.ref(case.model)

    del case, objective, statistics
    gc.collect()

    assert model() is None


@collecting
def test_an_objective_keeps_its_model_alive():
    objective = objective_of(make("dense"))[0]

    gc.collect()

    assert objective.program.model.built


@collecting
def test_a_program_whose_model_is_gone_says_so():
    program = objective_of(make("dense"))[0].program

    gc.collect()

    with pytest.raises(NotBuiltError, match="the model of this objective is gone"):
        _ = program.model


def test_a_model_that_is_not_built_yet_is_built_on_the_data():
    model = Subclassed()
    model.compile(loss="mse", optimizer="sgd")

    objective = objective_of(Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1)))[0]

    assert objective.size == 3 * 3 + 3 + 3 + 1


def test_a_model_that_is_not_compiled_is_refused():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])

    with pytest.raises(NotCompiledError, match=r"not compiled.*Call compile\(\) before fit"):
        objective_of(Case(model, normal(SAMPLES, 3), normal(SAMPLES, 1)))


def test_a_model_without_a_loss_is_refused():
    case = regression()
    case.model.compile(optimizer="sgd")
    model = keras.Sequential(case.model.layers)
    model.compile(optimizer="sgd")

    with pytest.raises(NotCompiledError, match="the model has no loss"):
        objective_of(Case(model, case.x, case.y))


def test_an_added_loss_alone_is_a_loss():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2), Adding(lambda x: ops.mean(ops.square(x)))]
    )
    model.compile(optimizer="sgd")
    objective = objective_of(Case(model, normal(SAMPLES, 3), None), RAGGED, dtype="float32")[0]
    x = point_of(objective)

    f = objective.value(x)

    hidden = normal(SAMPLES, 3) @ x[:6].reshape(3, 2) + x[6:]
    assert f == pytest.approx(np.mean(hidden**2), rel=1e-5)  # float32


def test_a_model_without_trainable_weights_is_refused():
    case = regression()
    case.model.trainable = False

    with pytest.raises(UnsupportedError, match=r"no trainable weights.*Set trainable=True"):
        objective_of(case)


def test_flat_targets_of_deep_outputs_are_refused():
    model = keras.Sequential([keras.Input((4, 2)), layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")

    with pytest.raises(DataError, match=r"targets of shape \(13,\) do not fit outputs"):
        objective_of(Case(model, normal(SAMPLES, 4, 2), normal(SAMPLES)))


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("wide", ["model", "loss"])
def test_a_loss_of_less_precision_than_the_model_is_told(wide):
    with floatx("float64"):
        case = regression()
    narrow = keras.losses.MeanSquaredError(dtype="float32")
    with floatx("float32" if wide == "model" else "float64"):
        case.model.compile(loss="mse" if wide == "model" else narrow, optimizer="sgd")

    with pytest.warns(PrecisionWarning, match=r"computed in float32.*set_floatx\('float64'\)"):
        objective_of(case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("error::kormos_core.errors.PrecisionWarning")
def test_a_loss_of_the_models_own_precision_is_not_remarked_on(dtype):
    case = make("dense", dtype)

    objective = objective_of(case, dtype=dtype)[0]

    assert objective.dtype == dtype


@pytest.mark.parametrize("batch_size", [RAGGED, SAMPLES])
def test_targets_of_another_rank_are_no_stale_trace(batch_size):
    case, column, _ = used("dense", batch_size)
    x = point_of(column)
    expected = column.value_and_grad(x)

    flat = objective_of(Case(case.model, case.x, case.y[:, 0]), batch_size)[0]

    assert flat.program is not column.program
    f, g = flat.value_and_grad(x)
    assert f == pytest.approx(expected[0], rel=NAIVE)
    assert g == pytest.approx(expected[1], rel=NAIVE)


class Batched:
    """Any batches at all will do."""

    num_batches = None

    def __iter__(self):
        case = make("dense")
        return iter(adapt(case.x, case.y, batch_size=5, float_dtype="float64"))


def test_batches_of_unknown_number_are_swept():
    case = make("dense")
    objective = build_objective(
        case.model, Batched(), settings=Settings(eager=True), hvp="finite-difference"
    )[0]
    x = point_of(objective)

    f = objective.value(x)

    assert f == pytest.approx(naive_value_and_grad(case, x)[0], rel=NAIVE)


def test_bounds_and_constraints_reach_the_objective():
    case = make("dense")
    batches = adapt(case.x, case.y, float_dtype="float64")

    objective = build_objective(
        case.model,
        batches,
        settings=Settings(),
        bounds=(-1.0, None),
        constraints=("any",),
        hvp="finite-difference",
    )[0]

    assert (objective.bounds.lower == -1.0).all()
    assert objective.constraints == ("any",)


def test_bounds_that_do_not_fit_are_refused():
    with pytest.raises(BoundsError, match="bounds have 2 pairs for 29 parameters"):
        objective_of(make("dense"), bounds=[(0, 1), (0, 2)])


def test_a_layer_that_assigns_to_its_own_weights_is_refused():
    case = regression(layers.SpectralNormalization(layers.Dense(2)))
    objective = objective_of(case, dtype="float32")[0]

    with pytest.raises(UnsupportedError, match=r"assigns to its trainable weight '.*kernel'"):
        objective.value(objective.program.layout.read())


def test_a_layer_that_assigns_in_training_alone_serves_in_inference_mode():
    case = regression(layers.SpectralNormalization(layers.Dense(2)))
    objective = objective_of(case, RAGGED, training=False, dtype="float32")[0]
    x = point_of(objective)

    f = objective.value(x)

    expected = naive_value_and_grad(case, x, training=False, dtype="float32")[0]
    assert f == pytest.approx(expected, rel=1e-5)  # float32


def test_missing_targets_are_named_as_such():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    batches = adapt(np.ones((4, 3)))

    with pytest.raises(DataError, match=r"there are no targets: y is None.*Pass y"):
        build_objective(model, batches, settings=Settings(), hvp="finite-difference")
