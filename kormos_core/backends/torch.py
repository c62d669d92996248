"""PyTorch: all runs eagerly, by `torch.compile` where asked for; derivatives by autograd.

Nothing is recorded but for a derivative, and what is handed out holds no record. A
derivative is taken on a leaf of its own: neither the model's weights, nor their ``.grad``,
nor whether they require gradients, are touched.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,).
"""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from kormos_core.backends.torch_compile import prepare
from kormos_core.backends.torch_ops import OPS
from kormos_core.backends.torch_scope import computing_in
from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from kormos_core.backends.protocol import Forward, Product

__all__ = ["BACKEND", "TorchBackend"]


def _leaf(x: torch.Tensor) -> torch.Tensor:
    """Return the same values as a tensor that records what is made of it."""
    return x.detach().requires_grad_()


def _pull(outputs: list[Any], x: Any, u: list[Any], *, record: bool = False) -> Any:
    """Return the product of directions with the transposed Jacobian of what was recorded."""
    return _pull_all(outputs, [x], u, record=record)[0]


def _pull_all(
    outputs: list[Any], inputs: list[Any], u: list[Any], *, record: bool = False
) -> list[Any]:
    recorded = [(y, part) for y, part in zip(outputs, u, strict=True) if y.requires_grad]
    if not recorded:
        return [torch.zeros_like(leaf) for leaf in inputs]
    ends, directions = zip(*recorded, strict=True)
    return list(
        torch.autograd.grad(
            ends,
            inputs,
            directions,
            retain_graph=True,
            create_graph=record,
            materialize_grads=True,
        )
    )


def _twice_differentiable() -> contextlib.AbstractContextManager[None]:
    """Take attention step by step: what does it in one has first derivatives only."""
    return sdpa_kernel(SDPBackend.MATH)


