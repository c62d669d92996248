"""The objective inside a trace against the same objective outside."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from models import SAMPLES, Case, floatx, make, normal, regression
from oracles import RAGGED, objective_of, point_of, quiet_hvp, relative, study

from kormos_core.data import adapt
from kormos_core.errors import DataError, UnsupportedError
from kormos_core.objective import FunctionObjective, Numerics, Settings, build_objective
from kormos_core.objective.compiled import MOST_KEPT

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ROUNDING = 1e-12
BATCHES = 1e-10  # law 1's own figure
MODELS = ["dense", "masked_tokens", "two_in_two_out", "masked_and_plain", "own_sum_loss"]


def evaluate(objective, x):
    """Evaluate in the graph what the host face evaluates."""
    function = objective.compile(lambda graph, x: graph.value_and_grad(x), "value and gradient")
    f, g = function(keras.ops.convert_to_tensor(x))
    return float(f), np.array(g)


def multiply(objective, x, v, **how):
    function = objective.compile(
        lambda graph, x, v: graph.hvp_at(x, **how)(v), ("product", *how.items())
    )
    return np.array(function(keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(v)))


def _pipeline(case: Case, batch_size: int):
    data = (case.x, case.y)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)
    parts = (slice(begin, begin + batch_size) for begin in range(0, SAMPLES, batch_size))
    return (keras.tree.map_structure(lambda leaf, k=part: leaf[k], data) for part in parts)


def streamed(case: Case, batch_size: int = RAGGED):
    """Build the objective of a case whose data come batch by batch."""
    batches = adapt(_pipeline(case, batch_size))
    return build_objective(case.model, batches, settings=Settings())[0]


@pytest.mark.parametrize("name", MODELS)
def test_one_batch_in_the_graph_is_the_batch_outside(name):
    zoo = study(name)
    f, g = zoo.whole.value_and_grad(zoo.x)

    graph_f, graph_g = evaluate(zoo.whole, zoo.x)

    assert graph_f == pytest.approx(f, rel=ROUNDING)
    assert relative(graph_g, g) < ROUNDING


@pytest.mark.parametrize("name", MODELS)
def test_slices_are_added_up_in_the_graph(name):
    zoo = study(name)
    f, g = zoo.whole.value_and_grad(zoo.x)
    hv = quiet_hvp(zoo.whole, zoo.x, zoo.v)
    quiet_hvp(zoo.ragged, zoo.x, zoo.v)

    graph_f, graph_g = evaluate(zoo.ragged, zoo.x)
    graph_hv = multiply(zoo.ragged, zoo.x, zoo.v)

    assert graph_f == pytest.approx(f, rel=BATCHES)
    assert relative(graph_g, g) < BATCHES
    assert relative(graph_hv, hv) < BATCHES


@pytest.mark.parametrize("name", ["dense", "masked_tokens", "two_in_two_out"])
def test_streams_are_read_in_the_graph(name):
    zoo = study(name)
    objective = streamed(zoo.case)
    f, g = zoo.whole.value_and_grad(zoo.x)

    graph_f, graph_g = evaluate(objective, zoo.x)
    graph_hv = multiply(objective, zoo.x, zoo.v)

    assert graph_f == pytest.approx(f, rel=BATCHES)
    assert relative(graph_g, g) < BATCHES
    assert relative(graph_hv, quiet_hvp(zoo.whole, zoo.x, zoo.v)) < BATCHES


class Rows(keras.utils.PyDataset):
    """The cases' data as a PyDataset, which only Python can read."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def __len__(self) -> int:
        return math.ceil(SAMPLES / RAGGED)

    def __getitem__(self, index):
        part = slice(index * RAGGED, (index + 1) * RAGGED)
        return self.case.x[part], self.case.y[part]


@pytest.mark.parametrize("weight", [None, {0: 0.5, 1: 2.0}])
def test_streams_from_python_are_read_in_the_graph_too(weight):
    case = make("convolution")
    batches = adapt(Rows(case), class_weight=weight, float_dtype="float64")
    objective = build_objective(case.model, batches, settings=Settings())[0]
    x = point_of(objective)
    f, g = objective.value_and_grad(x)

    graph_f, graph_g = evaluate(objective, x)

    assert graph_f == pytest.approx(f, rel=BATCHES)
    assert relative(graph_g, g) < BATCHES


