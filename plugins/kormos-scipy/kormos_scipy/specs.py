"""What each of SciPy's methods is, needs and supports: the one list of them.

Which methods take bounds and constraints is SciPy's documentation of `minimize`. How many
n x n matrices a method keeps was measured as the peak of NumPy's allocations over
8 n² bytes (SciPy 1.17, n from 40 to 400), rounded up; the comments say what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core import SolverSpec

if TYPE_CHECKING:
    from kormos_core.capabilities import Need, Support

__all__ = ["SPECS"]

_VALUE: Final[frozenset[Need]] = frozenset({"value"})
_GRAD: Final[frozenset[Need]] = frozenset({"value", "grad"})
_HVP: Final[frozenset[Need]] = frozenset({"value", "grad", "hvp"})
_HESSIAN: Final[frozenset[Need]] = frozenset({"value", "grad", "hessian"})

_STOP: Final[frozenset[Support]] = frozenset({"stop"})
_BOUNDS: Final[frozenset[Support]] = frozenset({"stop", "bounds"})
_CONSTRAINTS: Final[frozenset[Support]] = frozenset({"stop", "bounds", "constraints"})

# Vectors are float64 on SciPy's side; a float32 model is meant to work, to its precision.
_DTYPES: Final = frozenset({"float32", "float64"})

# A Hessian costs n products, about 2 n gradients, an iteration, and its factorization n³/3
# operations: 4000 gradients and 2.7e9 operations at n = 2000. Beyond it the methods that take
# the products themselves, some ten of them an iteration, are the better choice.
_MAX_HESSIAN_PARAMETERS: Final = 2000

_DECLARED: Final[tuple[SolverSpec, ...]] = (
    SolverSpec(
        name="l-bfgs-b",
        factory="kormos_scipy.quasi_newton:LBFGSB",
        summary="Limited-memory BFGS with bounds: the one to try first.",
        needs=_GRAD,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        aliases=("l-bfgs-b",),
        default=True,
        citation="R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, A Limited Memory Algorithm for Bound "
        "Constrained Optimization, 1995, doi:10.1137/0916069",
    ),
    SolverSpec(
        name="bfgs",
        factory="kormos_scipy.quasi_newton:BFGS",
        summary="Dense BFGS, for up to a few thousand smooth parameters.",
        needs=_GRAD,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("bfgs",),
        dense_matrices=7,  # the inverse Hessian, an integer identity, five of the update
        citation="J. Nocedal, S. J. Wright, Numerical Optimization, 2006, algorithm 6.1, "
        "doi:10.1007/978-0-387-40065-5",
    ),
    SolverSpec(
        name="cg",
        factory="kormos_scipy.quasi_newton:CG",
        summary="Nonlinear conjugate gradients in the least memory of all.",
        needs=_GRAD,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("cg",),
        citation="E. Polak, G. Ribiere, Note sur la convergence de methodes de directions "
        "conjuguees, 1969, doi:10.1051/m2an/196903R100351",
    ),
    SolverSpec(
        name="newton-cg",
        factory="kormos_scipy.newton:NewtonCG",
        summary="Truncated Newton with a line search, from Hessian products.",
        needs=_HVP,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("newton-cg",),
        citation="R. S. Dembo, T. Steihaug, Truncated-Newton algorithms for large-scale "
        "unconstrained optimization, 1983, doi:10.1007/BF02592055",
    ),
    SolverSpec(
        name="tnc",
        factory="kormos_scipy.newton:TNC",
        summary="Truncated Newton with bounds; differences of gradients for products.",
        needs=_GRAD,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        aliases=("tnc",),
        citation="S. G. Nash, Newton-Type Minimization via the Lanczos Method, 1984, "
        "doi:10.1137/0721052",
    ),
    SolverSpec(
        name="trust-ncg",
        factory="kormos_scipy.trust_region:TrustNCG",
        summary="Trust-region Newton with conjugate gradients, from Hessian products.",
        needs=_HVP,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("trust-ncg",),
        tolerates_nonfinite=True,
        citation="T. Steihaug, The Conjugate Gradient Method and Trust Regions in Large Scale "
        "Optimization, 1983, doi:10.1137/0720042",
    ),
    SolverSpec(
        name="trust-krylov",
        factory="kormos_scipy.trust_region:TrustKrylov",
        summary="Trust-region Newton with Lanczos (GLTR), from Hessian products.",
        needs=_HVP,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("trust-krylov",),
        # SciPy reserves 2 x 2 n² numbers (at most 2 x 8 GB) and touches one row of them a
        # Lanczos step: 19 MB of 18 GiB for n = 35,000. What is not touched is not kept.
        dense_matrices=0,
        tolerates_nonfinite=True,
        citation="F. Lenders, C. Kirches, A. Potschka, trlib: a vector-free implementation of "
        "the GLTR method for iterative solution of the trust region problem, 2018, "
        "doi:10.48550/arXiv.1611.04718",
    ),
    SolverSpec(
        name="trust-exact",
        factory="kormos_scipy.trust_region:TrustExact",
        summary="Trust-region Newton, nearly exact subproblems; for small, hard problems.",
        needs=_HESSIAN,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("trust-exact",),
        dense_matrices=6,  # two Hessians (iterate and trial), shifted, identity, factor, work
        max_parameters=_MAX_HESSIAN_PARAMETERS,
        tolerates_nonfinite=True,
        citation="J. J. More, D. C. Sorensen, Computing a Trust Region Step, 1983, "
        "doi:10.1137/0904038",
    ),
    SolverSpec(
        name="dogleg",
        factory="kormos_scipy.trust_region:Dogleg",
        summary="Trust-region dogleg; needs a positive definite Hessian everywhere.",
        needs=_HESSIAN,
        supports=_STOP,
        dtypes=_DTYPES,
        aliases=("dogleg",),
        dense_matrices=3,  # two Hessians (iterate and trial), the factor
        max_parameters=_MAX_HESSIAN_PARAMETERS,
        tolerates_nonfinite=True,
        citation="M. J. D. Powell, A new algorithm for unconstrained optimization, 1970, "
        "doi:10.1016/B978-0-12-597050-1.50006-3",
    ),
    SolverSpec(
        name="trust-constr",
        factory="kormos_scipy.constrained:TrustConstr",
        summary="Trust-region SQP and interior point: bounds and any constraints.",
        needs=_HVP,
        supports=_CONSTRAINTS,
        dtypes=_DTYPES,
        aliases=("trust-constr",),
        tolerates_nonfinite=True,
        citation="R. H. Byrd, M. E. Hribar, J. Nocedal, An interior point algorithm for "
        "large-scale nonlinear programming, 1999, doi:10.1137/S1052623497325107",
    ),
    SolverSpec(
        name="slsqp",
        factory="kormos_scipy.constrained:SLSQP",
        summary="Sequential least squares programming: small problems with constraints.",
        needs=_GRAD,
        supports=_CONSTRAINTS,
        dtypes=_DTYPES,
        aliases=("slsqp",),
        dense_matrices=11,  # SciPy's own formula for the buffer: 10.5 n², constraints aside
        citation="D. Kraft, Algorithm 733: TOMP - Fortran modules for optimal control "
        "calculations, 1994, doi:10.1145/192115.192124",
    ),
    SolverSpec(
        name="nelder-mead",
        factory="kormos_scipy.derivative_free:NelderMead",
        summary="Downhill simplex: no gradient, a handful of parameters.",
        needs=_VALUE,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        aliases=("nelder-mead",),
        dense_matrices=4,  # the simplex, its sorted copy, differences; one more with bounds
        tolerates_nonfinite=True,
        citation="J. A. Nelder, R. Mead, A Simplex Method for Function Minimization, 1965, "
        "doi:10.1093/comjnl/7.4.308",
    ),
    SolverSpec(
        name="powell",
        factory="kormos_scipy.derivative_free:Powell",
        summary="Line searches along conjugate directions: no gradient, few parameters.",
        needs=_VALUE,
        supports=_BOUNDS,
        dtypes=_DTYPES,
        aliases=("powell",),
        dense_matrices=1,  # the set of directions
        citation="M. J. D. Powell, An efficient method for finding the minimum of a function of "
        "several variables without calculating derivatives, 1964, doi:10.1093/comjnl/7.2.155",
    ),
    SolverSpec(
        name="cobyla",
        factory="kormos_scipy.model_based:COBYLA",
        summary="Linear models in a trust region: no gradient, any constraints.",
        needs=_VALUE,
        supports=_CONSTRAINTS,
        dtypes=_DTYPES,
        aliases=("cobyla",),
        # Simplex, its inverse, the history of all evaluated points (n a point, never fewer
        # than n + 2 points), copies of each; with bounds 2 n rows of constraints as well: 29.
        dense_matrices=30,
        tolerates_nonfinite=True,
        citation="M. J. D. Powell, A direct search optimization method that models the objective "
        "and constraint functions by linear interpolation, 1994, "
        "doi:10.1007/978-94-015-8330-5_4",
    ),
    SolverSpec(
        name="cobyqa",
        factory="kormos_scipy.model_based:COBYQA",
        summary="Quadratic models in a trust region: no gradient, any constraints.",
        needs=_VALUE,
        supports=_CONSTRAINTS,
        dtypes=_DTYPES,
        aliases=("cobyqa",),
        dense_matrices=63,  # the (3 n + 2)² interpolation system seven times over
        tolerates_nonfinite=True,
        citation="T. M. Ragonneau, Model-Based Derivative-Free Optimization Methods and Software, "
        "2022, doi:10.48550/arXiv.2210.12018",
    ),
)

SPECS: Final[dict[str, SolverSpec]] = {spec.name: spec for spec in _DECLARED}
"""The methods by SciPy's name in lower case, the likeliest choice first."""
