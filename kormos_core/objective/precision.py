"""The precision that a model works in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["float_dtype", "floatx_scope"]


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
