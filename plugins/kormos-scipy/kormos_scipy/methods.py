"""What there is to know of each method beyond its `SolverSpec`, as data.

How SciPy counts, calls back and ends was read from SciPy 1.17 and is held by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, final

from kormos_core import Status
from kormos_scipy.gradient_tests import (
    gradient_norm,
    projected_max_norm,
    scaled_projected_norm,
)
from kormos_scipy.specs import SPECS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kormos_core import SolverSpec
    from kormos_scipy.gradient_tests import GradientNorm

__all__ = ["METHODS", "Method"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How to run one of SciPy's methods, and how to read its end.

    Attributes
    ----------
    spec : SolverSpec
        What it needs and supports.
    endings : mapping of int to Status
        What its codes mean, where no measurement says otherwise.
    maxiter : {"same", "unlimited", "absent"}
        SciPy's iteration limit: it counts accepted iterates; it counts something else, so
        that kormos counts; the method has none.
    evals_option : str
        Option that limits evaluations; empty where there is none.
    tol_options : tuple of str
        Options that the general tolerance sets.
    gradient_norm : callable or None
        The norm that the method holds against its option ``gtol``; None where it has no
        test of the gradient.
    feasibility_option : str
        Option for the largest violation of constraints; empty where there is none.
    loses_precision : bool
        Whether SciPy calls a failed line search "precision loss".
    accepts_at_gradient : bool
        Whether a gradient is asked for exactly at accepted iterates, and calls back are of
        no use.
    reports_every_step : bool
        Whether every change of the parameters is called back, so that the returned ones
        differ from the last report by rounding only.
    models_first : bool
        Whether it evaluates 2 m + 1 points for a first model, calling back at each.
    interior_point : bool
        Whether inequalities and bounds make it an interior point method, whose optimality
        takes more than a gradient to tell.
    drops_narrow : bool
        Whether it takes bounds closer than rounding for a fixed parameter.
    rejects_steps : bool
        Whether steps that are too short may be ones that it rejected and cut, again and
        again.
    shapes : mapping of str to tuple of int
        Array options: (rows beyond n,) or (rows beyond n, columns beyond n).
    """

    spec: SolverSpec
    endings: Mapping[int, Status]
    maxiter: Literal["same", "unlimited", "absent"] = "same"
    evals_option: str = ""
    tol_options: tuple[str, ...] = ()
    gradient_norm: GradientNorm | None = None
    feasibility_option: str = ""
    loses_precision: bool = False
    accepts_at_gradient: bool = False
    reports_every_step: bool = False
    models_first: bool = False
    interior_point: bool = False
    drops_narrow: bool = False
    rejects_steps: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


_LINE_SEARCH_ENDINGS: Final = {
    0: Status.GRAD_TOL,
    1: Status.MAX_ITER,
    2: Status.LINESEARCH_FAILED,
    3: Status.STAGNATED,
}
_TRUST_REGION_ENDINGS: Final = {
    0: Status.GRAD_TOL,
    1: Status.MAX_ITER,
    2: Status.STAGNATED,
    3: Status.LINESEARCH_FAILED,  # no step: the Hessian has no Cholesky factor
}


def _trust_region(name: str) -> Method:
    return Method(
        spec=SPECS[name],
        endings=_TRUST_REGION_ENDINGS,
        maxiter="unlimited",  # SciPy counts rejected steps
        tol_options=("gtol",),
        gradient_norm=gradient_norm,
    )


