"""The norm that each method holds against its tolerance of the gradient.

Symbols: ``z`` free parameters (m,), ``g`` gradient (m,); all float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "GradientNorm",
    "Measurement",
    "coleman_li_norm",
    "gradient_norm",
    "largest_cosine",
    "projected_gradient",
    "projected_gradient_max_norm",
    "projected_max_norm",
    "scaled_projected_norm",
]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """Where a solve ended, for free parameters.

    Attributes
    ----------
    z, g : ndarray, shape (m,), float64
        The parameters and the gradient, evaluated by kormos.
    z0 : ndarray, shape (m,), float64
        The start.
    box : tuple of two ndarrays, shapes (m,), or None
        The bounds.
    options : mapping of str to object
        The solver's options and general tolerance.
    raw : scipy.optimize.OptimizeResult or None
        What SciPy returned; it has the Jacobian of a sum of squares.
    """

    z: NDArray[np.float64]
    g: NDArray[np.float64]
    z0: NDArray[np.float64]
    box: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    options: Mapping[str, Any]
    raw: Any = None


GradientNorm: TypeAlias = Callable[[Measurement], tuple[float, float]]
"""From a measurement to a norm and the tolerance it is held against."""


def gradient_norm(end: Measurement) -> tuple[float, float]:
    """Measure the gradient in the norm of the option ``norm``, by default Euclidean.

    Parameters
    ----------
    end : Measurement
        Where the solve ended.

    Returns
    -------
    tuple of two floats
        The norm, and the tolerance ``gtol``.
    """
    order = end.options.get("norm", 2)
    return float(np.linalg.norm(end.g, ord=order)), float(end.options["gtol"])


def projected_gradient(end: Measurement) -> NDArray[np.float64]:
    """Leave out of the gradient what points out of the box.

    Parameters
    ----------
    end : Measurement
        Where the solve ended.

    Returns
    -------
    ndarray, shape (m,), float64
        The gradient, 0 where a bound holds the parameter.
    """
    if end.box is None:
        return end.g
    lower, upper = end.box
    held = ((end.z <= lower) & (end.g > 0)) | ((end.z >= upper) & (end.g < 0))
    return np.where(held, 0.0, end.g)


def projected_max_norm(end: Measurement) -> tuple[float, float]:
    """Measure as L-BFGS-B does: the largest component of ``z - P(z - g)``.

    Parameters
    ----------
    end : Measurement
        Where the solve ended.

    Returns
    -------
    tuple of two floats
        The norm, and the tolerance ``gtol``.
    """
    step = end.g
    if end.box is not None:
        lower, upper = end.box
        step = np.clip(end.g, end.z - upper, end.z - lower)
    return float(np.abs(step).max()), float(end.options["gtol"])


def scaled_projected_norm(end: Measurement) -> tuple[float, float]:
    """Measure as TNC does: Euclidean, in scaled parameters, projected.

    Parameters
    ----------
    end : Measurement
        Where the solve ended.

    Returns
    -------
    tuple of two floats
        The norm, and the tolerance, which SciPy derives from others where it is negative.
    """
    options = end.options
    gtol, accuracy = float(options["gtol"]), float(options["accuracy"])
    if gtol < 0:
        eps = float(np.finfo(np.float64).eps)
        gtol = 1e-2 * (accuracy if accuracy > eps else eps**0.5) ** 0.5
    norm = np.linalg.norm(_tnc_scale(end) * projected_gradient(end))
    return float(norm), gtol


def coleman_li_norm(end: Measurement) -> tuple[float, float]:
    """Measure as the trust-region reflective method does, by the distance to bounds.

    Parameters
    ----------
    end : Measurement
        Where the solve ended.

    Returns
    -------
    tuple of two floats
        The largest component of the gradient, each times its distance to the bound that
        holds it back, where there is one; and the tolerance ``gtol``, 0 where it is None.
    """
    distance = np.ones_like(end.z)
    if end.box is not None:
        lower, upper = end.box
        down = (end.g > 0) & np.isfinite(lower)
        up = (end.g < 0) & np.isfinite(upper)
        distance[down] = (end.z - lower)[down]
        distance[up] = (upper - end.z)[up]
    return float(np.abs(distance * end.g).max()), _gtol(end)


def projected_gradient_max_norm(end: Measurement) -> tuple[float, float]:
    """Measure as the rectangular trust region does: components that no bound holds.

    Parameters
    ----------
    end : Measurement
        Where the solve ended.

    Returns
    -------
    tuple of two floats
        The largest component, and the tolerance ``gtol``, 0 where it is None.
    """
    return float(np.abs(projected_gradient(end)).max()), _gtol(end)


def largest_cosine(end: Measurement) -> tuple[float, float]:
    """Measure as MINPACK does: angles between residuals and the Jacobian's columns.

    Parameters
    ----------
    end : Measurement
        Where the solve ended; SciPy returned a dense Jacobian there.

    Returns
    -------
    tuple of two floats
        The largest cosine, 0 of a column or residuals that are 0; and the tolerance
        ``gtol``. Without what SciPy returned there are none: infinity.
    """
    if end.raw is None:
        return np.inf, _gtol(end)
    lengths = np.linalg.norm(end.raw.jac, axis=0) * np.linalg.norm(end.raw.fun)
    lengths[lengths == 0] = np.inf
    return float(np.abs(end.g / lengths).max()), _gtol(end)


def _gtol(end: Measurement) -> float:
    return float(end.options["gtol"] or 0.0)


def _tnc_scale(end: Measurement) -> NDArray[np.float64]:
    if end.options["scale"] is not None:
        return np.abs(np.asarray(end.options["scale"], dtype=np.float64))
    scale = 1.0 + np.abs(end.z0)
    if end.box is None:
        return scale
    lower, upper = end.box
    return np.where(np.isfinite(lower) & np.isfinite(upper), upper - lower, scale)
