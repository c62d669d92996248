"""The loop around an in-graph method: chunks of iterations in one compiled call.

A chunk begins with one iteration and doubles while it takes less than half a second, so
that a user sees life and Ctrl-C is heard, and so that Hessian products are checked at
points 1, 2, 4, 8 ... as they are outside the graph. How long a chunk is changes nothing
about the iterates.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,).
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import keras
import numpy as np

from kormos_core.errors import UnsupportedError
from kormos_core.loop.memory import check_state, pack, unpack
from kormos_core.loop.method import RUNNING, status_of
from kormos_core.loop.operations import ops
from kormos_core.result import Result, Status
from kormos_core.run.chunk import Chunk, LoopHost, Point

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kormos_core.loop.method import GraphObjective, LoopMethod, State
    from kormos_core.protocols import Bounds, Callback, Objective

__all__ = ["minimize_in_graph"]

CAPACITY: Final = 256
"""Most iterations in one call: rows of the trace that it has room for."""

_TARGET_S = 0.5  # a chunk's length in time: twice that is what a user waits for a sign of life


class _Counts(NamedTuple):
    iteration: int
    num_fg: int
    num_hvp: int


def minimize_in_graph(
    method: LoopMethod,
    objective: Objective,
    x0: NDArray[np.float64],
    *,
    maxiter: int,
    callback: Callback,
) -> Result:
    """Run a method in the compiled graph, chunk after chunk.

    Parameters
    ----------
    method : LoopMethod
        The algorithm.
    objective : Objective
        What `BatchOptimizer.minimize` is given by kormos; it runs loops (`LoopHost`).
    x0 : ndarray, shape (n,), float64
        Starting point.
    maxiter : int
        Iteration limit.
    callback : Callback
        As `BatchOptimizer.minimize` is given; it is served through the objective.

    Returns
    -------
    Result
        The best accepted point, why the solve ended, and the last state as ``raw``.

    Raises
    ------
    UnsupportedError
        If the objective cannot be traced.
    """
    del callback
    if not isinstance(objective, LoopHost):
        message = (
            f"{type(method).__name__} runs in the compiled graph, and {type(objective).__name__} "
            "cannot be traced. Allowed are the objectives that kormos makes. Use kormos.fit or "
            "kormos.minimize."
        )
        raise UnsupportedError(message)
    return _Drive(method, objective, x0, maxiter).run()


class _Drive:
    """One solve."""

    def __init__(
        self, method: LoopMethod, host: LoopHost, x0: NDArray[np.float64], maxiter: int
    ) -> None:
        self._method = method
        self._host = host
        self._maxiter = maxiter
        # Tensors throughout: a Python number would be compiled in.
        state: dict[str, Any] = method.init(x0, host.bounds)
        best: tuple[Any, ...] = (x0, np.array(np.inf), np.full_like(x0, np.nan))
        if host.memory is not None:
            expected, (state, best) = state, unpack(host.memory)
            check_state(state, expected, type(method).__name__)
        self._state: Any = _tensors(state)
        self._best: Any = _tensors(best)
        self._box: Any = _tensors(_box(host.bounds))
        at = method.progress(self._state)
        self._seen = _Counts(int(at.iteration), int(at.num_fg), int(at.num_hvp))
        self._last = _point((at.x, at.f, at.g))
        self._first = self._seen.iteration
        self._maxiter += self._first
        self._pace = 1
        self._memory = self._snapshot(RUNNING)

    def run(self) -> Result:
        """Run chunks until the method or the iteration limit ends the solve."""
        status = RUNNING
        while status == RUNNING and self._seen.iteration < self._maxiter:
            status = self._chunk()
        why = Status.MAX_ITER if status == RUNNING else status_of(status)
        best = _point(self._best)
        raw, _ = unpack(self._memory())
        return Result(
            x=best.x,
            loss=best.f,
            status=why,
            message=why.value,
            num_iterations=self._seen.iteration - self._first,
            raw=raw,
        )

    def _chunk(self) -> int:
        room = self._host.prepare(self._last.x)
        before = self._seen
        steps = min(room, self._pace, CAPACITY, self._maxiter - before.iteration)
        limit = before.iteration + steps
        step = self._host.compile(_loop(self._method), ("loop", self._method))
        began = time.perf_counter()
        self._state, self._best, rows, scalars, last = step(
            self._state, self._best, self._box, _tensors(np.array(limit, np.int32))
        )
        iteration, num_fg, num_hvp, status = map(int, keras.ops.convert_to_numpy(scalars))
        self._adapt(steps, time.perf_counter() - began)
        self._seen = _Counts(iteration, num_fg, num_hvp)
        self._last = _point(last)
        trace = keras.ops.convert_to_numpy(rows)[: iteration - before.iteration]
        self._memory = self._snapshot(status)
        ends = status != RUNNING or iteration >= self._maxiter
        self._host.report(
            Chunk(
                losses=trace[:, 0],
                grad_norms=trace[:, 1],
                fg_evals=trace[:, 2].astype(np.int64) - before.num_fg,
                hessp_evals=trace[:, 3].astype(np.int64) - before.num_hvp,
                num_fg=num_fg - before.num_fg,
                num_hvp=num_hvp - before.num_hvp,
                last=self._last,
                best=_point(self._best),
                ends=ends,
                memory=self._memory,
            )
        )
        return status

    def _snapshot(self, status: int) -> Callable[[], dict[str, NDArray[Any]]]:
        """Return what gives the present state in arrays, made once and only if asked for."""
        made = functools.partial(pack, self._state, self._best, self._last, status)
        return functools.cache(made)

    def _adapt(self, steps: int, seconds: float) -> None:
        """Double the pace while chunks are short, halve it when they are long."""
        if steps == self._pace and seconds < _TARGET_S / 2:
            self._pace = min(2 * self._pace, CAPACITY)
        elif seconds > _TARGET_S and self._seen.iteration > 1:  # the first one compiles
            self._pace = max(1, steps // 2)


def _tensors(structure: Any) -> Any:
    return keras.tree.map_structure(
        lambda leaf: keras.ops.convert_to_tensor(np.asarray(leaf)), structure
    )


def _point(tensors: tuple[Any, Any, Any]) -> Point:
    x, f, g = (np.array(keras.ops.convert_to_numpy(tensor)) for tensor in tensors)
    return Point(x, float(f), g)


def _box(bounds: Bounds | None) -> tuple[Any, ...]:
    return () if bounds is None else (bounds.lower, bounds.upper)


def _loop(method: LoopMethod) -> Callable[..., Any]:
    """Return the traceable function that runs a chunk of a method."""

    def loop(
        graph: GraphObjective, state: State, best: Any, box: tuple[Any, ...], limit: Any
    ) -> Any:
        first = method.progress(state).iteration

        def goes_on(state: State, best: Any, rows: Any) -> Any:
            del best, rows
            at = method.progress(state)
            return ops.logical_and(ops.equal(at.status, RUNNING), at.iteration < limit)

        def advance(state: State, best: Any, rows: Any) -> Any:
            before = method.progress(state).iteration
            state = _in_dtypes_of(state, method.advance(graph, state))
            at = method.progress(state)
            better = at.f < best[1]
            best = tuple(
                ops.where(better, new, old)
                for new, old in zip((at.x, at.f, at.g), best, strict=True)
            )
            # what is not an iteration is written below the last row
            row = ops.where(at.iteration > before, before - first, CAPACITY)
            return state, best, ops.slice_update(rows, (row, np.int32(0)), _row(at, box))

        rows = ops.zeros((CAPACITY + 1, 4), "float64")
        state, best, rows = ops.while_loop(goes_on, advance, (state, best, rows))
        at = method.progress(state)
        scalars = ops.stack([at.iteration, at.num_fg, at.num_hvp, at.status])
        return state, best, rows, scalars, (at.x, at.f, at.g)

    loop.uses_keras = getattr(method, "uses_keras", True)  # type: ignore[attr-defined]
    return loop


def _in_dtypes_of(old: State, new: State) -> State:
    """Cast numbers and integers back: what Keras makes of them depends on `floatx`."""

    def cast(name: str, value: Any, wanted: Any) -> Any:
        given = getattr(value, "dtype", None)
        if given == wanted:
            return value
        dtype = keras.backend.standardize_dtype(wanted)
        if given is None or "int" in dtype:
            return ops.cast(value, dtype)
        if keras.backend.standardize_dtype(given) != dtype:
            message = (
                f"the state's {name!r} was {dtype}, and after an iteration it is "
                f"{keras.backend.standardize_dtype(given)}. Allowed is the dtype that init "
                "gave. Cast it in advance."
            )
            raise UnsupportedError(message)
        return value

    return {name: cast(name, value, old[name].dtype) for name, value in new.items()}


def _row(at: Any, box: tuple[Any, ...]) -> Any:
    g = at.g
    if box:
        g = at.x - ops.minimum(ops.maximum(at.x - g, box[0]), box[1])
    norm = ops.sqrt(ops.sum(ops.square(g)))
    counts = [ops.cast(at.num_fg, "float64"), ops.cast(at.num_hvp, "float64")]
    return ops.expand_dims(ops.stack([at.f, norm, *counts]), 0)
