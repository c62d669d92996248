"""Errors of Keras and of the backend, with a sentence of our own in front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import keras

from kormos_core.backends import current_backend
from kormos_core.data import reason_of
from kormos_core.errors import KormosError, UnsupportedError
from kormos_core.objective.precision import float_dtype
from kormos_core.objective.sweep import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.objective.layout import Layout

__all__ = ["Owner", "guarded", "is_foreign", "is_out_of_memory", "refuse_assignments", "unusable"]

_T = TypeVar("_T")
_OUT_OF_MEMORY: Final = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")


def unusable(model: keras.Model, arrays: Any, error: Exception) -> UnsupportedError:
    """Say that model and data do not fit, in front of what Keras or the backend says.

    Parameters
    ----------
    model : keras.Model
        The model.
    arrays : tuple of (x, y, sample_weight), or None
        The batch; None where it is not known.
    error : Exception
        What was raised.

    Returns
    -------
    UnsupportedError
        What to raise from it.
    """
    return UnsupportedError(
        f"the model {model.name!r} cannot be evaluated on its data: {type(error).__name__}: "
        f"{reason_of(error)}. {_shapes(arrays)}{_cure(model, error)}"
    )


def refuse_assignments(layout: Layout, scope: keras.StatelessScope, given: list[Any]) -> None:
    """Refuse a model that sets its own trainable weights, which are the solver's.

    Parameters
    ----------
    layout : Layout
        The trainable variables.
    scope : keras.StatelessScope
        In which the model was called.
    given : list of tensor
        The variables' values in it before the call.

    Raises
    ------
    UnsupportedError
        If one of them has another value now.
    """
    for variable, value in zip(layout.variables, given, strict=True):
        if scope.get_current_value(variable) is value:
            continue
        message = (
            f"the model assigns to its trainable weight {variable.path!r} while it is "
            "called, as SpectralNormalization does in training mode; the assignment would "
            "be lost. Allowed are layers that only read their trainable weights. "
            "Pass training=False to the solver, or train with a Keras optimizer."
        )
        raise UnsupportedError(message)


class Owner(Protocol):
    """Whose functions are `guarded`."""

    @property
    def eager(self) -> bool:
        """Whether they run uncompiled."""

    def unusable(self, error: Exception, arrays: Any = None) -> KormosError:
        """Return what to raise from an `error` in one of them, on the `arrays` of a batch."""


def guarded(function: Callable[[Any, Any], _T], owner: Owner) -> Callable[[Any, Any], _T]:
    """Let a compiled function of a batch fail in our words.

    Parameters
    ----------
    function : callable
        Takes the parameters and a batch, or a tuple with one; a function's batch is None.
    owner : Owner
        Whose function it is.

    Returns
    -------
    callable
        The function. What is run eagerly passes a user's own errors as they are.
    """

    def call(x: Any, batch: Any) -> _T:
        try:
            return function(x, batch)
        except KormosError:
            raise
        except Exception as error:
            if not is_foreign(error, eager=owner.eager):
                raise
            parts = batch if type(batch) is tuple else (batch,)
            arrays = [part.arrays for part in parts if isinstance(part, Inputs)]
            raise owner.unusable(error, *arrays) from error

    return call


def is_foreign(error: Exception, *, eager: bool) -> bool:
    """Tell whether an error needs our words, as those of a backend and of Keras do.

    What is traced raises all its errors wrapped or in the tracer's words. What runs as it is
    written raises a user's own, which are to come out as they are; where torch runs so without
    having been asked, exceptions that are built in count as torch's, which raises such.

    Parameters
    ----------
    error : Exception
        What was raised.
    eager : bool
        Whether the model runs uncompiled, where a user's own errors are told as such.

    Returns
    -------
    bool
        Whether it does.
    """
    backend = current_backend()
    source = type(error).__module__.partition(".")[0]
    if eager:
        return source == backend.name
    return backend.compiles_loops or source in {"builtins", "keras", backend.name}


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an `error`, of whatever backend, says that the memory is too small."""
    return type(error).__name__ in _OUT_OF_MEMORY


def _shapes(arrays: Any) -> str:
    if arrays is None:
        return ""
    shapes = keras.tree.map_structure(
        lambda leaf: None if leaf is None else f"{_dtype(leaf)}{list(leaf.shape)}", arrays
    )
    return f"Inputs: {shapes[0]}, targets: {shapes[1]}, sample weights: {shapes[2]}. "


def _dtype(leaf: Any) -> str:
    return str(keras.backend.standardize_dtype(leaf.dtype))


def _cure(model: keras.Model, error: Exception) -> str:
    if is_out_of_memory(error):
        return "The memory does not hold one sweep of this size. Pass a smaller batch_size."
    losses = {own.dtype for own in keras.tree.flatten(model.loss) if hasattr(own, "dtype")}
    if float_dtype(model) == "float64" and losses - {"float64"}:
        return (
            "The model is float64 and its loss is not: call keras.config.set_floatx('float64') "
            "before making the loss and compiling."
        )
    return "Compare these with the model's summary, its loss and its metrics."
