"""The residuals' linear model at a point, in scaled parameters.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``D`` scale of each
parameter (n,), ``p`` step times ``D`` (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keras import ops

from kormos_core.loop import RUNNING, code_of
from kormos_core.result import Status
from kormos_native.damping import by_cholesky, by_triangle

if TYPE_CHECKING:
    from kormos_core.loop import GraphObjective
    from kormos_native.damping import DampedModel

__all__ = [
    "CG",
    "CHOLESKY",
    "QR",
    "SOLVERS",
    "Linearized",
    "choose_solver",
    "gradient_code",
    "linearize",
    "tolerance",
]

QR: Final = "qr"
CHOLESKY: Final = "cholesky"
CG: Final = "cg"
SOLVERS: Final = ("auto", QR, CHOLESKY, CG)
"""How the linear least-squares problem of a step is solved."""

_FEW: Final = 200  # parameters: up to here QR costs little
_MANY: Final = 3000  # up to here a matrix of n x n numbers does


class Linearized(NamedTuple):
    """The residuals' linear model at a point.

    Attributes
    ----------
    f : tensor, scalar
        The loss.
    g : tensor, shape (n,)
        The gradient.
    columns : tensor, shape (n,)
        Norms of the Jacobian's columns.
    scale : tensor, shape (n,)
        ``D``: the largest of those so far, 1 where all were 0.
    model : DampedModel
        In scaled parameters.
    """

    f: Any
    g: Any
    columns: Any
    scale: Any
    model: DampedModel


def choose_solver(asked: str, size: int) -> str:
    """Return how steps are found for so many parameters.

    Parameters
    ----------
    asked : str
        One of `SOLVERS`.
    size : int
        Number of parameters n.

    Returns
    -------
    str
        What was asked for; for ``"auto"`` QR up to 200 parameters, Cholesky up to 3,000,
        and conjugate gradients beyond.
    """
    if asked != "auto":
        return asked
    if size <= _FEW:
        return QR
    return CHOLESKY if size <= _MANY else CG


def linearize(graph: GraphObjective, x: Any, scale: Any, solver: str) -> Linearized:
    """Linearize the residuals.

    Parameters
    ----------
    graph : GraphObjective
        The objective, a sum of squares.
    x : tensor, shape (n,)
        The point.
    scale : tensor, shape (n,)
        The scale of the last point; zeros before the first.
    solver : {"qr", "cholesky"}
        How steps will be found.

    Returns
    -------
    Linearized
        The model; costs one sweep for all rows of the Jacobian.

    Notes
    -----
    The scale is Moré's: it never shrinks, so that the iterates do not depend on the units
    of the parameters.

    References
    ----------
    J. J. Moré, "The Levenberg-Marquardt Algorithm: Implementation and Theory", in
    "Numerical Analysis", LNM 630, Springer, 1978, section 6, doi:10.1007/BFb0067700.
    """
    squares = graph.triangle(x) if solver == QR else graph.normal_equations(x)
    matrix, g = squares.matrix, squares.gradient
    finite = ops.isfinite(ops.sum(matrix) + ops.sum(g))
    # a factorization would raise; the solve ends for the loss or gradient that is not finite
    matrix = ops.where(finite, matrix, ops.eye(x.shape[0], dtype="float64"))
    if solver == QR:
        columns = ops.sqrt(ops.sum(ops.square(matrix), axis=0))
    else:
        columns = ops.sqrt(ops.maximum(ops.diagonal(matrix), 0.0))
    scale = ops.maximum(scale, columns)
    scale = ops.where(scale > 0.0, scale, 1.0)
    if solver == QR:
        model = by_triangle(matrix / scale, ops.where(finite, squares.rotated, 0.0))
    else:
        model = by_cholesky(matrix / (scale * ops.expand_dims(scale, 1)), g / scale)
    return Linearized(squares.loss, g, columns, scale, model)


def gradient_code(at: Linearized, f: Any, gtol: float) -> Any:
    """Return the code of the reason to end before a step.

    Parameters
    ----------
    at : Linearized
        The model at the point.
    f : tensor, scalar
        The loss there.
    gtol : float
        Largest cosine of the angle between the residuals and a column of their Jacobian.

    Returns
    -------
    tensor, scalar, int32
        The code, or `RUNNING`.
    """
    size = at.columns * ops.sqrt(2.0 * ops.abs(f))
    cosine = ops.max(ops.abs(at.g) / ops.where(size > 0.0, size, 1.0))
    met = ops.logical_or(cosine <= gtol, f == 0.0)
    code = ops.where(met, code_of(Status.GRAD_TOL), RUNNING)
    finite = ops.isfinite(f + ops.max(ops.abs(at.g)))
    return ops.cast(ops.where(finite, code, code_of(Status.NONFINITE)), "int32")


def tolerance(options: Any, name: str) -> float:
    """Return a tolerance, or `tol` where it is left at its default.

    Parameters
    ----------
    options : dataclass instance
        The options of a method.
    name : str
        Name of the tolerance.

    Returns
    -------
    float
        The tolerance.
    """
    value: float = getattr(options, name)
    default = type(options).__dataclass_fields__[name].default
    return value if options.tol is None or value != default else options.tol
