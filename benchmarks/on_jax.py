"""JAX's side of `backends.py`: its bare function, optax's solver in one compiled loop."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from jax import numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable

    from cases import Case

__all__ = ["COMPILES_ON_REQUEST", "array", "bare", "by_hand", "rivals", "tensor", "wait"]

COMPILES_ON_REQUEST = False  # whether nothing is compiled unless it is asked for


def tensor(point: np.ndarray) -> Any:
    """Put a vector on the device."""
    return jnp.asarray(point)


def array(value: Any) -> np.ndarray:
    """Take a vector from the device."""
    return np.array(value)


def wait(values: Any) -> None:
    """Return when values have been computed."""
    jax.block_until_ready(values)


def by_hand(case: Case) -> Callable[[Any], Any]:
    """Write a case's loss in JAX alone: Keras rounds float64 here."""
    x, y = tensor(case.x), tensor(case.y)
    shapes = [tuple(variable.shape) for variable in case.model.trainable_variables]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

    def loss(flat: Any) -> Any:
        pieces = jnp.split(flat, ends)
        parts = [p.reshape(shape) for p, shape in zip(pieces, shapes, strict=True)]
        *hidden, (kernel, bias) = zip(parts[::2], parts[1::2], strict=True)
        h = x
        for w, b in hidden:
            h = jnp.tanh(h @ w + b)
        h = h @ kernel + bias
        if jnp.issubdtype(y.dtype, jnp.floating):
            return jnp.mean((h - y) ** 2)
        entropies = optax.softmax_cross_entropy_with_integer_labels(h, y)
        return jnp.mean(entropies) + case.l2 * jnp.sum(kernel**2)

    return loss


def bare(loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile a loss with its gradient."""
    return jax.jit(jax.value_and_grad(loss))


def rivals(
    loss: Callable[[Any], Any], start: np.ndarray, target: float, pairs: int
) -> dict[str, Callable[[], tuple[float, int]]]:
    """Return optax's L-BFGS, ended by the loss, as its documentation shows it."""
    solver = optax.lbfgs(memory_size=pairs)
    value_and_grad = optax.value_and_grad_from_state(loss)

    def goes_on(carry: Any) -> Any:
        state, iteration = carry[1], carry[2]
        return (optax.tree.get(state, "value") > target) & (iteration < 10_000)

    def step(carry: Any) -> Any:
        x, state, iteration, evaluations = carry
        value, grad = value_and_grad(x, state=state)
        updates, state = solver.update(grad, state, x, value=value, grad=grad, value_fn=loss)
        trials = optax.tree.get(state, "info").num_linesearch_steps
        return optax.apply_updates(x, updates), state, iteration + 1, evaluations + trials

    @jax.jit
    def solve(x: Any) -> Any:
        return jax.lax.while_loop(goes_on, step, (x, solver.init(x), 0, 1))

    begin = tensor(start)

    def run() -> tuple[float, int]:
        began = time.perf_counter()
        evaluations = int(solve(begin)[3])
        return time.perf_counter() - began, evaluations

    return {"optax.lbfgs": run}
