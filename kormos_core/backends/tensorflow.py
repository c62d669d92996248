"""TensorFlow: compilation by `tf.function`, derivatives by tapes and accumulators.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, final

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core.backends.protocol import BatchFunction, HVPKind

__all__ = ["BACKEND", "TensorFlowBackend"]


def _compile(
    function: Callable[..., Any], *, jit: bool, eager: bool, relax: bool = True
) -> Callable[..., Any]:
    if eager:
        return function
    # Shapes are relaxed only without XLA, which wants them static. The partial gives each
    # function an identity of its own: TensorFlow counts the traces of all that share their
    # code together, and would warn of retracing as soon as a few models have been fitted.
    return tf.function(  # type: ignore[no-any-return]
        functools.partial(function),
        autograph=False,
        jit_compile=jit or None,
        reduce_retracing=relax and not jit,
    )


def _value_and_grad(loss: BatchFunction, x: Any, batch: Any) -> tuple[Any, Any]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        f = loss(x, batch)
    return f, tape.gradient(f, x, unconnected_gradients="zero")


def _forward_over_reverse(loss: BatchFunction, x: Any, v: Any, batch: Any) -> Any:
    with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
        _, g = _value_and_grad(loss, x, batch)
    return accumulator.jvp(g, unconnected_gradients="zero")


def _reverse_over_reverse(loss: BatchFunction, x: Any, v: Any, batch: Any) -> Any:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        _, g = _value_and_grad(loss, x, batch)
        slope = tf.tensordot(g, v, 1)
    return tape.gradient(slope, x, unconnected_gradients="zero")


_HVP: dict[HVPKind, Callable[..., Any]] = {
    "forward-over-reverse": _forward_over_reverse,
    "reverse-over-reverse": _reverse_over_reverse,
}


@final
class TensorFlowBackend:
    """`Backend` on TensorFlow."""

    name = "tensorflow"

    def to_device(self, array: Any) -> tf.Tensor:
        """Put `array` on the device as a tensor of the same dtype."""
        return tf.convert_to_tensor(array)

    def compile_value(
        self, loss: BatchFunction, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], float]:
        """Compile the `loss` of a batch, by XLA if `jit`, or not at all if `eager`."""
        compiled = _compile(loss, jit=jit, eager=eager)

        def value(x: NDArray[np.float64], batch: Any) -> float:
            return float(compiled(tf.constant(x), batch))

        return value

    def compile_value_and_grad(
        self, loss: BatchFunction, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], tuple[float, NDArray[np.float64]]]:
        """Compile the `loss` of a batch and its gradient, (n,); `jit` and `eager` as above."""

        def traced(x: Any, batch: Any) -> tuple[Any, Any]:
            return _value_and_grad(loss, x, batch)

        compiled = _compile(traced, jit=jit, eager=eager)

        def value_and_grad(
            x: NDArray[np.float64], batch: Any
        ) -> tuple[float, NDArray[np.float64]]:
            f, g = compiled(tf.constant(x), batch)
            return float(f), np.array(g)

        return value_and_grad

    def compile_hvp(
        self, loss: BatchFunction, kind: HVPKind, *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], NDArray[np.float64], Any], NDArray[np.float64]]:
        """Compile the product of kind `kind` of `loss`, (n,); `jit` and `eager` as above."""
        product = _HVP[kind]

        def traced(x: Any, v: Any, batch: Any) -> Any:
            return product(loss, x, v, batch)

        compiled = _compile(traced, jit=jit, eager=eager)

        def hvp(x: NDArray[np.float64], v: NDArray[np.float64], batch: Any) -> NDArray[np.float64]:
            return np.array(compiled(tf.constant(x), tf.constant(v), batch))

        return hvp

    def compile_map(
        self, function: Callable[[Any, Any], Any], *, jit: bool, eager: bool
    ) -> Callable[[NDArray[np.float64], Any], Any]:
        """Compile a `function` of parameters and a batch; `jit` and `eager` as above."""
        # Keras weights the metric of each output's loss by the batch's static size.
        compiled = _compile(function, jit=jit, eager=eager, relax=False)

        def mapped(x: NDArray[np.float64], batch: Any) -> Any:
            return compiled(tf.constant(x), batch)

        return mapped


BACKEND = TensorFlowBackend()
