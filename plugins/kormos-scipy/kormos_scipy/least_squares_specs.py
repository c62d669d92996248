"""What each of SciPy's methods for least squares is, needs and supports: the list of them.

How many n x n matrices Levenberg-Marquardt keeps was measured as the peak of NumPy's
allocations over 8 n² bytes at as many residuals as parameters (SciPy 1.17, n = 400), rounded
up. The others keep none where there are many parameters and nothing else is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core import SolverSpec

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support

__all__ = ["LEAST_SQUARES"]

_NEEDS: Final[frozenset[Need]] = frozenset({"value", "grad", "residuals"})
_STOP: Final[frozenset[Support]] = frozenset({"stop"})
_BOUNDS: Final[frozenset[Support]] = frozenset({"stop", "bounds"})
_DTYPES: Final = frozenset({"float32", "float64"})

_DECLARED: Final[tuple[SolverSpec, ...]] = (
    SolverSpec(
        name="least-squares-trf",
        factory="kormos_scipy.least_squares:LeastSquaresTRF",
        summary="Gauss-Newton in a trust region, with bounds and robust losses: try it first.",
        kind="least-squares",
        needs=_NEEDS,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        tolerates_nonfinite=True,
        citation="M. A. Branch, T. F. Coleman, Y. Li, A Subspace, Interior, and Conjugate "
        "Gradient Method for Large-Scale Bound-Constrained Minimization Problems, 1999, "
        "doi:10.1137/S1064827595289108",
    ),
    SolverSpec(
        name="least-squares-dogbox",
        factory="kormos_scipy.least_squares:LeastSquaresDogbox",
        summary="Dogleg Gauss-Newton in a box, with bounds and robust losses; small problems.",
        kind="least-squares",
        needs=_NEEDS,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        tolerates_nonfinite=True,
        citation="C. Voglis, I. E. Lagaris, A Rectangular Trust Region Dogleg Approach for "
        "Unconstrained and Bound Constrained Nonlinear Optimization, 2004",
    ),
    SolverSpec(
        name="least-squares-lm",
        factory="kormos_scipy.levenberg_marquardt:LeastSquaresLM",
        summary="MINPACK's Levenberg-Marquardt: fast on small problems without bounds.",
        kind="least-squares",
        needs=_NEEDS,
        supports=_STOP,
        dtypes=_DTYPES,
        dense_matrices=5,  # Jacobians of two iterates, MINPACK's, what building one takes
        tolerates_nonfinite=True,
        citation="J. J. More, The Levenberg-Marquardt Algorithm: Implementation and Theory, "
        "1978, doi:10.1007/BFb0067700",
    ),
)

LEAST_SQUARES: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The methods by their names here, the likeliest choice first."""
