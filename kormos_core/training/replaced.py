"""Fits that are seen by what has replaced `keras.Model.fit`, such as MLflow's autolog.

A tracker that replaces `keras.Model.fit` adds a callback of its own to those it is given,
then calls what it has replaced. A batch solver's fit would not pass through it, so the
replacement is called with no epoch left for Keras to do, and with a callback that fits.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, final

import keras

from kormos_core.training.at_work import at_work
from kormos_core.training.callbacks import callbacks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kormos_core.chain import Chain
    from kormos_core.optimizer import BatchOptimizer

__all__ = ["fit_of_keras", "is_replaced", "through_replacement"]


def is_replaced() -> bool:
    """Tell whether `keras.Model.fit` is another one than what Keras's classes have below it.

    Returns
    -------
    bool
        True where a tracker has put its own function in place.
    """
    return "fit" in vars(keras.Model)  # Keras's own is inherited from the backend's trainer


def fit_of_keras(model: keras.Model) -> Callable[..., keras.callbacks.History]:
    """Return Keras's own `fit` of a model, whatever has replaced `keras.Model.fit`.

    Parameters
    ----------
    model : keras.Model
        The model.

    Returns
    -------
    callable
        Bound to the model.
    """
    bound: Callable[..., keras.callbacks.History] = super(keras.Model, model).fit
    return bound


def through_replacement(
    model: keras.Model,
    optimizer: BatchOptimizer | Chain,
    work: Callable[[Any], keras.callbacks.History],
    given: Mapping[str, Any],
) -> keras.callbacks.History:
    """Do the work of a fit within the replacement of `keras.Model.fit`.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    optimizer : BatchOptimizer or Chain
        What the fit is done by.
    work : callable
        ``history = work(callbacks)``: the fit.
    given : mapping of str to object
        The arguments of the fit that Keras's has too, as the user gave them.

    Returns
    -------
    keras.callbacks.History
        What `work` returned.

    Warns
    -----
    RuntimeWarning
        If the data can be read once, and the replacement would do so: it is not called.
    """
    callbacks = given["callbacks"]
    if isinstance(given["x"], Iterator):
        message = (
            "what has replaced keras.Model.fit, such as MLflow's autolog, does not see this fit: "
            f"x can be read once, as a {type(given['x']).__name__}. Pass arrays or a dataset, or "
            "give the tracker's own callback to fit()."
        )
        warnings.warn(message, RuntimeWarning, stacklevel=4)
        return work(callbacks)
    seen = _Seen(callbacks, work)
    own = {"callbacks": seen, "epochs": _NoneLeft(given["epochs"]), "verbose": 0}
    told = {name: value for name, value in given.items() if value is not None}
    with at_work(model, optimizer):
        keras.Model.fit(model, **(told | own))
    return seen.history


@final
class _Seen(keras.callbacks.CallbackList):
    """A list of callbacks that does the work of a fit when Keras's fit begins.

    It looks like the user's list to who reads it, takes what is added, and serves both within
    the work alone.
    """

    history: keras.callbacks.History

    def __init__(self, given: Any, work: Callable[[Any], keras.callbacks.History]) -> None:
        super().__init__(add_history=False, add_progbar=False)
        self._given, self._work = given, work

    def __iter__(self) -> Iterator[Any]:
        return iter([*callbacks_of(self._given), *self.callbacks])

    def append(self, callback: keras.callbacks.Callback) -> None:
        """Take a `callback`."""
        self.callbacks.append(callback)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        del logs
        if not isinstance(self._given, keras.callbacks.CallbackList):
            self.history = self._work(list(self))
            return
        self._given.callbacks.extend(self.callbacks)
        try:
            self.history = self._work(self._given)
        finally:
            for one in self.callbacks:
                self._given.callbacks.remove(one)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Do nothing with `logs`: the work has told all that it ended."""


@final
class _NoneLeft(int):
    """No epoch for Keras to do; to a tracker's eyes the number that was asked of the solver."""

    def __new__(cls, asked: Any) -> Self:
        made = super().__new__(cls, 0)
        made.asked = asked
        return made

    asked: Any

    def __str__(self) -> str:
        return str(self.asked)
