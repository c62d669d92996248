"""Objectives that are sums of squares, and what holds of all of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops, regularizers
from models import SAMPLES, Case, floatx, normal, sequences
from oracles import point_of, relative

from kormos_core.data import adapt
from kormos_core.objective import Settings, build_objective

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.objective import ModelObjective

ROUNDING = 1e-11  # sums of some hundred terms
DIFFERENCE = 1e-7  # of central differences with the step below, where functions curve mildly
STEP = 1e-6

WEIGHTS = np.where(np.arange(SAMPLES) % 4 == 1, 0.0, np.linspace(0.5, 2.0, SAMPLES))


def squares_of(*body: layers.Layer, shape: tuple[int, ...] = (3,), **options: Any) -> Case:
    """Put `body` behind an input, with a squared loss."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(shape, dtype=options.get("dtype")), *body])
    model.compile(loss=options.get("loss", "mse"), optimizer="sgd")
    x = options.get("x", normal(SAMPLES, *shape))
    y = options.get("y", normal(SAMPLES, *model.output_shape[1:], seed=1))
    return Case(model, x, y, options.get("sample_weight"))


def regularized() -> Case:
    """Make a network with L2 regularizers of two kinds, and weights with zeros among them."""
    hidden = layers.Dense(
        4,
        "tanh",
        kernel_regularizer="l2",
        bias_regularizer=regularizers.L1L2(l1=0.0, l2=0.3),
    )
    return squares_of(hidden, layers.Dense(2), sample_weight=WEIGHTS)


def linear() -> Case:
    """Make a linear model with an L2 regularizer, and weights with zeros among them."""
    return squares_of(layers.Dense(2, kernel_regularizer="l2"), sample_weight=WEIGHTS)


def masked() -> Case:
    """Mask tokens out of the loss, and weigh each of them."""
    return squares_of(
        layers.Embedding(7, 2, mask_zero=True, embeddings_regularizer="l2"),
        layers.Dense(1),
        shape=(4,),
        dtype="int32",
        x=sequences(),
        sample_weight=np.random.default_rng(5).uniform(size=(SAMPLES, 4)),
    )


def prepared(
    case: Case,
    batch_size: int | None = None,
    *,
    stream: Any = None,
    class_weight: Any = None,
    dtype: str = "float64",
    **settings: bool,
) -> ModelObjective:
    """Build an objective that is ready for residuals."""
    arrays = (case.x, case.y, case.sample_weight) if stream is None else (stream,)
    batches = adapt(*arrays, batch_size=batch_size, class_weight=class_weight, float_dtype=dtype)
    jit = settings.get("jit", False)
    objective = build_objective(case.model, batches, settings=Settings(**settings), jit=jit)[0]
    objective.prepare_residuals(point_of(objective))
    return objective


def batches_of(case: Case, sizes: tuple[int, ...] = (5, 5, 3)) -> list[tuple[np.ndarray, ...]]:
    """Cut the data of a case into batches."""
    arrays = [array for array in (case.x, case.y, case.sample_weight) if array is not None]
    return list(zip(*(np.split(array, np.cumsum(sizes)[:-1]) for array in arrays), strict=True))


def dataset(case: Case, sizes: tuple[int, ...] = (5, 5, 3)) -> Any:
    """Give them to the graph, where no batch's size is known."""
    batches = batches_of(case, sizes)
    import tensorflow as tf

    signature = tuple(tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in batches[0])
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)


class Indexed(keras.utils.PyDataset):
    """Batches by their number."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.batches = batches_of(case)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@functools.cache
def objective_of_squares(
    make_case: Callable[[], Case], batch_size: int | None = None, *, streams: bool = False
) -> tuple[ModelObjective, np.ndarray]:
    """Build a float64 objective and a point, once for all tests: tracing is what costs."""
    with floatx("float64"):
        case = make_case()
        objective = prepared(case, batch_size, stream=dataset(case) if streams else None)
    return objective, point_of(objective)


def differences(objective: Any, x: np.ndarray) -> np.ndarray:
    """Return the Jacobian by central differences of residuals, column by column."""
    steps = STEP * np.eye(x.size)
    columns = [objective.residuals(x + h) - objective.residuals(x - h) for h in steps]
    return np.stack(columns, axis=1) / (2.0 * STEP)


def assert_differences(objective: Any, x: np.ndarray) -> None:
    """Hold the Jacobian against differences."""
    assert relative(objective.jacobian(x), differences(objective, x)) < DIFFERENCE


def assert_laws(objective: Any, x: np.ndarray, rounding: float = ROUNDING) -> None:
    """Hold residuals, Jacobian and products against loss, gradient and one another."""
    rng = np.random.default_rng(0)
    r, jac = objective.residuals(x), objective.jacobian(x)
    f, g = objective.value_and_grad(x)
    v, u = rng.normal(size=x.size), rng.normal(size=r.size)

    assert 0.5 * r @ r == pytest.approx(f, rel=rounding)
    assert jac.shape == (r.size, x.size) == (objective.num_residuals, objective.size)
    assert objective.residual_scale().shape == r.shape
    assert relative(jac.T @ r, g) < rounding
    assert relative(objective.jvp(x, v), jac @ v) < rounding
    assert relative(objective.vjp(x, u), jac.T @ u) < rounding
    assert relative(objective.ggn_vp(x, v), jac.T @ (jac @ v)) < rounding


def assert_gram(objective: Any, x: np.ndarray) -> None:
    """Hold `J' J` as in-graph solvers see it against the Jacobian."""
    jac = objective.jacobian(x)
    gram = objective.compile(lambda graph, x: graph.normal_equations(x).matrix, ("gram",))

    assert relative(gram(ops.convert_to_tensor(x, "float64")), jac.T @ jac) < ROUNDING


def assert_sums(
    objective: Any, x: np.ndarray, how: str | None = None, rounding: float = ROUNDING
) -> None:
    """Hold what in-graph solvers see of a sum of squares against residuals and Jacobian."""
    if how is not None:
        objective._rows = how  # the way that is not chosen is to be right too
    jac, (f, g) = objective.jacobian(x), objective.value_and_grad(x)

    def seen(graph, x):
        return tuple(graph.normal_equations(x)[:3]), tuple(graph.triangle(x))

    found = objective.compile(seen, ("seen",))(ops.convert_to_tensor(x, "float64"))
    squared, triangle = keras.tree.map_structure(np.asarray, found)

    gram, factor, z = jac.T @ jac, triangle[2], triangle[3]
    assert relative(squared[2], gram) < rounding
    assert relative(factor.T @ factor, gram) < rounding
    np.testing.assert_array_equal(np.tril(factor, -1), 0.0)
    np.testing.assert_allclose([squared[0], triangle[0]], f, rtol=rounding)
    for other in (squared[1], triangle[1], factor.T @ z):
        assert relative(other, g) < rounding