def _value_and_grad(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    with torch.enable_grad():
        z = _leaf(x)
        f = function(z)
    if not f.requires_grad:
        return f, torch.zeros_like(x)
    (g,) = torch.autograd.grad(f, z, materialize_grads=True)
    return f.detach(), g


def _reverse_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    # The gradient is recorded once; a product is one sweep back through the record.
    with torch.enable_grad(), _twice_differentiable():
        z = _leaf(x)
        f = function(z)
        g = _pull([f], z, [torch.ones_like(f)], record=True)
    return lambda v: _pull([g], z, [v])


def _forward_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    slope = torch.func.grad(function)

    def product(v: Any) -> Any:
        with _twice_differentiable():
            return torch.func.jvp(slope, (x,), (v,))[1]

    return product


@contextlib.contextmanager
def _watched(tensors: list[Any]) -> Iterator[None]:
    """Record what is made of tensors, these very objects; they are given back as they were."""
    plain = [tensor for tensor in tensors if not tensor.requires_grad]
    for tensor in plain:
        tensor.requires_grad_()
    try:
        with torch.enable_grad():
            yield
    finally:
        for tensor in plain:
            tensor.requires_grad_(requires_grad=False)


def _loss_slopes(
    outputs: list[Any], head: Callable[[], Any]
) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return a loss's slopes by the outputs, and the product with its Hessian by them."""
    with _watched(outputs):
        f = head()
        slopes: Any = [None for _ in outputs]
        if f.requires_grad:
            slopes = torch.autograd.grad(f, outputs, create_graph=True, allow_unused=True)
    if any(slope is None for slope in slopes):
        message = (
            "hvp='gauss-newton' needs a loss of the outputs as the model shows them: this one "
            "does not depend on them, as where Keras takes the logits from behind a sigmoid "
            "or softmax. Let the last layer be linear, with from_logits=True, or use "
            "hvp='auto'."
        )
        raise UnsupportedError(message)

    def curvature(tangents: list[Any]) -> list[Any]:
        with _watched(outputs), torch.no_grad():
            return _pull_all(slopes, outputs, tangents)

    return [slope.detach() for slope in slopes], curvature


def _vjp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
    # By torch.func, as rows of a Jacobian are made in torch.func.vmap.
    y, pull, *_ = torch.func.vjp(function, x)
    return y, lambda u: pull(u)[0]


def _jvp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
    # The product is the derivative of that with the transpose, which is linear in its
    # vector, whatever that is: both are recorded once, for all directions.
    with _twice_differentiable():
        y, pull = _vjp(function, x)
    return y, _vjp(pull, torch.zeros_like(y))[1]


@final
class TorchBackend:
    """`Backend` on PyTorch."""

    name = "torch"
    ops = OPS
    # A record of the gradient is shared by all products at a point, which only
    # reverse-over-reverse can do; alone it costs no more than forward-over-reverse.
    hvp_kinds = MappingProxyType(
        {
            "reverse-over-reverse": _reverse_over_reverse,
            "forward-over-reverse": _forward_over_reverse,
        }
    )
    jit_errors = ()
    compiles_loops = False
    needs_jit = False
    keeps_variables = False
    rounds_float64 = False  # `computing_in` sees to it

    @property
    def has_accelerator(self) -> bool:
        """Whether there is a device other than CPUs."""
        return torch.accelerator.is_available()

    def to_device(self, array: Any) -> Any:
        """Put `array` on the device as a tensor of the same dtype."""
        return keras.ops.convert_to_tensor(array)

    def to_host(self, tensor: Any) -> NDArray[Any]:
        """Copy a `tensor` into an array of its own."""
        return np.asarray(keras.ops.convert_to_numpy(tensor))

    def computing_in(self, dtype: str) -> contextlib.AbstractContextManager[None]:
        """Enter a scope where Keras rounds no float64, if that is the `dtype`."""
        return computing_in(dtype)

    @contextlib.contextmanager
    def seeded(self, seeds: tuple[Any, ...]) -> Iterator[None]:
        """Let what torch draws without a generator be a function of `seeds`."""
        if not seeds:
            yield
            return
        device = seeds[0].device
        words = [int(word) % 2**32 for state in seeds for word in state.tolist()]
        (seed,) = np.random.SeedSequence(words).generate_state(1, np.uint64)
        devices = [] if device.type == "cpu" else [device]
        with torch.random.fork_rng(devices, device_type=device.type):
            torch.manual_seed(int(seed >> np.uint64(1)))
            yield

    def compile(
        self,
        function: Callable[..., Any],
        *,
        jit: bool,
        eager: bool,
        keep_float64: bool = False,
        uses_keras: bool = True,
        relax: bool = False,
    ) -> Callable[..., Any]:
        """Compile a `function` if `jit`, not if `eager`; `keep_float64` is `computing_in`'s."""
        del keep_float64, relax
        return prepare(function, jit=jit, eager=eager, uses_keras=uses_keras)

    def value_and_grad(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """Return a scalar `function` at `x` and its gradient."""
        return _value_and_grad(function, x)

    def gauss_newton(self, forward: Forward, x: Any) -> Product:
        """Return the generalized Gauss-Newton product of `forward` at `x`."""
        with torch.enable_grad(), _twice_differentiable():
            z = _leaf(x)
            outputs, head = forward(z)
            duals = [torch.zeros_like(output, requires_grad=True) for output in outputs]
            pulled = _pull(outputs, z, duals, record=True)
        _, curvature = _loss_slopes(outputs, head)

        def product(v: Any) -> Any:
            return _pull(outputs, z, curvature(_pull_all([pulled], duals, [v])))

        return product

    def loss_slopes(self, outputs: list[Any], head: Callable[[], Any]) -> tuple[list[Any], Any]:
        """Return the slopes of the loss `head` by its `outputs`, and their product."""
        return _loss_slopes(outputs, head)

    def vjp(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
        """Return a flat `function` at `x`, (m,), and the product ``u`` to ``J' u``."""
        return _vjp(function, x)

    def jvp(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
        """Return a flat `function` at `x`, (m,), and the product ``v`` to ``J v``."""
        return _jvp(function, x)

    def has_loops(self, function: Callable[[Any], Any], x: Any) -> bool:
        """Return False, whatever `function` does with `x`: here a loop is unrolled."""
        del function, x
        return False

    def map_rows(
        self, function: Callable[[Any], Any], rows: Any, *, one_by_one: bool = False
    ) -> Any:
        """Apply a `function` to each row of a structure `rows`, or `one_by_one`."""
        if not one_by_one:
            with contextlib.suppress(RuntimeError):  # control flow by values, above all
                return torch.func.vmap(function)(rows)
        leaves = keras.tree.flatten(rows)
        return torch.stack(
            [function(keras.tree.pack_sequence_as(rows, row)) for row in zip(*leaves, strict=True)]
        )

    def push_forward(self, forward: Forward, x: Any, v: Any, step: Any) -> Any:
        """Return the same product, its Jacobian by a difference of `step` along `v`."""
        ahead, behind = forward(x + step * v)[0], forward(x - step * v)[0]
        with torch.enable_grad():
            z = _leaf(x)
            outputs, head = forward(z)
        tangents = [(a - b) / (2.0 * step).to(a.dtype) for a, b in zip(ahead, behind, strict=True)]
        return _pull(outputs, z, _loss_slopes(outputs, head)[1](tangents))

    def stream(
        self, source: Any, batches: Callable[[], Iterable[Any]], take: Callable[[Any], Any]
    ) -> Callable[[], Iterable[Any]]:
        """Make what `reduce_stream` can read: `batches`, whatever `source` and `take` are."""
        del source, take
        return batches

    def reduce_stream(
        self,
        stream: Callable[[], Iterable[Any]],
        initial: Any,
        function: Callable[[Any, Any], Any],
    ) -> Any:
        """Fold `function` of state and batch over `stream`, from `initial` on."""
        batches = iter(stream())
        while (batch := next(batches, None)) is not None:
            initial = function(initial, batch)
            del batch  # or it would stay while the next one is read
        return initial

    def reduce_range(self, count: int, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold `function` of state and number, 0 to `count` - 1, from `initial` on."""
        for number in range(count):
            initial = function(initial, number)
        return initial


BACKEND = TorchBackend()
