"""Objectives inside a trace, loops around methods, and matrices that count their products.

Symbols: ``x`` parameters (n,), ``v`` direction (n,); ``H`` matrix (n, n).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kormos_core.backends import current_backend
from kormos_core.loop import RUNNING
from kormos_core.objective.kinds import linearize

if TYPE_CHECKING:
    from collections.abc import Callable

ops = keras.ops


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, dtype=np.float64))


class Matrix:
    """Multiplies with a matrix; gives NaN after `breaks_at` products."""

    def __init__(self, H, *, breaks_at=np.inf):
        self.H, self.breaks_at, self.seen = tensor(H), breaks_at, []

    def __call__(self, v):
        self.seen.append(np.array(v))
        return (np.nan if self.count > self.breaks_at else 1.0) * ops.matmul(self.H, v)

    @property
    def count(self):
        return len(self.seen)


@dataclass(frozen=True)
class Graph:
    """A function as `GraphObjective`; `bend` makes other products of those of its Hessian."""

    function: Callable[[Any], Any]
    epsilon: float = 2.2e-16
    bend: Callable[[Any], Any] | None = None

    def value_and_grad(self, x):
        return current_backend().value_and_grad(self.function, x)

    def hvp_at(self, x, *, fraction=1.0, part=0):
        product = linearize("forward-over-reverse")(self.function, x)
        return product if self.bend is None else lambda v: self.bend(product(v))


class Counting:
    """A function as `GraphObjective`, to be run eagerly: every call is counted."""

    def __init__(self, function):
        self.graph, self.epsilon = Graph(function), 2.2e-16
        self.num_fg, self.products, self.parts = 0, [], []

    def value_and_grad(self, x):
        self.num_fg += 1
        return self.graph.value_and_grad(x)

    def hvp_at(self, x, *, fraction=1.0, part=0):
        product = self.graph.hvp_at(x)
        self.parts.append((fraction, int(part)))
        self.products.append(0)

        def counted(v):
            self.products[-1] += 1
            return product(v)

        return counted

    @property
    def num_hvp(self):
        return sum(self.products)


def start(method, x0):
    state = method.init(np.array(x0, dtype=float), None)
    return {name: ops.convert_to_tensor(np.asarray(value)) for name, value in state.items()}


@functools.cache
def compiled(method, graph, *, jit=False):
    """Compile a call of a method; once for all tests, because that is what takes time."""
    return current_backend().compile(
        lambda state: method.advance(graph, state), jit=jit, eager=False, keep_float64=True
    )


def run(method, graph, x0, *, jit=False, calls=500):
    """Advance until the method ends; gives all states in NumPy's types, the start's first."""
    if isinstance(graph, Counting):
        advance = functools.partial(method.advance, graph)
    else:
        advance = compiled(method, Graph(graph) if callable(graph) else graph, jit=jit)
    state, states = start(method, x0), []
    for _ in range(calls):
        states.append({name: np.array(value) for name, value in state.items()})
        if int(state["status"]) != RUNNING:
            break
        state = advance(state)
    return states
