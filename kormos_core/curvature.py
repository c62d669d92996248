"""Hessian-vector products that are checked before they are believed.

Automatic second derivatives are wrong or missing for some layers: TensorFlow stops the
gradient through the mean of `tf.nn.moments`, so products through normalization layers
are off by 5 to 60 %, and forward-over-reverse does not exist through recurrent kernels.
So before the first product of every solve the kind is tried along a direction that
leaves no parameter out, and compared with a difference of two gradients; where it fails
or disagrees, the next kind is taken. Finite differences of the gradient come last and
need no check. As a wrong product may be right by chance at one point (behind weights
that are all zero, say), the check is made again at the second point of a solve, the
fourth, the eighth and so on.

Symbols: ``x`` parameters (n,), ``g`` gradient (n,), ``v`` direction (n,), ``hv`` product.

References
----------
Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994),
doi:10.1162/neco.1994.6.1.147. Nocedal and Wright, "Numerical Optimization", 2nd ed.
(2006), section 8.1 for the step of a central difference.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from kormos_core.errors import CurvatureWarning, KormosError, UnsupportedError
from kormos_core.protocols import StopSolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Gradient = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Product = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

__all__ = [
    "AUTO",
    "FINITE_DIFFERENCE",
    "GAUSS_NEWTON",
    "HESSIAN_LIMIT",
    "STEPS",
    "CheckedHVP",
    "Kinds",
    "dense_hessian",
    "displacement",
    "generic_direction",
    "gradient_difference",
]

AUTO: Final = "auto"
FINITE_DIFFERENCE: Final = "finite-difference"
GAUSS_NEWTON: Final = "gauss-newton"

HESSIAN_LIMIT: Final = 2000
"""Most parameters for which a dense Hessian is built: n products and n² numbers."""

_TOLERANCE = {"float64": 1e-4, "float32": 0.01}  # relative; the known faults are of order 0.1
STEPS = {"float64": 1e-6, "float32": 5e-3}
"""Displacements of a difference, relative to ``max(1, |x|)``."""

_NOISE = {"float64": 1e-14, "float32": 1e-6}  # of a gradient, relative, after summation


def gradient_difference(
    gradient: Gradient, x: NDArray[np.float64], v: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Approximate ``H(x) v`` by a central difference of the gradient.

    Parameters
    ----------
    gradient : callable
        Gives the gradient, shape (n,), at a point of shape (n,).
    x, v : ndarray, shape (n,), float64
        Point and direction.
    step : float
        Length of the displacement to either side, relative to ``max(1, |x|)``.

    Returns
    -------
    ndarray, shape (n,), float64
        The product, with an error of order ``step**2``; costs two gradients.
    """
    if not np.any(v):
        return np.zeros_like(v)
    h = displacement(x, v, step)
    return (gradient(x + h * v) - gradient(x - h * v)) / (2.0 * h)


def displacement(x: NDArray[np.float64], v: NDArray[np.float64], step: float) -> float:
    """Return how far to go along `v` from `x` for a difference.

    Parameters
    ----------
    x, v : ndarray, shape (n,), float64
        Point and direction, which is not zero.
    step : float
        Length of the displacement, relative to ``max(1, |x|)``.

    Returns
    -------
    float
        The multiple of `v`.
    """
    return step * max(1.0, float(np.linalg.norm(x))) / float(np.linalg.norm(v))


def generic_direction(size: int) -> NDArray[np.float64]:
    """Return a fixed direction that leaves no parameter out.

    Parameters
    ----------
    size : int
        Number of parameters n.

    Returns
    -------
    ndarray, shape (n,), float64
        The direction, the same at every call.
    """
    return np.random.default_rng(0).normal(size=size)


