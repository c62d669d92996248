"""What each of the minimizers is, needs and supports: the one list of them.

How many n x n matrices a method keeps was measured as the growth of the process over
8 n² bytes (TensorFlow Probability 0.25, TensorFlow 2.21, with XLA and without), rounded up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core import SolverSpec

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support

__all__ = ["SPECS"]

_VALUE: Final[frozenset[Need]] = frozenset({"value"})
_GRAD: Final[frozenset[Need]] = frozenset({"value", "grad"})

_LOOP: Final[frozenset[Support]] = frozenset({"stop", "resume", "in-graph", "chunk"})

# The algorithms compute in float64; a float32 model is meant to work, to its precision.
_DTYPES: Final = frozenset({"float32", "float64"})

_BACKENDS: Final = frozenset({"tensorflow"})

_DECLARED: Final[tuple[SolverSpec, ...]] = (
    SolverSpec(
        name="l-bfgs",
        factory="kormos_tfp.lbfgs:LBFGS",
        summary="Limited-memory BFGS with Hager and Zhang's line search, in the graph.",
        needs=_GRAD,
        supports=_LOOP,
        backends=_BACKENDS,
        dtypes=_DTYPES,
        aliases=("tfp-lbfgs", "tfp-l-bfgs"),
        default=True,
        tolerates_nonfinite=True,
        citation="D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale "
        "optimization, 1989, doi:10.1007/BF01589116",
    ),
    SolverSpec(
        name="bfgs",
        factory="kormos_tfp.bfgs:BFGS",
        summary="Dense BFGS with the same line search, for some thousand parameters.",
        needs=_GRAD,
        supports=_LOOP,
        backends=_BACKENDS,
        dtypes=_DTYPES,
        aliases=("tfp-bfgs",),
        dense_matrices=8,
        tolerates_nonfinite=True,
        citation="J. Nocedal, S. J. Wright, Numerical Optimization, 2006, algorithm 6.1, "
        "doi:10.1007/978-0-387-40065-5",
    ),
    SolverSpec(
        name="nelder-mead",
        factory="kormos_tfp.simplex:NelderMead",
        summary="Downhill simplex in the graph: no gradient, a handful of parameters.",
        needs=_VALUE,
        supports=_LOOP,
        backends=_BACKENDS,
        dtypes=_DTYPES,
        aliases=("tfp-nelder-mead",),
        dense_matrices=5,  # the simplex, its successor, differences
        tolerates_nonfinite=True,
        citation="F. Gao, L. Han, Implementing the Nelder-Mead simplex algorithm with adaptive "
        "parameters, 2012, doi:10.1007/s10589-010-9329-3",
    ),
)

SPECS: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The solvers by name, the likeliest choice first."""
