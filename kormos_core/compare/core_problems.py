"""The core's own problems, declared by the hook that plugins use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kormos_core.capabilities import ProblemSpec
from kormos_core.registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CLASSIC_SET", "kormos_problems"]

CLASSIC_SET: Final = (
    "digits",
    "breast-cancer",
    "digits-mlp",
    "matrix-factorization-60x40",
    "nist-thurber",
    "mgh-rosenbrock",
    "mgh-wood",
    "mgh-osborne-2",
)
"""A little of everything, for a comparison that takes minutes."""

_SYNTHETIC: Final = (
    "least-squares-2000x100",
    "logistic-1000x50",
    "matrix-factorization-60x40",
)

_PAPER: Final = (
    "Rosenbrock",
    "Freudenstein and Roth",
    "Powell badly scaled",
    "Brown badly scaled",
    "Beale",
    "Jennrich and Sampson",
    "helical valley",
    "Bard",
    "Gaussian",
    "Meyer",
    "Gulf research and development",
    "Box three-dimensional",
    "Powell singular",
    "Wood",
    "Kowalik and Osborne",
    "Brown and Dennis",
    "Osborne 1",
    "Biggs EXP6",
    "Osborne 2",
    "Watson, n=6",
    "Watson, n=9",
    "extended Rosenbrock",
    "extended Powell singular",
    "penalty I, n=4",
    "penalty I, n=10",
    "penalty II, n=4",
    "penalty II, n=10",
    "variably dimensioned",
    "trigonometric",
    "Brown almost-linear",
    "discrete boundary value",
    "discrete integral equation",
    "Broyden tridiagonal",
    "Broyden banded",
    "linear, full rank",
    "linear, rank 1",
    "linear, rank 1 with zero columns and rows",
    "Chebyquad",
)


@hookimpl
def kormos_problems() -> Iterator[ProblemSpec]:
    """Declare the problems that come with kormos; no backend is imported for it."""
    from kormos_core.compare.nist import nonlinear
    from kormos_core.compare.tabular import TABULAR

    for problem in TABULAR:
        factory = "kormos_core.compare.tabular:make_problem"
        yield _spec(problem.name, factory, problem.summary, problem.sets[0])
    for name in _SYNTHETIC:
        factory = "kormos_core.compare.synthetic:make_problem"
        yield _spec(name, factory, "drawn at random; any size will do", "synthetic")
    for name, table in nonlinear().items():
        factory = "kormos_core.compare.nist.models:make_problem"
        yield _spec(f"nist-{name.lower()}", factory, f"NIST's {name}: {table.formula}", "nist")
    for title in _PAPER:
        name = "mgh-" + re.sub(r"[^a-z0-9]+", "-", title.lower())
        yield _spec(name, "kormos_core.compare.mgh:make_problem", title, "mgh")


def _spec(name: str, factory: str, summary: str, home: str) -> ProblemSpec:
    sets = (home, "classic") if name in CLASSIC_SET else (home,)
    return ProblemSpec(name=name, factory=factory, summary=summary, sets=sets)