def dense_hessian(
    hvp: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    x: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Build the Hessian from n products, one for each unit vector.

    Parameters
    ----------
    hvp : callable
        Product of ``(x, v)``.
    x : ndarray, shape (n,), float64
        The point.

    Returns
    -------
    ndarray, shape (n, n), float64
        The Hessian, made exactly symmetric.

    Raises
    ------
    UnsupportedError
        If n is above `HESSIAN_LIMIT`.
    """
    if x.size > HESSIAN_LIMIT:
        message = (
            f"a dense Hessian for {x.size:,} parameters would cost as many products and n² "
            f"numbers. Allowed are {HESSIAN_LIMIT:,} parameters. Use a solver that takes "
            "Hessian products: scipy:newton-cg, scipy:trust-ncg, scipy:trust-krylov."
        )
        raise UnsupportedError(message)
    hessian = np.stack([hvp(x, unit) for unit in np.eye(x.size)])
    return 0.5 * (hessian + hessian.T)


@final
@dataclass(frozen=True, slots=True)
class Kinds:
    """Kinds of products in the order to try them, finite differences last.

    Attributes
    ----------
    order : tuple of str
        Their names; the first is the one asked for.
    inexact : frozenset of str
        Those among them that approximate the Hessian on purpose.
    """

    order: tuple[str, ...]
    inexact: frozenset[str] = frozenset()

    def after(self, kind: str) -> tuple[str, ...]:
        """Return `kind` and those that follow it."""
        return self.order[self.order.index(kind) :]

    def is_exact(self, kind: str) -> bool:
        """Tell whether a `kind` is the Hessian's own product."""
        return kind not in self.inexact


@final
class CheckedHVP:
    """Product of the Hessian by the first kind that passes the check (`HVP`).

    Parameters
    ----------
    product : callable
        Gives the product of ``(x, v)`` for a kind; finite differences are made here.
    gradient : callable
        The gradient, shape (n,), at a point of shape (n,).
    gauss_newton : callable
        The Gauss-Newton product of ``(x, v, step)`` whose Jacobian is a difference, which
        the product of that kind is compared with; None where there is no such kind.
    kinds : Kinds
        The kinds to try.
    dtype : str
        Dtype that the model computes in, which sets the differences' steps.
    unusable : dict of str to str
        Kinds that are known to fail, with the reason; it is kept up to date.
    """

    def __init__(
        self,
        product: Callable[[str], Product],
        gradient: Gradient,
        *,
        gauss_newton: Callable[..., NDArray[np.float64]] | None = None,
        kinds: Kinds,
        dtype: str,
        unusable: dict[str, str],
    ) -> None:
        precision = "float64" if dtype == "float64" else "float32"
        self.step = STEPS[precision]
        self._noise = _NOISE[precision]
        self._tolerance = _TOLERANCE[precision]
        self._gradient = gradient
        self._gauss_newton = gauss_newton
        self._make = product
        self._kinds = kinds
        self._unusable = unusable
        self._wrong: set[str] = set()
        self._chosen: str | None = None
        self._point: NDArray[np.float64] | None = None
        self._num_points = 0
        self._checked = False

    @property
    def kind(self) -> str | None:
        """Kind in use; None before the first product."""
        return self._chosen

    @property
    def current(self) -> str:
        """Kind in use, or the one that would be tried first."""
        return self._chosen or self._kinds.order[0]

    def __call__(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``H(x) v``, shape (n,), float64."""
        if not np.any(v):
            return np.zeros_like(v)
        if self.is_due(x):
            self._check(x)
        return self._multiply(self.current, x, v)

    def choose(self, x: NDArray[np.float64]) -> str:
        """Check products at ``x``, shape (n,), now, and return the kind to use there.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Returns
        -------
        str
            The kind.
        """
        if self._chosen != FINITE_DIFFERENCE:
            self._check(x)
        return self.current

    def is_due(self, x: NDArray[np.float64]) -> bool:
        """Tell whether the next product, at ``x`` of shape (n,), will be checked.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point.

        Returns
        -------
        bool
            Whether `x` is the first, second, fourth, eighth ... point and is not
            checked yet.
        """
        if self._point is None or not np.array_equal(x, self._point):
            self._point = np.array(x)
            self._num_points += 1
            self._checked = self._num_points & (self._num_points - 1) != 0
        return not self._checked and self._chosen != FINITE_DIFFERENCE

    def _multiply(
        self, kind: str, x: NDArray[np.float64], v: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if kind == FINITE_DIFFERENCE:
            return gradient_difference(self._gradient, x, v, self.step)
        return self._make(kind)(x, v)

    def _reference(
        self, kind: str, x: NDArray[np.float64], v: NDArray[np.float64], step: float
    ) -> NDArray[np.float64]:
        """Return the product of a kind by differences."""
        if kind != GAUSS_NEWTON or self._gauss_newton is None:
            return gradient_difference(self._gradient, x, v, step)
        return self._gauss_newton(x, v, displacement(x, v, step))

    def _check(self, x: NDArray[np.float64]) -> None:
        """Choose the first kind whose product agrees with a difference.

        It is compared along a direction that leaves no parameter out, and not along the
        solver's own: that one is the gradient at first, along which faults of
        normalization layers all but vanish.
        """
        direction = generic_direction(x.size)
        reasons: dict[str, str] = {}
        differences: dict[bool, NDArray[np.float64]] = {}
        for kind in self._kinds.after(self.current):
            if kind == FINITE_DIFFERENCE:
                break
            hv = self._try(kind, x, direction, reasons)
            if hv is None:
                continue
            if not self._kinds.is_exact(kind) and kind != GAUSS_NEWTON:
                break  # nothing is known that it should agree with
            exact = self._kinds.is_exact(kind)
            if exact not in differences:
                differences[exact] = self._reference(kind, x, direction, self.step)
            difference = differences[exact]
            if not np.isfinite(difference).all():
                return  # nothing can be told; the solver will see to that
            if self._agrees(kind, hv, difference, x, direction):
                break
            self._wrong.add(kind)
            reasons[kind] = "it disagrees with differences of the gradient"
        self._checked = True
        self._chosen = kind
        if reasons:
            self._tell(reasons)

    def _try(
        self,
        kind: str,
        x: NDArray[np.float64],
        v: NDArray[np.float64],
        reasons: dict[str, str],
    ) -> NDArray[np.float64] | None:
        if kind in self._unusable or kind in self._wrong:
            return None
        try:
            return self._make(kind)(x, v)
        except (StopSolve, KormosError):
            raise
        except Exception as error:  # noqa: BLE001 - a backend fails here in many ways
            first_line = str(error).strip().partition("\n")[0]
            reasons[kind] = self._unusable[kind] = f"{type(error).__name__}: {first_line:.200}"
            return None

    def _agrees(
        self,
        kind: str,
        hv: NDArray[np.float64],
        difference: NDArray[np.float64],
        x: NDArray[np.float64],
        v: NDArray[np.float64],
    ) -> bool:
        error = float(np.linalg.norm(hv - difference))
        scale = max(float(np.linalg.norm(hv)), float(np.linalg.norm(difference)))
        if error <= self._tolerance * scale:
            return True
        noise = self._noise * float(np.linalg.norm(self._gradient(x)))
        noise /= displacement(x, v, self.step)
        if error <= self._tolerance * scale + noise:
            return True
        # Kinks (ReLU, max) make the difference itself depend on its step: then it
        # cannot convict a product that lies within its own uncertainty.
        halved = self._reference(kind, x, v, 0.5 * self.step)
        return error <= 2.0 * float(np.linalg.norm(difference - halved)) + noise

    def _tell(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
        message = (
            f"Hessian products by {told}. Taken instead: {self._chosen}"
            + (", at two gradients a product." if self._chosen == FINITE_DIFFERENCE else ".")
            + f" Pass hvp={self._chosen!r} to skip the check of the others."
        )
        warnings.warn(message, CurvatureWarning, stacklevel=2)
