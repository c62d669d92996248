"""The residuals' linear model at a point, and the steps that it proposes.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``r`` residuals (m,), ``J``
their Jacobian (m, n), ``D`` scale of each parameter (n,), ``s`` step (n,), ``p`` step times
``D`` (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kormos_core.loop import RUNNING, code_of, ops
from kormos_core.result import Status
from kormos_native.damping import by_cholesky, by_triangle, damped_step, lengths_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import GraphObjective

__all__ = [
    "CG",
    "CHOLESKY",
    "QR",
    "SOLVERS",
    "Linearized",
    "Step",
    "choose_solver",
    "code_at",
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


class Step(NamedTuple):
    """A step that a linear model proposes.

    Attributes
    ----------
    s : tensor, shape (n,)
        The step.
    length : tensor, scalar
        Its length in scaled parameters, ``||D s||``.
    damping : tensor, scalar
        0 where it is that of Gauss and Newton, else above.
    promised : tensor, scalar
        What the model falls by.
    """

    s: Any
    length: Any
    damping: Any
    promised: Any


class Linearized(NamedTuple):
    """The residuals' linear model at a point.

    Attributes
    ----------
    f : tensor, scalar
        The loss.
    g : tensor, shape (n,)
        The gradient.
    scale : tensor, shape (n,)
        ``D``: the largest norms of the Jacobian's columns so far. A parameter that never
        mattered has 0, and no step.
    cosine : tensor, scalar
        Largest cosine of the angle between the residuals and a column.
    num_products : tensor, scalar, int32
        Products that were made.
    within : callable
        From the radius of a trust region and a damping to begin with to a `Step`.
    undamped : callable
        Gives the `Step` of Gauss and Newton.
    """

    f: Any
    g: Any
    scale: Any
    cosine: Any
    num_products: Any
    within: Callable[[Any, Any], Step]
    undamped: Callable[[], Step]


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
        columns = lengths_of(matrix)
    else:
        columns = ops.sqrt(ops.maximum(ops.diagonal(matrix), 0.0))
    scale = ops.maximum(scale, columns)
    unit = ops.where(scale > 0.0, scale, 1.0)
    if solver == QR:
        rotated = ops.where(finite, squares.rotated, 0.0)
        model = by_triangle(matrix / unit, rotated, graph.epsilon)
    else:
        slope = ops.where(finite, g, 0.0) / unit
        model = by_cholesky(matrix / (unit * ops.expand_dims(unit, 1)), slope)

    def step(p: Any, damping: Any) -> Step:
        s = p / unit
        promised = -ops.vdot(g, s) - 0.5 * model.bend(p)
        return Step(s, ops.sqrt(ops.vdot(p, p)), damping, promised)

    size = columns * ops.sqrt(2.0 * squares.loss)
    return Linearized(
        f=squares.loss,
        g=g,
        scale=scale,
        cosine=ops.max(ops.abs(g) / ops.where(size > 0.0, size, 1.0)),
        num_products=0,
        within=lambda radius, guess: step(*damped_step(model, radius, guess)),
        undamped=lambda: step(model.solve(model.least)[0], 0.0),
    )


def code_at(at: Linearized, f: Any, gtol: float, *, spent: Any) -> Any:
    """Return the code of the reason to end before a step.

    Parameters
    ----------
    at : Linearized
        The model at the point.
    f : tensor, scalar
        The loss there.
    gtol : float
        Largest cosine of the angle between the residuals and a column of their Jacobian.
    spent : tensor, scalar, bool
        Whether there is no evaluation left for a trial.

    Returns
    -------
    tensor, scalar, int32
        The code, or `RUNNING`.
    """
    code = ops.where(spent, code_of(Status.MAX_EVALS), RUNNING)
    met = ops.logical_or(at.cosine <= gtol, f == 0.0)
    code = ops.where(met, code_of(Status.GRAD_TOL), code)
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
