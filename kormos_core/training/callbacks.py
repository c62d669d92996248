"""Lists of Keras callbacks, and which callbacks a batch solver can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras

from kormos_core.errors import UnsupportedError
from kormos_core.request import DEFAULT_MAXITER

if TYPE_CHECKING:
    from kormos_core.training.progress import IterationProgress

__all__ = ["callback_list", "callbacks_of", "refuse_rate_callbacks"]

_RATE_CALLBACKS: Final = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


def callback_list(
    callbacks: Any,
    model: keras.Model,
    progress: IterationProgress | None,
    *,
    verbose: int,
    epochs: int | None,
) -> keras.callbacks.CallbackList:
    """Put a user's callbacks, a history and kormos's progress into one list.

    Parameters
    ----------
    callbacks : keras.callbacks.Callback, sequence of them, keras.callbacks.CallbackList or None
        The user's.
    model : keras.Model
        What they look at.
    progress : IterationProgress or None
        What tells the user how it goes.
    verbose : {0, 1, 2}
        How much that tells.
    epochs : int or None
        Iteration limit.

    Returns
    -------
    keras.callbacks.CallbackList
        All of them.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        if not any(isinstance(one, keras.callbacks.History) for one in callbacks.callbacks):
            callbacks.callbacks.append(keras.callbacks.History())
        callbacks.set_model(model)
        model.history = next(
            one for one in callbacks.callbacks if isinstance(one, keras.callbacks.History)
        )
        return callbacks
    own = [] if progress is None else [progress]
    return keras.callbacks.CallbackList(
        [*callbacks_of(callbacks), *own],
        add_history=True,
        add_progbar=False,
        model=model,
        verbose=verbose,
        epochs=epochs or DEFAULT_MAXITER,
        steps=1,
    )


def callbacks_of(callbacks: Any) -> list[Any]:
    """List the callbacks that a user gives.

    Parameters
    ----------
    callbacks : keras.callbacks.Callback, sequence of them, keras.callbacks.CallbackList or None
        As a user passes them to `fit`.

    Returns
    -------
    list
        Them, in their order.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(keras.tree.flatten(callbacks or []))


def refuse_rate_callbacks(callbacks: Any, cure: str) -> None:
    """Refuse callbacks that would set a learning rate, and what is no callback.

    Parameters
    ----------
    callbacks : object
        As a user passes them to `fit`.
    cure : str
        What to do instead: a sentence.

    Raises
    ------
    UnsupportedError
        If there is one.
    """
    for one in callbacks_of(callbacks):
        if isinstance(one, _RATE_CALLBACKS):
            message = (
                f"{type(one).__name__} cannot be honored: it sets a learning rate, and a batch "
                f"solver has none; its line search or trust region finds each step. {cure}"
            )
            raise UnsupportedError(message)
        if not isinstance(one, keras.callbacks.Callback):
            message = (
                f"not a callback: {one!r:.80}. Allowed are objects of keras.callbacks.Callback, "
                "alone or in a list. Pass such an object."
            )
            raise UnsupportedError(message)
