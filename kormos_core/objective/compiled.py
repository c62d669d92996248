"""Functions of the objective, compiled once and kept from fit to fit.

XLA makes one program of a whole loop. On CPUs that takes seconds to compile, which only
long solves earn back, and convolutions are far slower there (`benchmarks/jit.py`, whose
figures docs/performance.md has); so it is asked for by name, as in Keras, where "auto"
means XLA on accelerators only. Where a backend compiles no loops, it is the parts of the
objective that are compiled, where that is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kormos_core.backends import current_backend
from kormos_core.data import reason_of
from kormos_core.errors import KormosError, UnsupportedError
from kormos_core.objective.faults import is_foreign
from kormos_core.objective.parts import CompiledParts
from kormos_core.objective.watched import on_watched

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kormos_core.objective.graph import Graph

__all__ = ["MOST_KEPT", "compile_on_graph"]

MOST_KEPT = 16
"""Functions that are kept for a model."""


def compile_on_graph(
    function: Callable[..., Any],
    *,
    key: Hashable,
    graph: Graph,
    cache: dict[Hashable, Callable[..., Any]],
    jit: bool | None,
    eager: bool,
) -> Callable[..., Any]:
    """Compile a function of the objective and further tensors.

    Parameters
    ----------
    function : callable
        Takes a `GraphObjective` and structures of tensors; gives such structures. As for
        `kormos_core.loop.LoopHost.compile`, its ``uses_keras`` counts.
    key : hashable
        What the function does; equal keys mean equal functions.
    graph : Graph
        The objective, whose data are passed at every call.
    cache : dict
        What has been compiled, by all that it depends on.
    jit : bool or None
        Whether XLA compiles it; None tries, and does without where XLA cannot.
    eager : bool
        Whether nothing compiles it.

    Returns
    -------
    callable
        The function of the tensors alone.
    """
    jit = False if eager else jit
    full = (key, graph.kind, graph.sweep, graph.mean, graph.precision, graph.rows, jit)
    if full not in cache:
        while len(cache) >= MOST_KEPT:  # the oldest go: a search over options compiles many
            del cache[next(iter(cache))]
        whole = current_backend().compiles_loops
        parts = graph if whole or not jit else replace(graph, batch=CompiledParts(graph.batch))
        uses_keras = getattr(function, "uses_keras", True)
        if not uses_keras:
            function = on_watched(function)
        cache[full] = _with_fallback(
            _on_data(function, parts),
            jit=whole and jit,
            eager=eager,
            keep_float64=graph.precision == "float64",
            uses_keras=uses_keras,
        )
    compiled, data, batch = cache[full], graph.data, graph.batch
    batch.faults.clear()

    def call(*arguments: Any) -> Any:
        try:
            return compiled(data, *arguments)
        except Exception as error:
            if error in batch.faults:
                raise
            if batch.faults:  # what was raised within, and not the backend's wrapping of it
                raise batch.faults[0] from error
            if isinstance(error, KormosError) or not is_foreign(error, eager=eager):
                raise
            raise batch.unusable(error) from error

    return call


def _on_data(function: Callable[..., Any], graph: Graph) -> Callable[..., Any]:
    """Make the data an argument: what is compiled keeps none of it alive."""
    empty = graph.on(None)
    return lambda data, *arguments: function(empty.on(data), *arguments)


def _with_fallback(
    function: Callable[..., Any],
    *,
    jit: bool | None,
    eager: bool,
    keep_float64: bool,
    uses_keras: bool,
) -> Callable[..., Any]:
    """Compile by XLA where that is possible, or say that it is not."""
    backend = current_backend()
    how = {"keep_float64": keep_float64, "uses_keras": uses_keras}
    plain = backend.compile(function, jit=False, eager=eager, **how)
    if jit is False:
        return plain
    by_xla = backend.compile(function, jit=True, eager=False, **how)
    chosen: list[Callable[..., Any]] = []

    def first(*arguments: Any) -> Any:
        if chosen:
            return chosen[0](*arguments)
        try:
            results = by_xla(*arguments)
        except backend.jit_errors as error:
            if jit:
                message = (
                    "jit_compile=True cannot be honored: XLA does not compile this model: "
                    f"{reason_of(error)}. Allowed is 'auto', which does without XLA where it "
                    "must. Leave jit_compile out."
                )
                raise UnsupportedError(message) from error
            chosen.append(plain)
            return plain(*arguments)
        chosen.append(by_xla)
        return results

    return first
