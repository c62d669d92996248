"""What each solver is, needs and supports: the one list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kormos_core import SolverSpec

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support

__all__ = ["SPECS"]

_GRAD: Final[frozenset[Need]] = frozenset({"value", "grad"})
_SQUARES: Final[frozenset[Need]] = frozenset({"value", "grad", "residuals"})

_LOOP: Final[frozenset[Support]] = frozenset({"stop", "resume", "in-graph", "chunk"})

# The algorithms compute in float64; a float32 model is meant to work, to its precision.
_COMMON: Final[dict[str, Any]] = {
    "supports": _LOOP,
    "backends": frozenset({"jax"}),
    "dtypes": frozenset({"float32", "float64"}),
}
_BOOK: Final = "J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., 2006, "
_BOOK_DOI: Final = "doi:10.1007/978-0-387-40065-5"


def _minimizer(name: str, cls: str, summary: str, citation: str, **facts: Any) -> SolverSpec:
    return SolverSpec(
        name=name,
        factory=f"kormos_optimistix.{cls}",
        summary=summary,
        needs=_GRAD,
        aliases=(f"optimistix-{name}",),
        citation=citation,
        **_COMMON,
        **facts,
    )


def _least_squares(name: str, cls: str, summary: str, citation: str, **facts: Any) -> SolverSpec:
    return SolverSpec(
        name=name,
        factory=f"kormos_optimistix.least_squares:{cls}",
        summary=summary,
        kind="least-squares",
        dense_matrices=3,  # of m x n numbers, and m is at least n
        needs=_SQUARES,
        aliases=(f"optimistix-{name}",),
        citation=citation,
        **_COMMON,
        **facts,
    )


_DECLARED: Final[tuple[SolverSpec, ...]] = (
    _minimizer(
        "bfgs",
        "quasi_newton:BFGS",
        "Dense BFGS with a backtracking search, for some thousand parameters.",
        f"{_BOOK}algorithm 6.1, {_BOOK_DOI}",
        default=True,
        dense_matrices=8,
        tolerates_nonfinite=True,
    ),
    _minimizer(
        "lbfgs",
        "quasi_newton:LBFGS",
        "Limited-memory BFGS with a backtracking search, in the graph.",
        "R. H. Byrd, J. Nocedal, R. B. Schnabel, Representations of quasi-Newton matrices and "
        "their use in limited memory methods, 1994, doi:10.1007/BF01582063",
        tolerates_nonfinite=True,
    ),
    _minimizer(
        "nonlinear-cg",
        "gradient:NonlinearCG",
        "Nonlinear conjugate gradients with a backtracking search: little memory.",
        "E. Polak, G. Ribière, Note sur la convergence de méthodes de directions conjuguées, 1969",
        tolerates_nonfinite=True,
    ),
    _minimizer(
        "gradient-descent",
        "gradient:GradientDescent",
        "Steepest descent at a constant rate: for comparison.",
        "A. Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, "
        "1847",
    ),
    _least_squares(
        "levenberg-marquardt",
        "LevenbergMarquardt",
        "Least squares by damped Gauss-Newton steps: for curves.",
        "D. W. Marquardt, An Algorithm for Least-Squares Estimation of Nonlinear Parameters, "
        "1963, doi:10.1137/0111030",
        tolerates_nonfinite=True,
    ),
    _least_squares(
        "indirect-levenberg-marquardt",
        "IndirectLevenbergMarquardt",
        "The same in a trust region, to which the damping is fitted.",
        "J. J. Moré, The Levenberg-Marquardt Algorithm: Implementation and Theory, 1978, "
        "doi:10.1007/BFb0067700",
        tolerates_nonfinite=True,
    ),
    _least_squares(
        "dogleg",
        "Dogleg",
        "Least squares by steps between Cauchy's and Gauss and Newton's, in a trust region.",
        "M. J. D. Powell, A hybrid method for nonlinear equations, 1970",
        tolerates_nonfinite=True,
    ),
    _least_squares(
        "gauss-newton",
        "GaussNewton",
        "Least squares by whole Gauss-Newton steps: for a start near the minimum.",
        f"{_BOOK}section 10.3, {_BOOK_DOI}",
    ),
)

SPECS: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The solvers by name, minimizers first."""
