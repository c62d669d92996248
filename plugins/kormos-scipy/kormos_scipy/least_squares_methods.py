"""What there is to know of each method for least squares beyond its `SolverSpec`, as data.

How SciPy counts, calls and ends was read from SciPy 1.17 and is held by the tests: each
method asks for the Jacobian exactly at accepted iterates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kormos_core import Status
from kormos_scipy.gradient_tests import (
    coleman_li_norm,
    largest_cosine,
    projected_gradient_max_norm,
)
from kormos_scipy.least_squares_specs import LEAST_SQUARES
from kormos_scipy.methods import Method

if TYPE_CHECKING:
    from kormos_scipy.gradient_tests import GradientNorm

__all__ = ["LEAST_SQUARES_METHODS"]

_ENDINGS: Final = {
    0: Status.MAX_EVALS,
    1: Status.GRAD_TOL,
    2: Status.F_TOL,
    3: Status.X_TOL,
    4: Status.F_TOL,  # and of the step as well
}


def _method(name: str, norm: GradientNorm) -> Method:
    return Method(
        spec=LEAST_SQUARES[name],
        endings=_ENDINGS,
        maxiter="absent",
        evals_option="max_nfev",
        tol_options=("ftol", "xtol", "gtol"),
        gradient_norm=norm,
        accepts_at_gradient=True,
        drops_narrow=True,
        rejects_steps=True,
    )


LEAST_SQUARES_METHODS: Final[dict[str, Method]] = {
    method.spec.name: method
    for method in (
        _method("least-squares-trf", coleman_li_norm),
        _method("least-squares-dogbox", projected_gradient_max_norm),
        _method("least-squares-lm", largest_cosine),
    )
}
"""The methods by their names here."""
