"""What each solver is, needs and supports: the one list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core import SolverSpec

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support

__all__ = ["SPECS"]

_GRAD: Final[frozenset[Need]] = frozenset({"value", "grad"})
_HVP: Final[frozenset[Need]] = frozenset({"value", "grad", "hvp"})

_SQUARES: Final[frozenset[Need]] = frozenset({"value", "grad", "residuals"})

_LOOP: Final[frozenset[Support]] = frozenset({"stop", "resume", "in-graph", "chunk"})
_BOUNDS: Final[frozenset[Support]] = _LOOP | {"bounds"}

# The algorithms compute in float64; a float32 model is meant to work, to its precision.
_DTYPES: Final = frozenset({"float32", "float64"})

_DECLARED: Final[tuple[SolverSpec, ...]] = (
    SolverSpec(
        name="lbfgs",
        factory="kormos_native.lbfgs:LBFGS",
        summary="Limited-memory BFGS inside the graph: the one to try first.",
        needs=_GRAD,
        supports=_LOOP,
        dtypes=_DTYPES,
        aliases=("native-lbfgs", "native-l-bfgs"),
        default=True,
        tolerates_nonfinite=True,
        citation="D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale "
        "optimization, 1989, doi:10.1007/BF01589116",
    ),
    SolverSpec(
        name="lbfgs-b",
        factory="kormos_native.lbfgs_b:LBFGSB",
        summary="Limited-memory BFGS with bounds inside the graph, by projection.",
        needs=_GRAD,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        aliases=("native-lbfgs-b",),
        tolerates_nonfinite=True,
        citation="D. P. Bertsekas, Projected Newton Methods for Optimization Problems with "
        "Simple Constraints, 1982, doi:10.1137/0320018",
    ),
    SolverSpec(
        name="newton-cg",
        factory="kormos_native.newton_cg:NewtonCG",
        summary="Truncated Newton with a line search inside the graph.",
        needs=_HVP,
        supports=_LOOP,
        dtypes=_DTYPES,
        aliases=("native-newton-cg",),
        tolerates_nonfinite=True,
        citation="R. S. Dembo, T. Steihaug, Truncated-Newton algorithms for large-scale "
        "unconstrained optimization, 1983, doi:10.1007/BF02592055",
    ),
    SolverSpec(
        name="trust-ncg",
        factory="kormos_native.trust_ncg:TrustNCG",
        summary="Trust-region Newton with conjugate gradients inside the graph.",
        needs=_HVP,
        supports=_LOOP,
        dtypes=_DTYPES,
        aliases=("native-trust-ncg",),
        tolerates_nonfinite=True,
        citation="T. Steihaug, The Conjugate Gradient Method and Trust Regions in Large Scale "
        "Optimization, 1983, doi:10.1137/0720042",
    ),
    SolverSpec(
        name="levenberg-marquardt",
        factory="kormos_native.levenberg_marquardt:LevenbergMarquardt",
        summary="Least squares by damped Gauss-Newton steps: for curves, and for small networks.",
        kind="least-squares",
        needs=_SQUARES,
        supports=_LOOP,
        dtypes=_DTYPES,
        aliases=("native-levenberg-marquardt", "native-lm"),
        tolerates_nonfinite=True,
        citation="J. J. Moré, The Levenberg-Marquardt Algorithm: Implementation and Theory, "
        "1978, doi:10.1007/BFb0067700",
    ),
    SolverSpec(
        name="gauss-newton",
        factory="kormos_native.gauss_newton:GaussNewton",
        summary="Least squares by Gauss-Newton steps with a line search: for small residuals.",
        kind="least-squares",
        needs=_SQUARES,
        supports=_LOOP,
        dtypes=_DTYPES,
        aliases=("native-gauss-newton",),
        tolerates_nonfinite=True,
        citation="J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., 2006, section 10.3, "
        "doi:10.1007/978-0-387-40065-5",
    ),
)

SPECS: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The solvers by name, the likeliest choice first."""
