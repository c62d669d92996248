"""Damped least-squares steps: the parameter that makes them as long as a trust region.

Symbols: ``g`` gradient (n,), ``J`` Jacobian (m, n), ``R`` its triangular factor (n, n) and
``z`` the residuals in its basis (n,), ``p`` step (n,), all of them in scaled parameters;
float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Damped", "DampedModel", "by_cholesky", "by_triangle", "damped_step"]

_EPSILON: Final = float(np.finfo(np.float64).eps)
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


def by_triangle(factor: Any, z: Any) -> DampedModel:
    """Return the model of a triangular factor; each step is a QR factorization.

    Parameters
    ----------
    factor : tensor, shape (n, n)
        ``R``, upper triangular, or its columns scaled.
    z : tensor, shape (n,)
        ``R' z == J' r``.

    Returns
    -------
    DampedModel
        The model. Nothing in it is squared.
    """
    n = z.shape[0]
    identity = ops.eye(n, dtype="float64")
    zeros = ops.zeros((n, 1), "float64")
    upper = ops.concatenate([factor, ops.expand_dims(-z, 1)], axis=1)

    def solve(damping: Any) -> tuple[Any, Any]:
        lower = ops.concatenate([ops.sqrt(damping) * identity, zeros], axis=1)
        both = ops.qr(ops.concatenate([upper, lower], axis=0))[1]
        triangle, right = both[:n, :n], both[:n, n:]
        p = ops.solve_triangular(triangle, right)
        w = ops.solve_triangular(ops.transpose(triangle), p, lower=True)
        return p[:, 0], ops.sum(ops.square(w))

    def bend(p: Any) -> Any:
        return ops.sum(ops.square(ops.matmul(factor, p)))

    size = ops.sum(ops.square(factor))
    g = ops.matmul(ops.transpose(factor), z)
    return DampedModel(g, solve, bend, ops.maximum((n * _EPSILON) ** 2 * size, 1e-300))


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
    return DampedModel(g, solve, bend, ops.maximum(8.0 * n * _EPSILON * largest, 1e-300))


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

    References
    ----------
    J. J. Moré, "The Levenberg-Marquardt Algorithm: Implementation and Theory", in
    "Numerical Analysis", LNM 630, Springer, 1978, algorithm 5.5, doi:10.1007/BFb0067700.
    M. D. Hebden, "An Algorithm for Minimization Using Exact Second Derivatives", AERE
    Harwell report TP 515, 1973.
    """
    length_of_g = ops.sqrt(ops.vdot(model.g, model.g))
    zero = ops.zeros_like(length_of_g)
    count = ops.cast(zero, "int32")
    start = (
        count,
        model.least,
        zero,
        ops.maximum(length_of_g / radius, model.least),
        ops.zeros_like(model.g),
        zero,
        count > 0,
    )

    def goes_on(number: Any, *rest: Any) -> Any:
        return ops.logical_and(number < _TRIES, ops.logical_not(rest[-1]))

    def refine(
        number: Any, damping: Any, low: Any, high: Any, _p: Any, _found: Any, _done: Any
    ) -> tuple[Any, ...]:
        p, square = model.solve(damping)
        length = ops.sqrt(ops.vdot(p, p))
        excess = length - radius
        first = number == 0
        fits = ops.abs(excess) <= _FIT * radius
        fits = ops.logical_or(fits, ops.logical_and(first, excess <= _FIT * radius))
        fits = ops.logical_or(fits, ops.logical_not(ops.isfinite(length)))
        slope = -square / ops.where(length > 0.0, length, 1.0)
        step = excess / ops.where(slope < 0.0, slope, -1.0)
        # the length is convex in the damping: Newton's own point is never too large
        low = ops.maximum(low, damping - step)
        high = ops.where(excess < 0.0, ops.minimum(high, damping), high)
        following = damping - step * (length / radius)
        guessed = ops.logical_and(first, guess > 0.0)
        following = ops.where(guessed, guess, following)
        inside = ops.logical_and(following > low, following < high)
        middle = ops.maximum(1e-3 * high, ops.sqrt(low * high))
        following = ops.where(inside, following, middle)
        found = ops.where(first, 0.0, damping)
        return number + 1, ops.where(fits, damping, following), low, high, p, found, fits

    ended = ops.while_loop(goes_on, refine, start)
    return Damped(ended[4], ended[5])
