"""What each solver is, needs and supports: the one list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kormos_core import SolverSpec
from kormos_optax.methods import METHODS

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support
    from kormos_optax.methods import Method

__all__ = ["SPECS"]

_GRAD: Final[frozenset[Need]] = frozenset({"value", "grad"})

_LOOP: Final[frozenset[Support]] = frozenset({"stop", "resume", "in-graph", "chunk"})

# The algorithms compute in float64; a float32 model is meant to work, to its precision.
_COMMON: Final[dict[str, Any]] = {
    "needs": _GRAD,
    "supports": _LOOP,
    "backends": frozenset({"jax"}),
    "dtypes": frozenset({"float32", "float64"}),
}

_LBFGS: Final = SolverSpec(
    name="lbfgs",
    factory="kormos_optax.lbfgs:LBFGS",
    summary="Limited-memory BFGS with optax's zoom line search, in the graph.",
    aliases=("optax-lbfgs", "optax-l-bfgs"),
    default=True,
    tolerates_nonfinite=True,
    citation="D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale "
    "optimization, 1989, doi:10.1007/BF01589116",
    **_COMMON,
)

_TRANSFORMATION: Final = SolverSpec(
    name="transformation",
    factory="kormos_optax.transformation:Transformation",
    summary="Any optax.GradientTransformation of your own, deterministic and full-batch.",
    aliases=("optax-transformation",),
    citation="DeepMind et al., The DeepMind JAX Ecosystem, 2020, "
    "http://github.com/google-deepmind",
    **_COMMON,
)


def _first_order(name: str, method: Method) -> SolverSpec:
    return SolverSpec(
        name=name,
        factory=f"kormos_optax.first_order:{name}",
        summary=f"{method.summary}: deterministic and full-batch, in the graph.",
        aliases=(f"optax-{name}",),
        citation=method.citation,
        **_COMMON,
    )


_DECLARED: Final = (
    _LBFGS,
    *(_first_order(name, method) for name, method in METHODS.items()),
    _TRANSFORMATION,
)

SPECS: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The solvers by name, the likeliest choice first."""
