"""PyTorch: everything runs eagerly; derivatives by records of autograd.

Nothing is recorded but within a derivative: what is handed out holds no graph alive. A
derivative is taken on a leaf of its own, so that neither the model's weights nor their
``.grad`` are touched.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,).
"""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core.backends.protocol import BatchFunction, Product

__all__ = ["BACKEND", "TorchBackend"]


def _leaf(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same values that records what is made of it."""
    return x.detach().requires_grad_()


def _gradient(
    outputs: Any, inputs: Any, v: Any = None, *, record: bool = False, keep: bool = False
) -> Any:
    """Return the gradients of recorded tensors, zeros where there is no way back."""
    outputs = outputs if isinstance(outputs, list) else [outputs]
    v = [None] * len(outputs) if v is None else v if isinstance(v, list) else [v]
    pairs = [(y, u) for y, u in zip(outputs, v, strict=True) if y.requires_grad]
    leaves = inputs if isinstance(inputs, list) else [inputs]
    if not pairs:
        found = [torch.zeros_like(leaf) for leaf in leaves]
    else:
        found = torch.autograd.grad(
            [y for y, _ in pairs],
            leaves,
            [u for _, u in pairs],
            create_graph=record,
            retain_graph=keep or record,
            materialize_grads=True,
        )
    return list(found) if isinstance(inputs, list) else found[0]


def _value_and_grad(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    with torch.enable_grad():
        z = _leaf(x)
        f = function(z)
    return f.detach(), _gradient(f, z)


def _reverse_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    # The gradient is recorded once; a product is one sweep back through the record.
    with torch.enable_grad():
        z = _leaf(x)
        g = _gradient(function(z), z, record=True)
    return lambda v: _gradient(g, z, v, keep=True)


def _forward_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    return lambda v: torch.func.jvp(torch.func.grad(function), (x,), (v,))[1]


@final
class TorchBackend:
    """`Backend` on PyTorch."""

    name = "torch"
    hvp_kinds = MappingProxyType(
        {
            "reverse-over-reverse": _reverse_over_reverse,
            "forward-over-reverse": _forward_over_reverse,
        }
    )
    jit_errors = (RuntimeError,)

    @property
    def has_accelerator(self) -> bool:
        """Whether there is a device other than CPUs."""
        return torch.accelerator.is_available()

    def to_device(self, array: Any) -> torch.Tensor:
        """Put `array` on the device as a tensor of the same dtype."""
        return keras.ops.convert_to_tensor(array)

    def compile(
        self, function: Callable[..., Any], *, jit: bool, eager: bool
    ) -> Callable[..., Any]:
        """Return a `function` of structures of tensors that records nothing."""
        return torch.no_grad()(functools.partial(function))

    def compile_value(
        self, loss: BatchFunction, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], float]:
        """Compile the `loss` of a batch, by XLA if `jit`, or not at all if `eager`."""

        @torch.no_grad()
        def value(x: NDArray[np.float64], batch: Any) -> float:
            return float(loss(self.to_device(x), batch))

        return value

    def compile_value_and_grad(
        self, loss: BatchFunction, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], tuple[float, NDArray[np.float64]]]:
        """Compile the `loss` of a batch and its gradient, (n,); `jit` and `eager` as above."""

        @torch.no_grad()
        def value_and_grad(
            x: NDArray[np.float64], batch: Any
        ) -> tuple[float, NDArray[np.float64]]:
            f, g = _value_and_grad(lambda z: loss(z, batch), self.to_device(x))
            return float(f), keras.ops.convert_to_numpy(g)

        return value_and_grad

    def compile_hvp(
        self, linearize: Callable[[Any, Any], Product], *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], NDArray[np.float64], Any], NDArray[np.float64]]:
        """Compile the product that `linearize` makes of x and a batch; rest as above."""

        @torch.no_grad()
        def hvp(x: NDArray[np.float64], v: NDArray[np.float64], batch: Any) -> NDArray[np.float64]:
            product = linearize(self.to_device(x), batch)
            return keras.ops.convert_to_numpy(product(self.to_device(v)))

        return hvp

    def compile_map(
        self, function: Callable[[Any, Any], Any], *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], Any]:
        """Compile a `function` of parameters and a batch; `jit` and `eager` as above."""

        @torch.no_grad()
        def mapped(x: NDArray[np.float64], batch: Any) -> Any:
            return function(self.to_device(x), batch)

        return mapped

    def value_and_grad(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """Return a scalar `function` at `x` and its gradient."""
        return _value_and_grad(function, x)

    def reduce_range(self, count: int, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold `function` of state and number, 0 to `count` - 1, from `initial` on."""
        for number in range(count):
            initial = function(initial, number)
        return initial


BACKEND = TorchBackend()
