"""Damped least-squares steps: the parameter that makes them as long as a trust region.

Symbols: ``g`` gradient (n,), ``J`` Jacobian (m, n), ``R`` its triangular factor (n, n) and
``z`` the residuals in its basis (n,), ``p`` step (n,), all of them in scaled parameters;
float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from kormos_core.loop import ops

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Damped", "DampedModel", "by_cholesky", "by_triangle", "damped_step"]

_EPSILON: Final = float(np.finfo(np.float64).eps)
# What rounding leaves of a column that depends on others, in parts of its length: of the
# Jacobian's entries, and of the factorization, where the condition of those others enters.
_ENTRIES: Final = 2.0  # times the Jacobian's epsilon
_FACTORS: Final = 1e3 * _EPSILON
_SMALLEST: Final = 1e-300  # damping whose root is a number
_FIT: Final = 0.1  # of the radius, that a step's length may be off
_TRIES: Final = 12


class DampedModel(NamedTuple):
    """A linear model of the residuals, and how its damped steps are found.

    Attributes
    ----------
    g : tensor, shape (n,)
        The gradient ``J' r``.
    solve : callable
        From the damping ``mu`` to ``p`` with ``(J' J + mu I) p = -g``, and to the square of the
        norm of ``w`` with ``w' w = p' (J' J + mu I)^-1 p``.
    bend : callable
        From ``p`` to ``||J p||**2``.
    least : tensor, scalar
        The damping below which the equation may be singular to rounding.
    """

    g: Any
    solve: Callable[[Any], tuple[Any, Any]]
    bend: Callable[[Any], Any]
    least: Any


class Damped(NamedTuple):
    """A damped step.

    Attributes
    ----------
    step : tensor, shape (n,)
        The step ``p``.
    damping : tensor, scalar
        Its damping; 0 for the step of Gauss and Newton.
    """

    step: Any
    damping: Any


def by_triangle(factor: Any, z: Any, epsilon: float = _EPSILON) -> DampedModel:
    """Return the model of a triangular factor; each step is a QR factorization.

    Parameters
    ----------
    factor : tensor, shape (n, n)
        ``R``, upper triangular, or its columns scaled.
    z : tensor, shape (n,)
        ``R' z == J' r``.
    epsilon : float
        Relative rounding error of the Jacobian.

    Returns
    -------
    DampedModel
        The model. Nothing in it is squared.

    Notes
    -----
    Where columns depend on those before them, ``R`` has rounding errors in place of zeros, and
    a step that is hardly damped would go as far as these let it. Such columns are brought to
    the end, and the zeros put in.
    """
    n = z.shape[0]
    errors = max(_ENTRIES * epsilon, _FACTORS) * lengths_of(factor)
    last = ops.diagonal(_tails(factor)) <= errors
    order = ops.argsort(ops.cast(last, "int32"))
    errors, place = ops.take(errors, order), ops.argsort(order)
    both = ops.concatenate([ops.take(factor, order, axis=1), ops.expand_dims(z, 1)], axis=1)
    both = ops.qr(both)[1]
    ordered = ops.where(_tails(both[:, :n]) <= errors, 0.0, both[:, :n])
    right = ops.where(ops.any(ordered != 0.0, axis=1), -both[:, n], 0.0)
    upper = ops.concatenate([ordered, ops.expand_dims(right, 1)], axis=1)
    identity, zeros = ops.eye(n, dtype="float64"), ops.zeros((n, 1), "float64")

    def solve(damping: Any) -> tuple[Any, Any]:
        lower = ops.concatenate([ops.sqrt(damping) * identity, zeros], axis=1)
        both = ops.qr(ops.concatenate([upper, lower], axis=0))[1]
        triangle = both[:n, :n]
        p = ops.solve_triangular(triangle, both[:n, n:])
        w = ops.solve_triangular(ops.transpose(triangle), p, lower=True)
        return ops.take(p[:, 0], place), ops.sum(ops.square(w))

    def bend(p: Any) -> Any:
        return ops.sum(ops.square(ops.matmul(ordered, ops.take(p, order))))

    size = ops.sum(ops.square(ordered))
    g = ops.matmul(ops.transpose(factor), z)
    return DampedModel(g, solve, bend, ops.maximum((n * _EPSILON) ** 2 * size, _SMALLEST))


def by_cholesky(gram: Any, g: Any) -> DampedModel:
    """Return the model of the normal equations; each step is a Cholesky factorization.

    Parameters
    ----------
    gram : tensor, shape (n, n)
        ``J' J``.
    g : tensor, shape (n,)
        The gradient.

    Returns
    -------
    DampedModel
        The model. Its least damping is one with which the factorization succeeds.

    References
    ----------
    N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM, 2002,
    theorem 10.7, doi:10.1137/1.9780898718027.
    """
    n = g.shape[0]
    identity = ops.eye(n, dtype="float64")

    def solve(damping: Any) -> tuple[Any, Any]:
        lower = ops.cholesky(gram + damping * identity)
        half = ops.solve_triangular(lower, ops.expand_dims(-g, 1), lower=True)
        p = ops.solve_triangular(ops.transpose(lower), half)
        w = ops.solve_triangular(lower, p, lower=True)
        return p[:, 0], ops.sum(ops.square(w))

    def bend(p: Any) -> Any:
        return ops.vdot(p, ops.matmul(gram, p))

    largest = ops.max(ops.diagonal(gram))
    return DampedModel(g, solve, bend, ops.maximum(8.0 * n * _EPSILON * largest, _SMALLEST))


def damped_step(model: DampedModel, radius: Any, guess: Any) -> Damped:
    """Return the step whose length is that of a trust region, or a shorter one undamped.

    Parameters
    ----------
    model : DampedModel
        The linear model.
    radius : tensor, scalar, float64
        Length of the step, to 10 %.
    guess : tensor, scalar, float64
        Damping to begin with, where 0 is not enough; that of the last step.

    Returns
    -------
    Damped
        The step.

    Notes
    -----
    Cost: a factorization for each damping that is tried, of which at most 12. Some two are
    enough as a rule. The first one tried is the least that the model allows, and counts as 0.

    References
    ----------
    J. J. Moré, "The Levenberg-Marquardt Algorithm: Implementation and Theory", in
    "Numerical Analysis", LNM 630, Springer, 1978, algorithm 5.5, doi:10.1007/BFb0067700.
    M. D. Hebden, "An Algorithm for Minimization Using Exact Second Derivatives", AERE
    Harwell report TP 515, 1973.
    """
    slope_at_0 = ops.sqrt(ops.vdot(model.g, model.g))
    zero = ops.zeros_like(slope_at_0)
    start = _Refinement(
        number=ops.cast(zero, "int32"),
        damping=model.least,
        low=zero,
        high=ops.maximum(slope_at_0 / radius, model.least),
        p=ops.zeros_like(model.g),
        used=zero,
        fits=zero > 0.0,
    )

    def goes_on(*loop: Any) -> Any:
        at = _Refinement(*loop)
        return ops.logical_and(at.number < _TRIES, ops.logical_not(at.fits))

    def refine(*loop: Any) -> tuple[Any, ...]:
        at = _Refinement(*loop)
        p, square = model.solve(at.damping)
        return tuple(_refined(at, p, square, radius, guess))

    ended = _Refinement(*ops.while_loop(goes_on, refine, tuple(start)))
    return Damped(ended.p, ended.used)


def lengths_of(matrix: Any) -> Any:
    """Return the Euclidean length of each column of a matrix.

    Parameters
    ----------
    matrix : tensor, shape (m, n)
        The matrix.

    Returns
    -------
    tensor, shape (n,)
        The lengths.
    """
    return ops.sqrt(ops.sum(ops.square(matrix), axis=0))


def _tails(factor: Any) -> Any:
    """Return for each entry the length of its column from there down."""
    squares = ops.flip(ops.square(factor), axis=0)
    return ops.sqrt(ops.flip(ops.cumsum(squares, axis=0), axis=0))


class _Refinement(NamedTuple):
    """Where the search for a damping is: between `low` and `high`."""

    number: Any  # of dampings tried
    damping: Any  # to try next
    low: Any
    high: Any
    p: Any  # the last step
    used: Any  # its damping, 0 for the least
    fits: Any


def _refined(at: _Refinement, p: Any, square: Any, radius: Any, guess: Any) -> _Refinement:
    """Return the search after a step."""
    length = ops.sqrt(ops.vdot(p, p))
    finite = ops.isfinite(length)
    length = ops.where(finite, length, 0.0)
    excess = length - radius
    first = at.number == 0
    short = ops.logical_and(first, excess < 0.0)
    fits = ops.logical_or(short, ops.abs(excess) <= _FIT * radius)
    slope = -square / ops.where(length > 0.0, length, 1.0)
    newton = excess / ops.where(slope < 0.0, slope, -1.0)
    # the length is convex in the damping: Newton's own point is never too large
    low = ops.maximum(at.low, ops.where(finite, at.damping - newton, at.damping))
    beyond = ops.logical_and(finite, excess < 0.0)
    high = ops.where(beyond, ops.minimum(at.high, at.damping), at.high)
    following = at.damping - newton * (length / radius)
    following = ops.where(ops.logical_and(first, guess > 0.0), guess, following)
    inside = ops.logical_and(following > low, following < high)
    middle = ops.maximum(1e-3 * high, ops.sqrt(low * high))
    return _Refinement(
        number=at.number + 1,
        damping=ops.where(inside, following, middle),
        low=low,
        high=high,
        p=p,
        used=ops.where(first, 0.0, at.damping),
        fits=ops.logical_and(finite, fits),
    )
