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
from typing import TYPE_CHECKING, final

import numpy as np

from kormos_core.errors import CurvatureWarning, KormosError, UnsupportedError, nearest
from kormos_core.protocols import StopSolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Gradient = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Product = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

__all__ = [
    "FINITE_DIFFERENCE",
    "HVP_KINDS",
    "CheckedHVP",
    "check_kind",
    "generic_direction",
    "gradient_difference",
]

FINITE_DIFFERENCE = "finite-difference"
HVP_KINDS = ("forward-over-reverse", "reverse-over-reverse", FINITE_DIFFERENCE)
"""Kinds of products, in the order in which they are tried."""

_TOLERANCE = {"float64": 1e-4, "float32": 0.01}  # relative; the known faults are of order 0.1
_STEPS = {"float64": 1e-6, "float32": 5e-3}
_NOISE = {"float64": 1e-14, "float32": 1e-6}  # of a gradient, relative, after summation


def check_kind(kind: str) -> None:
    """Refuse a kind of Hessian product that there is not.

    Parameters
    ----------
    kind : str
        One of `HVP_KINDS`.

    Raises
    ------
    UnsupportedError
        If it is none of them.
    """
    if kind not in HVP_KINDS:
        message = (
            f"unknown kind of Hessian product: hvp={kind!r}.{nearest(kind, HVP_KINDS)} "
            f"Allowed: {', '.join(HVP_KINDS)}."
        )
        raise UnsupportedError(message)


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
    length = float(np.linalg.norm(v))
    if length == 0.0:
        return np.zeros_like(v)
    h = step * max(1.0, float(np.linalg.norm(x))) / length
    return (gradient(x + h * v) - gradient(x - h * v)) / (2.0 * h)


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


@final
class CheckedHVP:
    """Product of the Hessian by the first kind that passes the check (`HVP`).

    Parameters
    ----------
    products : mapping of str to callable
        Products of ``(x, v)`` by kind; finite differences are added here.
    gradient : callable
        The gradient, shape (n,), at a point of shape (n,).
    kind : str
        Kind to start with, one of `HVP_KINDS`.
    dtype : str
        Dtype that the model computes in, which sets the differences' steps.
    unusable : dict of str to str
        Kinds that are known to fail, with the reason; it is kept up to date.

    Raises
    ------
    UnsupportedError
        If the kind is unknown.
    """

    def __init__(
        self,
        products: dict[str, Product],
        gradient: Gradient,
        *,
        kind: str,
        dtype: str,
        unusable: dict[str, str],
    ) -> None:
        check_kind(kind)
        precision = "float64" if dtype == "float64" else "float32"
        self._step = _STEPS[precision]
        self._noise = _NOISE[precision]
        self._tolerance = _TOLERANCE[precision]
        self._gradient = gradient
        self._products = products | {FINITE_DIFFERENCE: self._difference}
        self._requested = kind
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

    def __call__(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``H(x) v``, shape (n,), float64."""
        if not np.any(v):
            return np.zeros_like(v)
        if self.is_due(x):
            return self._check(x, v)
        return self._products[self._chosen or self._requested](x, v)

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

    def _difference(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        return gradient_difference(self._gradient, x, v, self._step)

    def _check(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Choose the first kind whose product agrees with a difference.

        It is compared along a direction that leaves no parameter out, and not along the
        solver's own: that one is the gradient at first, along which faults of
        normalization layers all but vanish.
        """
        current = self._chosen or self._requested
        if current == FINITE_DIFFERENCE:
            self._chosen = current
            return self._difference(x, v)
        direction = generic_direction(x.size)
        difference = self._difference(x, direction)
        if not np.isfinite(difference).all():
            # Without finite gradients nothing can be told; the solver will see to that.
            return self._difference(x, v)
        self._checked = True
        reasons: dict[str, str] = {}
        for kind in (current, *(k for k in HVP_KINDS if k != current)):
            if kind == FINITE_DIFFERENCE:
                break
            hv = self._try(kind, x, direction, reasons)
            if hv is None:
                continue
            if self._agrees(hv, difference, x, direction):
                break
            self._wrong.add(kind)
            reasons[kind] = "it disagrees with differences of the gradient"
        self._chosen = kind
        if reasons:
            self._tell(reasons)
        return self._products[kind](x, v)

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
            return self._products[kind](x, v)
        except (StopSolve, KormosError):
            raise
        except Exception as error:  # noqa: BLE001 - a backend fails here in many ways
            first_line = str(error).strip().partition("\n")[0]
            reasons[kind] = self._unusable[kind] = f"{type(error).__name__}: {first_line:.200}"
            return None

    def _agrees(
        self,
        hv: NDArray[np.float64],
        difference: NDArray[np.float64],
        x: NDArray[np.float64],
        v: NDArray[np.float64],
    ) -> bool:
        error = float(np.linalg.norm(hv - difference))
        scale = max(float(np.linalg.norm(hv)), float(np.linalg.norm(difference)))
        if error <= self._tolerance * scale:
            return True
        displacement = self._step * max(1.0, float(np.linalg.norm(x)))
        noise = self._noise * float(np.linalg.norm(self._gradient(x)))
        noise *= float(np.linalg.norm(v)) / displacement
        if error <= self._tolerance * scale + noise:
            return True
        # Kinks (ReLU, max) make the difference itself depend on its step: then it
        # cannot convict a product that lies within its own uncertainty.
        halved = gradient_difference(self._gradient, x, v, 0.5 * self._step)
        return error <= 2.0 * float(np.linalg.norm(difference - halved)) + noise

    def _tell(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
        message = (
            f"Hessian products by {told}. Taken instead: {self._chosen}"
            + (", at two gradients a product." if self._chosen == FINITE_DIFFERENCE else ".")
            + f" Pass hvp={self._chosen!r} to skip the check of the others."
        )
        warnings.warn(message, CurvatureWarning, stacklevel=2)
