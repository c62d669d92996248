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
    "gradient_norm",
    "projected_gradient",
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
    """

    z: NDArray[np.float64]
    g: NDArray[np.float64]
    z0: NDArray[np.float64]
    box: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    options: Mapping[str, Any]


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


def _tnc_scale(end: Measurement) -> NDArray[np.float64]:
    if end.options["scale"] is not None:
        return np.abs(np.asarray(end.options["scale"], dtype=np.float64))
    scale = 1.0 + np.abs(end.z0)
    if end.box is None:
        return scale
    lower, upper = end.box
    return np.where(np.isfinite(lower) & np.isfinite(upper), upper - lower, scale)
