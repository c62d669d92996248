from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from kormos_core.backends import (
    compile_hvp,
    compile_map,
    compile_value,
    compile_value_and_grad,
    current_backend,
)
from kormos_core.errors import UnsupportedError

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ROUNDING = 1e-12
X = np.array([0.3, -0.7, 1.1])
V = np.array([1.0, 2.0, -0.5])
BATCH = (np.array([2.0, 3.0, 5.0]), None, {"power": np.array(4.0)})


def loss(x, batch):
    """Return sum(a * x**4), whose gradient is 4 a x**3 and whose Hessian 12 diag(a x**2)."""
    a, _, options = batch
    return ops.sum(a * x ** ops.cast(options["power"], x.dtype))


def multiplied(function, kind):
    """Linearize a batch function by a kind of the backend."""
    return lambda x, batch: current_backend().hvp_kinds[kind](lambda z: function(z, batch), x)


KINDS = ["forward-over-reverse", "reverse-over-reverse"]
WAYS = [
    pytest.param({"jit": False, "eager": False}, id="compiled"),
    pytest.param({"jit": True, "eager": False}, id="xla"),
    pytest.param({"jit": False, "eager": True}, id="eager"),
]


@pytest.fixture
def batch():
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else current_backend().to_device(leaf), BATCH
    )


def test_the_backend_is_that_of_keras():
    assert current_backend().name == keras.config.backend()
    assert current_backend() is current_backend()


def test_another_backend_is_refused_with_what_is_supported(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "numpy")

    with pytest.raises(UnsupportedError, match=r"'numpy' is not supported. Supported: .*tensorfl"):
        current_backend()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
def test_an_array_on_the_device_keeps_its_dtype(dtype):
    tensor = current_backend().to_device(np.ones((2, 3), dtype))

    assert ops.is_tensor(tensor)
    assert keras.backend.standardize_dtype(tensor.dtype) == dtype
    assert tuple(tensor.shape) == (2, 3)


def test_a_tensor_on_the_device_stays_what_it_is():
    tensor = current_backend().to_device(np.ones(2))

    assert current_backend().to_device(tensor) is tensor


@pytest.mark.parametrize("how", WAYS)
def test_the_value_is_a_float(how, batch):
    f = compile_value(loss, **how)(X, batch)

    assert type(f) is float
    assert f == pytest.approx(np.sum(BATCH[0] * X**4), rel=ROUNDING)


@pytest.mark.parametrize("how", WAYS)
def test_the_gradient_comes_with_the_value(how, batch):
    f, g = compile_value_and_grad(loss, **how)(X, batch)

    assert f == pytest.approx(np.sum(BATCH[0] * X**4), rel=ROUNDING)
    assert g == pytest.approx(4 * BATCH[0] * X**3, rel=ROUNDING)
    assert isinstance(g, np.ndarray)
    g[:] = 0.0  # it is the caller's own


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_product_is_exact(kind, how, batch):
    hv = compile_hvp(multiplied(loss, kind), **how)(X, V, batch)

    assert hv == pytest.approx(12 * BATCH[0] * X**2 * V, rel=ROUNDING)
    assert isinstance(hv, np.ndarray)


@pytest.mark.parametrize("how", WAYS)
def test_a_map_gives_the_structure_that_its_function_gives(how, batch):
    def function(x, batch):
        return {"sum": ops.sum(x), "rest": [batch[0] + x]}

    mapped = compile_map(function, **how)(X, batch)

    assert float(mapped["sum"]) == pytest.approx(X.sum(), rel=ROUNDING)
    assert ops.convert_to_numpy(mapped["rest"][0]) == pytest.approx(BATCH[0] + X, rel=ROUNDING)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_what_does_not_depend_on_the_parameters_has_no_slope(how, constant):
    def flat(x, batch):
        return ops.cast(ops.sum(batch) * constant, "float64")

    backend = current_backend()
    batch = backend.to_device(np.ones(2))

    f, g = compile_value_and_grad(flat, **how)(X, batch)

    assert (f, g.tolist()) == (2.0 * constant, [0.0] * 3)
    for kind in KINDS:
        assert compile_hvp(multiplied(flat, kind), **how)(X, V, batch).tolist() == [0.0] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_loss_has_no_curvature(kind):
    def linear(x, batch):
        return ops.sum(x * batch)

    backend = current_backend()

    hv = compile_hvp(multiplied(linear, kind), jit=False, eager=False)(X, V, backend.to_device(X))

    assert hv.tolist() == [0.0] * 3


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("size", [3, 7, 2])
def test_shapes_may_change_from_call_to_call(size):
    traces = []

    def counting(x, batch):
        traces.append(batch.shape)
        return ops.sum(x) * ops.sum(batch)

    backend = current_backend()
    value = compile_value(counting, jit=False, eager=False)
    for samples in (3, 7, 2, size):
        f = value(X, backend.to_device(np.ones(samples)))
        assert f == pytest.approx(X.sum() * samples, rel=ROUNDING)

    # TensorFlow: once for a shape, once for any; JAX: once for each
    assert len(traces) == {"tensorflow": 2, "jax": 3}[backend.name]


@pytest.mark.backends("tensorflow")
def test_maps_keep_static_shapes():
    seen = []

    def function(x, batch):
        seen.append(batch.shape[0])
        return x

    backend = current_backend()
    mapped = compile_map(function, jit=False, eager=False)
    for samples in (3, 7, 3, 2):
        mapped(X, backend.to_device(np.ones(samples)))

    assert seen == [3, 7, 2]


@pytest.mark.backends("tensorflow")
def test_many_functions_are_traced_without_a_warning(caplog):

    for factor in range(8):
        value = compile_value(
            lambda x, batch, c=float(factor): c * ops.sum(x), jit=False, eager=False
        )
        value(X, None)

    assert "retracing" not in caplog.text
