"""What a user sees while a solver works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IterationProgress", "in_order", "verbosity", "with_whole_counts"]

_FIRST = ("loss", "grad", "fg_evals", "hessp_evals")
_HELD_OUT = "val_"
_COUNTS = ("fg_evals", "hessp_evals")
_OF_SOLVERS = ("grad", *_COUNTS)


def verbosity(verbose: str | int) -> int:
    """Read the argument `verbose` as Keras does.

    Parameters
    ----------
    verbose : {"auto", 0, 1, 2}
        How much to show.

    Returns
    -------
    {0, 1, 2}
        The same, ``"auto"`` as 1.

    Raises
    ------
    UnsupportedError
        If it is anything else.
    """
    if verbose not in ("auto", 0, 1, 2):
        message = (
            f"verbose is not usable: {verbose!r}. Allowed are 'auto', 0, 1 and 2. "
            "Pass one of them."
        )
        raise UnsupportedError(message)
    return 1 if verbose == "auto" else int(verbose)


def in_order(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Put the solver's columns first; Keras sorts them by name on the way.

    Parameters
    ----------
    logs : mapping of str to object
        Logs of one iteration, or columns of a history.

    Returns
    -------
    dict of str to object
        The same entries: loss, gradient norm, counts, metrics, validation.
    """
    names = [name for name in _FIRST if name in logs]
    names += [name for name in logs if name not in _FIRST and not name.startswith(_HELD_OUT)]
    held_out = [name for name in logs if name.startswith(_HELD_OUT)]
    names += sorted(held_out, key=lambda name: name != f"{_HELD_OUT}loss")  # else as they are
    return {name: logs[name] for name in names}


def with_whole_counts(history: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Order the columns of a history and make its counts integers.

    Parameters
    ----------
    history : mapping of str to list
        Columns as Keras collected them.

    Returns
    -------
    dict of str to list
        The same columns.
    """
    ordered = in_order(history)
    return {
        name: [int(value) for value in column] if name in _COUNTS else column
        for name, column in ordered.items()
    }


@final
class IterationProgress(keras.callbacks.Callback):
    """Show iteration, loss, gradient norm, evaluations and metrics.

    Parameters
    ----------
    verbose : {1, 2}
        1 keeps one line up to date, 2 prints a line for each iteration.
    limit : int or None
        Iteration limit, or None where the solver runs until it converges.
    """

    def __init__(self, verbose: int, limit: int | None) -> None:
        super().__init__()
        self._verbose = verbose
        self._limit = limit
        self._bar: keras.utils.Progbar | None = None
        self._shown = 0
        self._values: list[tuple[str, float]] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start with an empty line; `logs` say nothing yet."""
        del logs
        self._shown, self._values = 0, []
        if self._verbose == 1:
            self._bar = keras.utils.Progbar(self._limit, unit_name="iteration")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Show the accepted iterate number `epoch` with its `logs`."""
        told = {name: float(np.mean(value)) for name, value in in_order(logs or {}).items()}
        if np.isnan(told.get("fg_evals", 0.0)):  # a row of Keras's optimizer
            told = {name: value for name, value in told.items() if name not in _OF_SOLVERS}
        values = list(told.items())
        self._shown, self._values = epoch + 1, values
        if self._bar is not None:
            self._bar.stateful_metrics.update(name for name, _ in values)  # no averages
            self._bar.update(epoch + 1, values, finalize=False)
            return
        limit = "" if self._limit is None else f"/{self._limit}"
        text = " - ".join(f"{name}: {_number(value)}" for name, value in values)
        print(f"Iteration {epoch + 1}{limit} - {text}")  # noqa: T201 - what verbose=2 is for

    def close(self, summary: str) -> None:
        """End the line and tell the `summary`: why the solve stopped."""
        if self._bar is not None and self._shown:
            self._bar.update(self._shown, self._values, finalize=True)
        print(summary)  # noqa: T201 - what verbose is for


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.4g}"
