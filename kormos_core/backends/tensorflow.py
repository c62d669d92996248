"""TensorFlow: compilation by `tf.function`, derivatives by tapes and accumulators.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,).
"""

from __future__ import annotations

import functools
import itertools
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np
import tensorflow as tf

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from kormos_core.backends.protocol import Forward, Product

__all__ = ["BACKEND", "TensorFlowBackend"]

_LOOPS = frozenset({"While", "StatelessWhile"})


def _gradient(tape: tf.GradientTape, f: Any, x: Any, v: Any = None) -> Any:
    return tape.gradient(f, x, output_gradients=v, unconnected_gradients="zero")


def _tape(*, persistent: bool = False) -> tf.GradientTape:
    return tf.GradientTape(persistent=persistent, watch_accessed_variables=False)


def _value_and_grad(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    with _tape() as tape:
        tape.watch(x)
        f = function(x)
    return f, _gradient(tape, f, x)


def _reverse_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    # The gradient is recorded once; a product is one sweep back through the record.
    with _tape(persistent=True) as tape:
        tape.watch(x)
        _, g = _value_and_grad(function, x)
    return lambda v: _gradient(tape, g, x, v)


def _forward_over_reverse(function: Callable[[Any], Any], x: Any) -> Product:
    def product(v: Any) -> Any:
        with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
            _, g = _value_and_grad(function, x)
        return accumulator.jvp(g, unconnected_gradients="zero")

    return product


def _loss_slopes(
    outputs: list[Any], head: Callable[[], Any]
) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return a loss's slopes by the outputs, and the product with its Hessian by them."""
    with _tape(persistent=True) as tape:
        tape.watch(outputs)
        with _tape() as inner:
            inner.watch(outputs)
            f = head()
        slopes = inner.gradient(f, outputs)
        if any(slope is None for slope in slopes):
            message = (
                "hvp='gauss-newton' needs a loss of the outputs as the model shows them: this one "
                "does not depend on them, as where Keras takes the logits from behind a sigmoid "
                "or softmax. Let the last layer be linear, with from_logits=True, or use "
                "hvp='auto'."
            )
            raise UnsupportedError(message)
    return slopes, lambda tangents: _gradient(tape, slopes, outputs, tangents)


def _vjp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
    with _tape(persistent=True) as tape:
        tape.watch(x)
        y = function(x)
    return y, lambda u: _gradient(tape, y, x, u)


def _pushed(tape: tf.GradientTape, y: Any, x: Any) -> Product:
    """Return the product of directions with the Jacobian of what a tape has recorded."""
    # It is the derivative of one with its transpose, which is linear in the vector `duals`,
    # whatever that is.
    duals = tf.nest.map_structure(tf.zeros_like, y)
    with _tape(persistent=True) as transposed:
        transposed.watch(duals)
        pulled = _gradient(tape, y, x, duals)
    return lambda v: _gradient(transposed, pulled, duals, v)


def _jvp(function: Callable[[Any], Any], x: Any) -> tuple[Any, Product]:
    with _tape(persistent=True) as tape:
        tape.watch(x)
        y = function(x)
    return y, _pushed(tape, y, x)


@final
class TensorFlowBackend:
    """`Backend` on TensorFlow."""

    name = "tensorflow"
    ops = keras.ops
    # Without XLA a record of the gradient is shared by all products at a point, which only
    # reverse-over-reverse can do; alone it costs no more than forward-over-reverse.
    hvp_kinds = MappingProxyType(
        {
            "reverse-over-reverse": _reverse_over_reverse,
            "forward-over-reverse": _forward_over_reverse,
        }
    )
    compiles_loops = True
    jit_errors = (
        tf.errors.InvalidArgumentError,
        tf.errors.UnimplementedError,
        tf.errors.InternalError,
        tf.errors.NotFoundError,
    )
    needs_jit = False
    keeps_variables = False
    rounds_float64 = False

    @property
    def has_accelerator(self) -> bool:
        """Whether there is a device other than CPUs."""
        return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())

    def to_device(self, array: Any) -> tf.Tensor:
        """Put `array` on the device as a tensor of the same dtype."""
        return tf.convert_to_tensor(array)

    def to_host(self, tensor: Any) -> NDArray[Any]:
        """Copy a `tensor` into an array of its own."""
        return np.array(tensor)

    def computing_in(self, dtype: str) -> nullcontext[None]:
        """Enter a scope of nothing, whatever the `dtype`: Keras rounds nothing here."""
        del dtype
        return nullcontext()

    def seeded(self, seeds: tuple[Any, ...]) -> nullcontext[None]:
        """Enter a scope of nothing: noise is drawn by the `seeds` here."""
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
        """Compile a `function`, by XLA if `jit`, not if `eager`, for all shapes if `relax`."""
        del keep_float64, uses_keras  # Keras rounds nothing here
        if eager:
            return function
        # Shapes are relaxed only without XLA, which wants them static. The partial gives each
        # function an identity of its own: TensorFlow counts the traces of all that share their
        # code together, and would warn of retracing as soon as a few models have been fitted.
        return tf.function(
            functools.partial(function),
            autograph=False,
            jit_compile=jit or None,
            reduce_retracing=relax and not jit,
        )

    def value_and_grad(self, function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        """Return a scalar `function` at `x` and its gradient; traceable."""
        return _value_and_grad(function, x)

    def gauss_newton(self, forward: Forward, x: Any) -> Product:
        """Return the generalized Gauss-Newton product of `forward` at `x`; traceable."""
        with _tape(persistent=True) as tape:
            tape.watch(x)
            outputs, head = forward(x)
        push = _pushed(tape, outputs, x)
        _, curvature = _loss_slopes(outputs, head)

        def product(v: Any) -> Any:
            return _gradient(tape, outputs, x, curvature(push(v)))

        return product

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
        """Tell whether a traceable `function` of `x` loops; what runs eagerly counts as such."""
        if tf.executing_eagerly():
            return True
        traced = tf.function(functools.partial(function), autograph=False)
        graph = traced.get_concrete_function(x).graph.as_graph_def()
        inner = (called.node_def for called in graph.library.function)
        return any(node.op in _LOOPS for node in itertools.chain(graph.node, *inner))

    def map_rows(
        self, function: Callable[[Any], Any], rows: Any, *, one_by_one: bool = False
    ) -> Any:
        """Apply a traceable `function` to each row of a structure `rows`, or `one_by_one`."""
        if one_by_one:
            plain = tf.autograph.experimental.do_not_convert(function)
            return tf.map_fn(plain, rows, fn_output_signature=tf.float64)
        return tf.vectorized_map(function, rows)

    def push_forward(self, forward: Forward, x: Any, v: Any, step: Any) -> Any:
        """Return the same product, its Jacobian by a difference of `step` along `v`."""
        ahead, behind = forward(x + step * v)[0], forward(x - step * v)[0]
        with _tape() as tape:
            tape.watch(x)
            outputs, head = forward(x)
        tangents = [
            (a - b) / tf.cast(2.0 * step, a.dtype) for a, b in zip(ahead, behind, strict=True)
        ]
        return _gradient(tape, outputs, x, _loss_slopes(outputs, head)[1](tangents))

    def stream(
        self, source: Any, batches: Callable[[], Iterable[Any]], take: Callable[[Any], Any]
    ) -> tf.data.Dataset:
        """Make what `reduce_stream` can read within a compiled function."""
        if isinstance(source, tf.data.Dataset):
            single = not isinstance(source.element_spec, tuple)
            return source.map(lambda *item: take(item[0] if single else item))
        first = next(iter(batches()))
        signature = tuple(tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype) for leaf in first)
        return tf.data.Dataset.from_generator(batches, output_signature=signature)

    def reduce_stream(
        self, stream: tf.data.Dataset, initial: Any, function: Callable[[Any, Any], Any]
    ) -> Any:
        """Fold `function` of state and batch over `stream`, from `initial` on; traceable."""
        # An iterator, as Dataset.reduce would set its function up anew on every sweep.
        iterator = iter(stream)

        def read(_: Any, state: Any) -> tuple[Any, Any]:
            item = iterator.get_next_as_optional()
            here = item.has_value()
            return here, tf.cond(here, lambda: function(state, item.get_value()), lambda: state)

        start = (tf.ones((), tf.bool), initial)
        return tf.while_loop(lambda here, _: here, read, start, parallel_iterations=1)[1]

    def reduce_range(self, count: int, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
        """Fold `function` of state and number, 0 to `count` - 1, from `initial` on; traceable."""
        # By default ten passes are under way at once, each with a batch and all made of it.
        return tf.while_loop(
            lambda number, _: number < count,
            lambda number, state: (number + 1, function(state, number)),
            (tf.zeros((), tf.int32), initial),
            parallel_iterations=1,
        )[1]


BACKEND = TensorFlowBackend()