_METHODS: Final = (
    Method(
        spec=SPECS["l-bfgs-b"],
        endings={0: Status.F_TOL, 1: Status.MAX_EVALS, 2: Status.LINESEARCH_FAILED},
        evals_option="maxfun",
        tol_options=("ftol", "gtol"),
        gradient_norm=projected_max_norm,
    ),
    Method(
        spec=SPECS["bfgs"],
        endings={**_LINE_SEARCH_ENDINGS, 0: Status.X_TOL},
        tol_options=("gtol",),
        gradient_norm=gradient_norm,
        loses_precision=True,
        shapes={"hess_inv0": (0, 0)},
    ),
    Method(
        spec=SPECS["cg"],
        endings=_LINE_SEARCH_ENDINGS,
        tol_options=("gtol",),
        gradient_norm=gradient_norm,
        loses_precision=True,
    ),
    Method(
        spec=SPECS["newton-cg"],
        endings={**_LINE_SEARCH_ENDINGS, 0: Status.X_TOL},
        tol_options=("xtol",),
        loses_precision=True,
    ),
    Method(
        spec=SPECS["tnc"],
        endings={
            -1: Status.CONSTRAINTS_VIOLATED,
            0: Status.GRAD_TOL,
            1: Status.F_TOL,
            2: Status.X_TOL,
            3: Status.MAX_EVALS,
            4: Status.LINESEARCH_FAILED,
            6: Status.STAGNATED,
        },
        maxiter="absent",
        evals_option="maxfun",
        tol_options=("ftol", "xtol", "gtol"),
        gradient_norm=scaled_projected_norm,
        reports_every_step=True,
        shapes={"scale": (0,), "offset": (0,)},
    ),
    _trust_region("trust-ncg"),
    _trust_region("trust-krylov"),
    _trust_region("trust-exact"),
    _trust_region("dogleg"),
    Method(
        spec=SPECS["trust-constr"],
        endings={
            0: Status.MAX_ITER,
            1: Status.GRAD_TOL,
            2: Status.X_TOL,
            4: Status.X_TOL,  # converged, yet constraints violated by more than gtol
        },
        maxiter="unlimited",  # SciPy counts the start and rejected steps
        tol_options=("xtol", "gtol", "barrier_tol"),
        interior_point=True,
    ),
    Method(
        spec=SPECS["slsqp"],
        endings={
            0: Status.F_TOL,
            2: Status.CONSTRAINTS_VIOLATED,  # more equations than parameters
            3: Status.STAGNATED,
            4: Status.CONSTRAINTS_VIOLATED,  # inequalities that contradict each other
            5: Status.STAGNATED,
            6: Status.STAGNATED,
            7: Status.STAGNATED,
            8: Status.LINESEARCH_FAILED,
            9: Status.MAX_ITER,
        },
        tol_options=("ftol",),
        accepts_at_gradient=True,  # SciPy calls back with trial points
    ),
    Method(
        spec=SPECS["nelder-mead"],
        endings={0: Status.X_TOL, 1: Status.MAX_EVALS, 2: Status.MAX_ITER},
        maxiter="unlimited",  # SciPy counts from 1, and iterations without a better vertex
        evals_option="maxfev",
        tol_options=("xatol", "fatol"),
        shapes={"initial_simplex": (1, 0)},
    ),
    Method(
        spec=SPECS["powell"],
        endings={
            0: Status.F_TOL,
            1: Status.MAX_EVALS,
            2: Status.MAX_ITER,
            3: Status.NONFINITE,
            4: Status.CONSTRAINTS_VIOLATED,
        },
        evals_option="maxfev",
        tol_options=("xtol", "ftol"),
        shapes={"direc": (0, 0)},
    ),
    Method(
        spec=SPECS["cobyla"],
        endings={
            0: Status.X_TOL,
            1: Status.F_TOL,  # f_target was reached
            2: Status.STAGNATED,
            3: Status.MAX_EVALS,
            7: Status.STAGNATED,
            20: Status.MAX_ITER,
            -1: Status.NONFINITE,
            -2: Status.NONFINITE,
            -3: Status.NONFINITE,
        },
        maxiter="unlimited",  # SciPy counts evaluations
        feasibility_option="catol",
        drops_narrow=True,
    ),
    Method(
        spec=SPECS["cobyqa"],
        endings={
            0: Status.X_TOL,
            1: Status.F_TOL,  # f_target was reached
            5: Status.MAX_EVALS,
            6: Status.MAX_EVALS,  # what SciPy says when the first model takes them all
            -1: Status.CONSTRAINTS_VIOLATED,
            -2: Status.STAGNATED,
        },
        maxiter="unlimited",  # SciPy counts iterations without a better point
        evals_option="maxfev",
        tol_options=("final_tr_radius",),
        feasibility_option="feasibility_tol",
        models_first=True,
        drops_narrow=True,
    ),
)

METHODS: Final[dict[str, Method]] = {method.spec.name: method for method in _METHODS}
"""The methods by SciPy's name in lower case."""
