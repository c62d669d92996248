"""JAX: compilation by `jax.jit`, derivatives by its transformations.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,).
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import jax
import keras
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from kormos_core.backends.jax_stages import (
    JaxStream,
    compile_in_stages,
    fold,
    shapes_of,
    subtraces,
)
from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from kormos_core.backends.protocol import Forward, Product

__all__ = ["BACKEND", "JaxBackend"]

_LOOPS = frozenset({"while", "scan"})


def _check_precision() -> None:
    """Refuse to work where JAX makes float32 of every float64."""
    if jax.config.jax_enable_x64:
        return
    message = (
        "JAX computes in float32 only: jax_enable_x64 is False. kormos needs float64 for "
        "parameters, losses and gradients, whatever the model's dtype. Set the environment "
        "variable JAX_ENABLE_X64=1 before Python starts, or call "
        "jax.config.update('jax_enable_x64', True) before the model is made."
    )
    raise UnsupportedError(message)


def _reverse_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    _, pull = jax.vjp(jax.grad(function), x)
    return lambda v: pull(v)[0]


def _forward_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    _, push = jax.linearize(jax.grad(function), x)
    return push


def _loss_slopes(
    outputs: list[Any], head: Callable[[], Any]
) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return a loss's slopes by the outputs, and the product with its Hessian by them."""
    # What `head` closes over is found among the constants of its trace, the outputs too.
    traced = jax.make_jaxpr(head)()
    places = [next((i for i, y in enumerate(outputs) if y is c), None) for c in traced.consts]
    if not set(range(len(outputs))) <= set(places):
        message = (
            "hvp='gauss-newton' needs a loss of the outputs as the model shows them: this one "
            "does not depend on them all. Let the loss be one of the outputs, or use hvp='auto'."
        )
        raise UnsupportedError(message)

    def loss(given: list[Any]) -> Any:
        pairs = zip(places, traced.consts, strict=True)
        consts = [const if place is None else given[place] for place, const in pairs]
        return jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, consts))()[0]

    slopes, push = jax.linearize(jax.grad(loss), list(outputs))
    return slopes, push


def _jvp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
    return jax.linearize(function, x)


def _vjp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
    y, pull = jax.vjp(function, x)
    return y, lambda u: pull(u)[0]


def _has_loops(jaxpr: Any) -> bool:
    return any(
        eqn.primitive.name in _LOOPS or any(map(_has_loops, subtraces(eqn))) for eqn in jaxpr.eqns
    )


@final
class JaxBackend:
    """`Backend` on JAX."""

    name = "jax"
    ops = keras.ops
    hvp_kinds = MappingProxyType(
        {
            "forward-over-reverse": _forward_over_reverse,
            "reverse-over-reverse": _reverse_over_reverse,
        }
    )
    jit_errors = ()  # what XLA cannot do, nothing else here can
    needs_jit = True
    compiles_loops = True
    keeps_variables = True
    rounds_float64 = True

    @property
    def has_accelerator(self) -> bool:
        """Whether there is a device other than CPUs."""
        return any(device.platform != "cpu" for device in jax.local_devices())

    def to_device(self, array: Any) -> jax.Array:
        """Put `array` on the device as a tensor of the same dtype."""
        _check_precision()
        return array if isinstance(array, jax.Array) else jax.numpy.array(array)

    def to_host(self, tensor: Any) -> NDArray[Any]:
        """Copy a `tensor` into an array of its own."""
        return np.array(tensor)

    def computing_in(self, dtype: str) -> nullcontext[None]:
        """Enter a scope of nothing, whatever the `dtype`: `keep_float64` is for that."""
        del dtype
        return nullcontext()

    def seeded(self, seeds: tuple[Any, ...]) -> nullcontext[None]:
        """Enter a scope of nothing: `seeds` are all that noise depends on."""
        del seeds
        return nullcontext()

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
        """Compile a `function`, by XLA if `jit` and if not, but if `eager`; `keep_float64`."""
        del jit, uses_keras, relax  # nothing but XLA compiles here
        _check_precision()
        if not eager:
            # The partial gives each function an identity of its own: JAX keeps traces by the
            # function, and equal ones would share what they have closed over.
            return compile_in_stages(functools.partial(function), keep_float64=keep_float64)

        def uncompiled(*arguments: Any) -> Any:
            with jax.disable_jit():  # or JAX would trace the bodies of loops
                return function(*arguments)

        return uncompiled

    def value_and_grad(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """Return a scalar `function` at `x` and its gradient; traceable."""
        return jax.value_and_grad(function)(x)

    def gauss_newton(self, forward: Forward, x: Any) -> Product:
        """Return the generalized Gauss-Newton product of `forward` at `x`; traceable."""
        outputs, head = forward(x)
        _, push = jax.linearize(lambda z: forward(z)[0], x)
        pull = jax.linear_transpose(push, x)
        _, curvature = _loss_slopes(outputs, head)
        return lambda v: pull(curvature(push(v)))[0]

    def loss_slopes(self, outputs: list[Any], head: Callable[[], Any]) -> tuple[list[Any], Any]:
        """Return the slopes of the loss `head` by its `outputs`, and their product."""
        return _loss_slopes(outputs, head)

    def vjp(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
        """Return a flat `function` at `x`, (m,), and the product ``u`` to ``J' u``; traceable."""
        return _vjp(function, x)

    def jvp(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
        """Return a flat `function` at `x`, (m,), and the product ``v`` to ``J v``; traceable."""
        return _jvp(function, x)

    def has_loops(self, function: Callable[[Any], Any], x: Any) -> bool:
        """Tell whether a traceable `function` of `x` loops."""
        return _has_loops(jax.make_jaxpr(function)(x).jaxpr)

    def map_rows(
        self, function: Callable[[Any], Any], rows: Any, *, one_by_one: bool = False
    ) -> Any:
        """Apply a traceable `function` to each row of a structure `rows`, or `one_by_one`."""
        return jax.lax.map(function, rows) if one_by_one else jax.vmap(function)(rows)

    def push_forward(self, forward: Forward, x: Any, v: Any, step: Any) -> Any:
        """Return the same product, its Jacobian by a difference of `step` along `v`."""
        ahead, behind = forward(x + step * v)[0], forward(x - step * v)[0]
        outputs, head = forward(x)
        _, pull = jax.vjp(lambda z: forward(z)[0], x)
        tangents = [
            (a - b) / jax.numpy.asarray(2.0 * step, a.dtype)
            for a, b in zip(ahead, behind, strict=True)
        ]
        return pull(_loss_slopes(outputs, head)[1](tangents))[0]

    def stream(
        self, source: Any, batches: Callable[[], Iterable[Any]], take: Callable[[Any], Any]
    ) -> JaxStream:
        """Make what `reduce_stream` can read, of `batches`: JAX reads no `source` itself."""
        del source, take
        stream = JaxStream(batches)
        stream.shapes[shapes_of(next(stream.read()))] = None
        return stream

    def reduce_stream(self, stream: Any, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold `function` of state and batch over `stream`, from `initial` on; traceable."""
        return fold(stream, initial, function)

    def reduce_range(self, count: int, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold `function` of state and number, 0 to `count` - 1, from `initial` on; traceable."""
        return jax.lax.fori_loop(
            jax.numpy.int32(0),
            jax.numpy.int32(count),
            lambda number, state: function(state, number),
            initial,
        )


BACKEND = JaxBackend()
