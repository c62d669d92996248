"""The precision that a model works in."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

import keras

from kormos_core.errors import PrecisionWarning
from kormos_core.objective.layers import compute_dtypes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "float_dtype",
    "floatx_scope",
    "narrowest_dtype",
    "warn_of_half",
    "warn_of_tolerances",
]

_HALF = {"float16": 3, "bfloat16": 2}  # digits
_SINGLE_EPSILON = 1.1920928955078125e-07
_OF_GRADIENTS = ("tol", "gtol", "tolerance")  # what the installed solvers call them


def float_dtype(model: keras.Model) -> str:
    """Return the dtype that floating data and losses take for a model.

    Parameters
    ----------
    model : keras.Model
        The model, built or not.

    Returns
    -------
    str
        ``"float64"`` where a weight or a layer's policy is, else Keras's `floatx`.
    """
    dtypes = {str(variable.dtype) for variable in model.trainable_variables}
    dtypes |= {layer.dtype_policy.variable_dtype for layer in model.layers}
    return "float64" if "float64" in dtypes else keras.config.floatx()


def narrowest_dtype(model: keras.Model) -> str:
    """Return the narrowest dtype that a model asks for: in a layer, a weight or a loss.

    Parameters
    ----------
    model : keras.Model
        The model, built and compiled.

    Returns
    -------
    {"float64", "float32"}
        The latter for all that is narrower than float64, too.
    """
    dtypes = compute_dtypes(model) | {str(v.dtype) for v in model.trainable_variables}
    dtypes |= {own.dtype for own in keras.tree.flatten(model.loss) if hasattr(own, "dtype")}
    floating = {str(dtype) for dtype in dtypes if "float" in str(dtype)}
    return "float64" if floating == {"float64"} else "float32"


@contextmanager
def floatx_scope(dtype: str) -> Iterator[None]:
    """Let Keras make losses and metrics in `dtype`, whatever its `floatx` is.

    Parameters
    ----------
    dtype : str
        Such as ``"float64"``.

    Yields
    ------
    None
        Nothing; `floatx` is given back at the end.
    """
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def warn_of_half(model: keras.Model, precision: str) -> None:
    """Tell what half precision costs a solver.

    Parameters
    ----------
    model : keras.Model
        The model.
    precision : str
        The narrowest floating dtype that takes part; nothing is told of float32 and wider.
    """
    if precision not in _HALF:
        return
    sums = ""
    if precision == "bfloat16":
        sums = " Sums over many samples lose most: a batch_size of some hundreds keeps them short."
    message = (
        f"the model {model.name!r} computes in {precision}, which has {_HALF[precision]} digits: "
        "loss and gradient are no better, and a solver ends where rounding hides its progress, "
        "often far above its tolerance. Allowed, but layers of dtype float32 or float64 go "
        f"further.{sums}"
    )
    warnings.warn(message, PrecisionWarning, stacklevel=3)


def warn_of_tolerances(precision: str, asked: Mapping[str, Any]) -> None:
    """Tell that a gradient norm was asked for that float32 does not resolve.

    Parameters
    ----------
    precision : str
        Dtype that the loss is computed in.
    asked : mapping of str to object
        A solver's options and its ``tol``, as the user gave them; defaults are left out.
        Zero asks for all that there is, and is not remarked on.
    """
    if precision != "float32":
        return
    for name in _OF_GRADIENTS:
        value = asked.get(name)
        if not isinstance(value, Real) or not 0.0 < float(value) < _SINGLE_EPSILON:
            continue
        message = (
            f"{name}={value!r} is out of reach: the loss is computed in float32, whose rounding "
            f"error is {_SINGLE_EPSILON:.1e}, and the solve will end where rounding hides its "
            "progress. Allowed, but for more digits call keras.config.set_floatx('float64') "
            "before making the model, or give its layers dtype='float64'."
        )
        warnings.warn(message, PrecisionWarning, stacklevel=3)
