"""Objectives of the zoo, and naive references to hold them against."""

from __future__ import annotations

import functools
import inspect
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import models
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.curvature import gradient_difference
from kormos_core.data import adapt
from kormos_core.errors import CurvatureWarning
from kormos_core.objective import Layout, Settings, build_objective

if TYPE_CHECKING:
    from collections.abc import Callable

    from models import Case

    from kormos_core.objective import ModelObjective, Statistics

# Keras's own digits: means and such are float32 on all backends but TensorFlow.
KERAS = 1e-12 if keras.config.backend() == "tensorflow" else 1e-5
# Those of the naive references below, which run uncompiled: on JAX they are rounded, too.
NAIVE = 1e-6 if keras.config.backend() == "jax" else 1e-10
RAGGED = 5  # of 13 samples: two full batches and one of three


def objective_of(
    case: Case,
    batch_size: int | None = None,
    *,
    dtype: str = "float64",
    hvp: str = "forward-over-reverse",
    bounds: Any = None,
    class_weight: Any = None,
    **settings: bool,
) -> tuple[ModelObjective, Statistics]:
    """Build the objective of a case, all samples in one batch or in slices."""
    batches = adapt(
        case.x,
        case.y,
        case.sample_weight,
        batch_size=batch_size,
        class_weight=class_weight,
        float_dtype=dtype,
    )
    return build_objective(
        case.model, batches, settings=Settings(**settings), bounds=bounds, hvp=hvp
    )


def point_of(objective: ModelObjective, seed: int = 1) -> np.ndarray:
    """Return a generic point near the model's own weights."""
    x = objective.program.layout.read()
    return x + 0.1 * np.random.default_rng(seed).normal(size=x.size)


def direction_of(objective: ModelObjective, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=objective.size)


@dataclass
class Study:
    """One of the zoo as objectives of one batch and of ragged ones, at one point."""

    case: Case
    whole: ModelObjective
    ragged: ModelObjective
    x: np.ndarray
    v: np.ndarray


@functools.cache
def study(name: str) -> Study:
    """Build the objectives of one of the zoo, once for all tests: tracing is what costs."""
    case = models.make(name)
    whole, ragged = objective_of(case)[0], objective_of(case, RAGGED)[0]
    return Study(case, whole, ragged, point_of(whole), direction_of(whole))


def quiet_hvp(objective: ModelObjective, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Make a product without a word about the kinds that failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CurvatureWarning)
        return objective.hvp(x, v)


def differences(objective: ModelObjective, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Approximate the Hessian product by central differences of the gradient."""
    return gradient_difference(lambda z: objective.value_and_grad(z)[1], x, v, 1e-6)


def tensors(structure: Any, dtype: str = "float64") -> Any:
    """Turn arrays into tensors, floating ones into `dtype`."""

    def convert(leaf: Any) -> Any:
        if leaf is None:
            return None
        return keras.ops.convert_to_tensor(leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf)

    return keras.tree.map_structure(convert, structure)


def naive_value_and_grad(
    case: Case, x: np.ndarray, *, training: bool = True, dtype: str = "float64"
) -> tuple[float, np.ndarray]:
    """Evaluate a model as a training step of Keras does: on its real variables, eagerly.

    The model is put back as it was.
    """
    model = case.model
    before = [value_of(variable) for variable in model.variables]
    Layout.of(model.trainable_variables).write(x)
    inputs, y, weight = (tensors(part, dtype) for part in (case.x, case.y, case.sample_weight))
    mode = {"training": training} if "training" in inspect.signature(model.call).parameters else {}

    def loss() -> Any:
        y_pred = model(inputs, **mode)
        return model.compute_loss(x=inputs, y=y, y_pred=y_pred, sample_weight=weight)

    with models.floatx(dtype), current_backend().computing_in(dtype):
        f, parts = _NAIVE[keras.config.backend()](loss, model.trainable_variables)
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return float(f), np.concatenate([np.ravel(keras.ops.convert_to_numpy(g)) for g in parts])


def _on_tensorflow(loss: Callable[[], Any], variables: list[keras.Variable]) -> tuple[Any, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        f = loss()
    values = [variable.value for variable in variables]
    parts = tape.gradient(f, values, unconnected_gradients="zero")
    return f, [tf.convert_to_tensor(part) for part in parts]


def _on_jax(loss: Callable[[], Any], variables: list[keras.Variable]) -> tuple[Any, Any]:
    import jax

    def function(values: list[Any]) -> Any:
        pairs = zip(variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(pairs), collect_losses=True):
            return loss()

    return jax.jit(jax.value_and_grad(function))([variable.value for variable in variables])


def _on_torch(loss: Callable[[], Any], variables: list[keras.Variable]) -> tuple[Any, Any]:
    import torch

    f = loss()
    values = [variable.value for variable in variables]
    return f.detach(), torch.autograd.grad(f, values, materialize_grads=True)


_NAIVE = {"tensorflow": _on_tensorflow, "jax": _on_jax, "torch": _on_torch}


def value_of(variable: keras.Variable) -> np.ndarray:
    """Copy the value of a variable."""
    return np.array(keras.ops.convert_to_numpy(variable))


def state_of(model: keras.Model) -> list[bytes]:
    """Read every variable of a model to the last bit."""
    return [value_of(variable).tobytes() for variable in model.variables]


def relative(a: Any, b: Any) -> float:
    """Return ``|a - b| / |b|``."""
    return float(np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(b))