class Shifting(Rows):
    """Data that is another one on the third sweep."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.reads = 0

    def __getitem__(self, index):
        self.reads += 1
        x, y = super().__getitem__(index)
        return (x + 1.0 if self.reads > 2 * len(self) else x), y


@pytest.mark.backends("tensorflow")
def test_data_that_changes_within_the_graph_is_told_as_it_is_outside(float64):
    case = regression_case()
    objective = build_objective(
        case.model, adapt(Shifting(case), float_dtype="float64"), settings=Settings()
    )[0]
    x = point_of(objective)

    # the first two sweeps are those that build and begin; JAX reads once more, for shapes
    with pytest.raises(DataError, match="the training data changes from sweep to sweep"):
        [evaluate(objective, x) for _ in range(2)]


@pytest.mark.parametrize(
    ("last", "shapes"),
    [
        ((normal(3, 4), normal(3, 1)), r"\(\[samples, 4\], \[samples, 1\], None\)"),
        ((normal(3, 3), normal(3, 1), np.ones(3)), r"\[samples, 1\], \[samples\]\)"),
    ],
    ids=["width", "weights"],
)
def test_batches_that_differ_in_more_than_samples_are_refused_in_the_graph(last, shapes, float64):
    case = regression_case()
    batches = adapt(iter([(case.x, case.y), last]), float_dtype="float64")
    objective = build_objective(case.model, batches, settings=Settings())[0]

    with pytest.raises(DataError, match=rf"^batch 1 .* of shapes .*{shapes}.*Pad them"):
        evaluate(objective, point_of(objective))


@pytest.mark.backends("tensorflow")
def test_a_stream_of_unknown_length_with_too_few_batches_is_refused_in_the_graph(float64):
    import tensorflow as tf

    case = regression_case()
    data = tf.data.Dataset.from_tensor_slices((case.x, case.y)).batch(RAGGED)
    batches = adapt(data.filter(lambda *_: True), steps=5)
    objective = build_objective(case.model, batches, settings=Settings())[0]

    with pytest.raises(DataError, match="ended early: 3 batches of 5"):
        evaluate(objective, point_of(objective))


@pytest.mark.parametrize("way", ["whole", "slices", "stream"])
def test_noise_in_the_graph_is_the_noise_outside(way, float64):
    keras.utils.set_random_seed(0)
    case = regression(keras.layers.Dropout(0.5))
    objective = {
        "whole": lambda: objective_of(case)[0],
        "slices": lambda: objective_of(case, RAGGED)[0],
        "stream": lambda: streamed(case),
    }[way]()
    x = point_of(objective)
    f, g = objective.value_and_grad(x)

    graph_f, graph_g = evaluate(objective, x)

    assert graph_f == pytest.approx(f, rel=BATCHES)
    assert relative(graph_g, g) < BATCHES


@pytest.mark.parametrize("batch_size", [None, RAGGED])
@pytest.mark.parametrize(
    "kind", ["forward-over-reverse", "reverse-over-reverse", "gauss-newton", "finite-difference"]
)
def test_every_kind_of_product_is_the_same_in_the_graph(kind, batch_size, float64):
    case = regression(keras.layers.Dense(3, "tanh", kernel_regularizer="l2"))
    objective = objective_of(case, batch_size, hvp=kind)[0]
    x, v = point_of(objective), np.random.default_rng(0).normal(size=objective.size)
    hv = objective.hvp(x, v)

    graph_hv = multiply(objective, x, v)

    assert objective.hvp_kind == kind
    assert relative(graph_hv, hv) < (1e-6 if kind == "finite-difference" else BATCHES)


def test_many_products_at_one_point_share_a_record():
    objective = FunctionObjective(lambda x: keras.ops.sum(x**4), 3)
    traces = []

    def function(graph, x):
        product = graph.hvp_at(x)
        traces.append(1)
        start = (keras.ops.convert_to_tensor(0, "int32"), x)
        return keras.ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, product(v)), start)

    x = np.array([0.1, 0.2, 0.3])
    _, v = objective.compile(function, "power")(keras.ops.convert_to_tensor(x))

    assert np.array(v) == pytest.approx((12 * x**2) ** 3 * x, rel=ROUNDING)
    assert len(traces) <= 2  # XLA may trace once more


@pytest.mark.parametrize("name", ["dense", "masked_and_plain"])
def test_a_fraction_of_the_samples_estimates_the_hessian(name):
    zoo = study(name)
    fraction = (SAMPLES // 2) / SAMPLES
    parts = [slice(0, SAMPLES // 2), slice(SAMPLES // 2, 2 * (SAMPLES // 2))]
    # "dense" itself has an activity regularizer, which is no mean
    case = regression_case() if name == "dense" else zoo.case
    objective = objective_of(case, hvp="auto")[0]
    x, v = point_of(objective), np.random.default_rng(3).normal(size=objective.size)

    for number, part in enumerate(parts):
        few = keras.tree.map_structure(lambda leaf, p=part: leaf[p], (case.x, case.y))
        expected = quiet_hvp(objective_of(Case(case.model, *few))[0], x, v)
        hv = multiply(objective, x, v, fraction=fraction, part=number)
        assert relative(hv, expected) < BATCHES


def regression_case() -> Case:
    with floatx("float64"):
        keras.utils.set_random_seed(0)
        return regression(keras.layers.Dense(3, "tanh", kernel_regularizer="l2"))


@pytest.mark.parametrize("name", ["own_sum_loss", "added_sum"])
def test_a_fraction_of_a_sum_is_refused(name):
    zoo = study(name)

    with pytest.raises(UnsupportedError, match=r"hvp_fraction.* cannot be honored"):
        multiply(zoo.whole, zoo.x, zoo.v, fraction=0.5)


@pytest.mark.backends("tensorflow")
def test_what_is_compiled_serves_the_next_fit_with_other_data(float64):
    case = regression(keras.layers.Dense(2))
    first = objective_of(case)[0]
    x = point_of(first)
    evaluate(first, x)
    before = first.program.num_traces
    other = Case(case.model, normal(SAMPLES, 3, seed=8), normal(SAMPLES, 1, seed=9))
    second = objective_of(other)[0]

    f, _ = evaluate(second, x)

    assert second.program.num_traces == before
    assert f == pytest.approx(second.value(x), rel=ROUNDING)


def test_a_search_over_options_keeps_only_the_latest_functions():
    objective = FunctionObjective(lambda x: keras.ops.sum(x**2), 1)
    x = keras.ops.convert_to_tensor([2.0], "float64")

    for number in range(MOST_KEPT + 3):
        objective.compile(lambda graph, x, n=number: n * graph.value(x), number)(x)

    assert len(objective._compiled) == MOST_KEPT


@pytest.mark.backends("tensorflow")
def test_xla_that_was_asked_for_and_cannot_be_is_an_error(float64):
    case = make("max_pooling")
    batches = adapt(case.x, case.y, float_dtype="float64")
    objective = build_objective(case.model, batches, settings=Settings(), jit=True)[0]
    x = point_of(objective)

    with pytest.raises(UnsupportedError, match=r"jit_compile=True cannot be honored.*Leave jit_"):
        multiply(objective, x, x)


@pytest.mark.backends("tensorflow")
def test_xla_is_done_without_where_it_cannot_be():
    def function(x):
        image = keras.ops.reshape(x, (1, 2, 2, 1))
        return keras.ops.sum(keras.ops.max_pool(image**3, 2))

    objective = FunctionObjective(function, 4, numerics=Numerics(jit=None))
    x = np.array([0.1, 0.2, 0.3, 0.4])

    hv = multiply(objective, x, np.ones(4))

    assert hv == pytest.approx([0.0, 0.0, 0.0, 6 * 0.4])
