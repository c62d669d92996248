"""Compiled functions that read what Python makes: JAX in stages.

A function that XLA has compiled cannot wait for Python: JAX may be called back, but what is
called back must not use JAX itself, or it waits for ever, and a user's data may well do so.
So a function that reads a stream is traced as a whole and compiled in stages: everything
between two readings is one compiled function, what is done with a batch is another, one for
each shape that batches have, and only loops and branches that a stream is read within are
run by Python. The numbers are those of one compiled function; errors of the data pass as
they are; one batch is done with before the next is read.

References
----------
"Writing custom interpreters in JAX" and "External callbacks", in JAX's documentation.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

import jax
from jax.extend.core import ClosedJaxpr, Literal, Primitive

from kormos_core.backends.jax_float64 import as_function, in_float64
from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["JaxStream", "compile_in_stages", "fold", "shapes_of", "subtraces"]

_MOST_KEPT = 8  # traces of one function: for each structure of arguments and each set of shapes

Shapes: TypeAlias = tuple[tuple[tuple[int, ...], str], ...]
"""Shape and dtype of each array of a batch."""

Run: TypeAlias = "Callable[[list[JaxStream], list[Any]], list[Any]]"
"""From streams and values to values."""

_FOLD = Primitive("kormos_fold")
_FOLD.multiple_results = True


@_FOLD.def_abstract_eval  # type: ignore[untyped-decorator]
def _fold_shapes(*operands: Any, bodies: _Bodies) -> list[Any]:
    return list(operands[len(operands) - bodies.num_state :])


@final
@dataclass(frozen=True, slots=True, eq=False)
class JaxStream:
    """Batches that Python makes.

    Attributes
    ----------
    batches : callable
        Gives an iterator of tuples of arrays.
    shapes : dict
        Those that batches are known to have, in order, as keys.
    """

    batches: Callable[[], Iterable[tuple[Any, ...]]]
    shapes: dict[Shapes, None] = field(default_factory=dict)

    def read(self) -> Iterator[tuple[Any, ...]]:
        """Go through the batches once, and keep none of them."""
        items = iter(self.batches())
        while (batch := next(items, None)) is not None:
            yield batch
            del batch


@final
@dataclass(frozen=True, slots=True)
class _Traced:
    """A stream's place in a trace."""

    index: int
    shapes: tuple[Shapes, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Bodies:
    """What is done with a batch, traced for each of the shapes."""

    index: int
    num_state: int
    traced: dict[Shapes, tuple[Any, slice]]  # a trace, and which operands are its constants


class _UnknownShapesError(Exception):
    """There are batches of shapes that nothing was traced for."""


def shapes_of(batch: Iterable[Any]) -> Shapes:
    """Return shape and dtype of each array of a `batch`."""
    return tuple((tuple(leaf.shape), str(leaf.dtype)) for leaf in batch)


def fold(stream: Any, initial: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Fold over a stream, in a function that is compiled in stages or not at all.

    Parameters
    ----------
    stream : JaxStream or what stands for one in a trace
        The stream.
    initial : structure of tensor
        The state before the first batch.
    function : callable
        ``state = function(state, batch)``; traceable.

    Returns
    -------
    structure of tensor
        The state after the last batch.
    """
    if isinstance(stream, JaxStream):
        state = initial
        for batch in stream.read():
            state = jax.block_until_ready(function(state, batch))
        return state
    flat, tree = jax.tree.flatten(initial)
    flat = [_like(leaf, jax.numpy.asarray(leaf)) for leaf in flat]

    def body(state: list[Any], batch: tuple[Any, ...]) -> list[Any]:
        after = tree.flatten_up_to(function(tree.unflatten(state), batch))
        return [_like(new, old) for new, old in zip(after, state, strict=True)]

    consts: list[Any] = []
    traced = {}
    for shapes in stream.shapes:
        batch = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes)
        closed = jax.make_jaxpr(body)(flat, batch)
        traced[shapes] = closed.jaxpr, slice(len(consts), len(consts) + len(closed.consts))
        consts += closed.consts
    bodies = _Bodies(stream.index, len(flat), traced)
    return tree.unflatten(_FOLD.bind(*consts, *flat, bodies=bodies))


def _like(value: Any, other: Any) -> Any:
    return jax.lax.convert_element_type(value, other.dtype)  # and no longer a weak type


def compile_in_stages(function: Callable[..., Any], *, keep_float64: bool) -> Callable[..., Any]:
    """Compile a function of structures of arrays, one of which may be a stream.

    Parameters
    ----------
    function : callable
        Uses streams by `fold` alone.
    keep_float64 : bool
        Whether what it rounds to float32 on the way is computed in float64.

    Returns
    -------
    callable
        The function; without streams it is one compiled program.
    """
    whole = jax.jit(in_float64(function) if keep_float64 else function)
    traces: dict[Any, tuple[Run, Any]] = {}

    def call(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        streams = [leaf for leaf in leaves if isinstance(leaf, JaxStream)]
        if not streams:
            return whole(*arguments)
        arrays = [jax.numpy.asarray(a) for a in leaves if not isinstance(a, JaxStream)]
        places = tuple(isinstance(leaf, JaxStream) for leaf in leaves)
        kind = (tree, places, shapes_of(arrays))
        while True:
            wanted = {shapes for stream in streams for shapes in stream.shapes}
            known = (shapes for other, shapes in reversed(traces) if other == kind)
            fitting = next((shapes for shapes in known if wanted <= shapes), frozenset(wanted))
            if (kind, fitting) not in traces:
                while len(traces) >= _MOST_KEPT:
                    del traces[next(iter(traces))]
                traces[kind, fitting] = _trace(
                    function, tree, places, arrays, fitting, keep_float64=keep_float64
                )
            run, form = traces[kind, fitting]
            try:
                results = run(streams, arrays)
            except _UnknownShapesError:
                continue  # nothing was changed: again from the start
            return form.unflatten(results)

    return call


def _trace(
    function: Callable[..., Any],
    tree: Any,
    places: tuple[bool, ...],
    arrays: list[Any],
    shapes: Iterable[Shapes],
    *,
    keep_float64: bool,
) -> tuple[Run, Any]:
    """Return what runs the function in stages, and the structure of its results."""
    form: list[Any] = []

    def flat(*values: Any) -> list[Any]:
        rest, index = iter(values), 0
        leaves: list[Any] = []
        for is_stream in places:
            leaves.append(_Traced(index, tuple(shapes)) if is_stream else next(rest))
            index += is_stream
        results, structure = jax.tree.flatten(function(*tree.unflatten(leaves)))
        form.append(structure)
        return list(results)

    closed = jax.make_jaxpr(flat)(*arrays)
    return _Stages(keep_float64).closed(closed), form[-1]


def subtraces(eqn: Any) -> Iterator[Any]:
    """Go through the traces within an equation `eqn` of a trace."""
    for parameter in eqn.params.values():
        parts = parameter if isinstance(parameter, (list, tuple)) else (parameter,)
        for part in parts:
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield inner


def _reads(eqn: Any) -> bool:
    return eqn.primitive is _FOLD or any(any(map(_reads, part.eqns)) for part in subtraces(eqn))


@final
@dataclass(frozen=True, slots=True)
class _Stages:
    """What makes stages of traces."""

    keep_float64: bool

    def closed(self, closed: Any) -> Run:
        """Return what runs a trace and its constants."""
        run = self.of(closed.jaxpr)
        return lambda streams, values: run(streams, [*closed.consts, *values])

    def of(self, jaxpr: Any) -> Run:
        """Return what runs a trace; its values are those of its constants, then its inputs."""
        inputs = [*jaxpr.constvars, *jaxpr.invars]
        stages: list[tuple[Run, list[Any], list[Any]]] = []
        if not any(map(_reads, jaxpr.eqns)):
            return self._compiled(jaxpr, inputs, jaxpr.outvars, jaxpr.eqns)
        for reads, group in itertools.groupby(jaxpr.eqns, _reads):
            eqns = list(group)
            if reads:
                stages += [(self._stage(eqn), eqn.invars, eqn.outvars) for eqn in eqns]
                continue
            takes, gives = _boundary(jaxpr, eqns)
            stages.append((self._compiled(jaxpr, takes, gives, eqns), takes, gives))

        def run(streams: list[JaxStream], values: list[Any]) -> list[Any]:
            found = dict(zip(inputs, values, strict=True))

            def look(atom: Any) -> Any:
                return atom.val if isinstance(atom, Literal) else found[atom]

            for stage, takes, gives in stages:
                found.update(zip(gives, stage(streams, [look(a) for a in takes]), strict=True))
            return [look(atom) for atom in jaxpr.outvars]

        return run

    def _compiled(self, jaxpr: Any, takes: list[Any], gives: list[Any], eqns: list[Any]) -> Run:
        """Return some of a trace's equations as one compiled function."""
        part = jaxpr.replace(constvars=[], invars=takes, outvars=gives, eqns=eqns)
        compiled = jax.jit(as_function(ClosedJaxpr(part, ()), keep_float64=self.keep_float64))
        return lambda _, values: compiled(*values)

    def _stage(self, eqn: Any) -> Run:
        """Return what runs an equation that reads a stream."""
        makers = {"while": self._loop, "cond": self._branch, "scan": self._scan}
        if eqn.primitive is _FOLD:
            return self._fold(eqn.params["bodies"])
        if eqn.primitive.name in makers:
            return makers[eqn.primitive.name](eqn.params)
        if eqn.primitive.name in {"jit", "pjit", "closed_call"}:
            return self.closed(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
        message = (
            f"a stream cannot be read within {eqn.primitive.name!r} on JAX. Allowed are loops, "
            "branches and plain calls. Evaluate the objective outside of it, or pass arrays."
        )
        raise UnsupportedError(message)

    def _fold(self, bodies: _Bodies) -> Run:
        def body_of(jaxpr: Any) -> Callable[..., Any]:
            def body(consts: list[Any], *values: Any) -> list[Any]:
                closed = ClosedJaxpr(jaxpr, consts)
                return as_function(closed, keep_float64=self.keep_float64)(*values)

            return functools.partial(jax.jit(body))

        compiled = {shapes: body_of(jaxpr) for shapes, (jaxpr, _) in bodies.traced.items()}

        def run(streams: list[JaxStream], values: list[Any]) -> list[Any]:
            at = len(values) - bodies.num_state
            consts, state = values[:at], values[at:]
            stream, unknown = streams[bodies.index], False
            for batch in stream.read():
                shapes = shapes_of(batch)
                stream.shapes[shapes] = None
                unknown = unknown or shapes not in compiled
                if not unknown:
                    own = consts[bodies.traced[shapes][1]]
                    state = jax.block_until_ready(compiled[shapes](own, *state, *batch))
                del batch
            if unknown:  # the rest was read for its shapes
                raise _UnknownShapesError
            return state

        return run

    def _loop(self, params: dict[str, Any]) -> Run:
        test, body = self.closed(params["cond_jaxpr"]), self.closed(params["body_jaxpr"])
        first = params["cond_nconsts"]
        second = first + params["body_nconsts"]

        def run(streams: list[JaxStream], values: list[Any]) -> list[Any]:
            state = values[second:]
            while bool(test(streams, values[:first] + state)[0]):
                state = list(body(streams, values[first:second] + state))
            return state

        return run

    def _branch(self, params: dict[str, Any]) -> Run:
        branches = [self.closed(branch) for branch in params["branches"]]

        def run(streams: list[JaxStream], values: list[Any]) -> list[Any]:
            index = min(max(int(values[0]), 0), len(branches) - 1)
            return branches[index](streams, values[1:])

        return run

    def _scan(self, params: dict[str, Any]) -> Run:
        body, first = self.closed(params["jaxpr"]), params["num_consts"]
        second = first + params["num_carry"]
        order = list(range(params["length"]))

        def run(streams: list[JaxStream], values: list[Any]) -> list[Any]:
            consts, state, rows = values[:first], values[first:second], values[second:]
            made: list[list[Any]] = []
            for number in order[::-1] if params["reverse"] else order:
                after = body(streams, [*consts, *state, *(row[number] for row in rows)])
                state = list(after[: second - first])
                made.append(list(after[second - first :]))
            columns = zip(*(made[::-1] if params["reverse"] else made), strict=True)
            return [*state, *map(jax.numpy.stack, columns)]

        return run


def _boundary(jaxpr: Any, eqns: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return what some equations of a trace take from before them, and give to the rest."""
    own = {id(eqn) for eqn in eqns}
    others = [eqn for eqn in jaxpr.eqns if id(eqn) not in own]
    wanted = {v for eqn in others for v in _variables(eqn.invars)} | {*_variables(jaxpr.outvars)}
    made = dict.fromkeys(v for eqn in eqns for v in eqn.outvars)
    given = dict.fromkeys(v for eqn in eqns for v in _variables(eqn.invars))
    return [v for v in given if v not in made], [v for v in made if v in wanted]


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]
