"""Two honest solvers, and many that each tell one lie."""

from __future__ import annotations

import dataclasses

from kormos_core import SolverSpec
from kormos_core.registry import hookimpl

HONEST = SolverSpec(
    name="honest",
    factory="kormos_liars.host:Honest",
    summary="BFGS with backtracking; for tests.",
    needs=frozenset({"value", "grad"}),
    supports=frozenset({"stop"}),
    dtypes=frozenset({"float32", "float64"}),
    dense_matrices=6,
    tolerates_nonfinite=True,
    citation="J. Nocedal, S. J. Wright, Numerical Optimization, 2006",
)
FLOW = dataclasses.replace(
    HONEST,
    name="flow",
    factory="kormos_liars.graph:Flow",
    summary="Steepest descent that adapts its rate, in the graph; for tests.",
    supports=frozenset({"stop", "in-graph", "chunk", "resume"}),
    dense_matrices=0,
)


def _host(name: str, cls: str, **changes) -> SolverSpec:
    factory = f"kormos_liars.host:{cls}"
    return dataclasses.replace(HONEST, name=name, factory=factory, **changes)


def _graph(name: str, cls: str, **changes) -> SolverSpec:
    factory = f"kormos_liars.graph:{cls}"
    return dataclasses.replace(FLOW, name=name, factory=factory, **changes)


_STOP = frozenset({"stop"})


@hookimpl
def kormos_solvers():
    return [
        HONEST,
        FLOW,
        _host("no-summary", "Honest", summary=""),
        _host("no-citation", "Honest", citation="well known"),
        _host("no-docstring", "NoDocstring"),
        _host("silent-option", "SilentOption"),
        _host("mutable", "Mutable"),
        _host("unequal", "Unequal"),
        _host("open-options", "OpenOptions"),
        _host("early", "Early"),
        _host("sign", "Sign"),
        _host("random", "Random"),
        _host("remembers", "Remembers"),
        _host("last-point", "LastPoint"),
        _host("writes-x0", "WritesStart"),
        _host("wrong-loss", "WrongLoss"),
        _host("resets-counts", "ResetsCounts"),
        _host("miscounts-iterations", "MiscountsIterations"),
        _host("uncounted", "Uncounted"),
        _graph("miscounts-graph", "Miscounts"),
        _host("claims", "Claims"),
        _host("no-limit", "NoLimit"),
        _host("no-evaluation-limit", "NoEvaluationLimit"),
        _host("calls-twice", "CallsTwice"),
        _host("calls-never", "CallsNever"),
        _host("hides-its-best", "CallsNever", kind="global"),
        _host("goes-uphill", "GoesUphill", kind="global"),
        _host("calls-at-start", "CallsAtStart"),
        _host("calls-elsewhere", "CallsElsewhere"),
        _host("swallows", "Swallows"),
        _host("stops-late", "StopsLate"),
        _graph("greedy", "Greedy"),
        _host("ignores-bounds", "Honest", supports=_STOP | {"bounds"}),
        _host("clips-at-the-end", "ClipsAtTheEnd", supports=_STOP | {"bounds"}),
        _host("stays-at-the-start", "StaysAtTheStart", supports=_STOP | {"bounds"}),
        _host("ignores-constraints", "Honest", supports=_STOP | {"constraints"}),
        _host("skips-start", "SkipsStart"),
        _host("raises-at-nan", "RaisesAtNaN"),
        _host("does-not-recover", "DoesNotRecover"),
        _host("hides-errors", "HidesErrors"),
        _host("claims-in-float32", "ClaimsInFloat32"),
        _host("asks-for-more", "AsksForMore"),
        _host("asks-for-less", "Honest", needs=frozenset({"value", "grad", "hvp"})),
        _host("not-in-graph", "Honest", supports=_STOP | {"in-graph"}),
        _host("secretly-in-graph", "Uncounted"),
        _graph("retraces", "Retraces"),
        _host("new-keys", "NewKeys"),
        _host("resumes-not", "Honest", supports=_STOP | {"resume"}),
        _graph("forgets", "Forgets"),
        _host("hoards-matrices", "Honest", dense_matrices=0),
        _host("hoards-data", "HoardsData"),
        _host("not-saved", "NotSaved"),
        _host(
            "half-a-curve",
            "HalfACurve",
            kind="least-squares",
            needs=frozenset({"value", "grad", "residuals"}),
        ),
    ]
