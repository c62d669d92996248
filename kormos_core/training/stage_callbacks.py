"""Callbacks of a chain: one training to those of the fit, one of its own to each stage's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import keras

from kormos_core.chain import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kormos_core.chain import Chain

__all__ = ["Rows", "StageCallbacks"]

_COUNTS = ("fg_evals", "hessp_evals")
_OF_SOLVERS = ("grad", *_COUNTS)


@final
class Rows(keras.callbacks.Callback):
    """Collect the rows of all stages, and move the chain on with them.

    Parameters
    ----------
    chain : Chain
        The chain.

    Attributes
    ----------
    solver : str
        Name of the stage at work.
    latest : dict of str to object
        The latest row.
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self._chain = chain
        self._rows: list[dict[str, Any]] = []
        self.solver = ""

    @property
    def latest(self) -> dict[str, Any]:
        """Logs of the latest epoch."""
        return self._rows[-1] if self._rows else {}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Take the row `logs` of an `epoch`."""
        self._rows.append({"solver": self.solver, **(logs or {})})
        place = self._chain.place
        if place is not None:
            self._chain.move_to(Place(place.stage, place.first, epoch + 1))

    def columns(self) -> dict[str, list[Any]]:
        """Return the rows as columns of one length, NaN where a stage tells nothing."""
        names = dict.fromkeys(name for row in self._rows for name in row)
        columns = {name: [row.get(name, float("nan")) for row in self._rows] for name in names}
        return {
            name: [_whole(value) for value in column] if name in _COUNTS else column
            for name, column in columns.items()
        }


@final
class StageCallbacks(keras.callbacks.CallbackList):
    """Serve the callbacks of a fit, and those of one stage.

    Parameters
    ----------
    shared : keras.callbacks.CallbackList
        Those of the fit; they are not told that a stage begins or ends.
    own : object
        Those of the stage, as a user passes them to `fit`.
    model : keras.Model
        What they look at.

    Attributes
    ----------
    has_own : bool
        Whether the stage has callbacks.
    stopped : bool
        Whether a callback of the fit has asked to stop.
    """

    def __init__(self, shared: keras.callbacks.CallbackList, own: Any, model: keras.Model) -> None:
        mine = keras.tree.flatten(own or [])
        super().__init__([*shared.callbacks, *mine], add_history=False, add_progbar=False)
        for one in mine:
            one.set_model(model)
            one.set_params(shared.params)
        self._mine = keras.callbacks.CallbackList(mine, add_history=False, add_progbar=False)
        self._shared, self._observed = shared, model
        self._following: int | None = None
        self._limit = 0
        self._absent: dict[str, float] = {}
        self.has_own = bool(mine)
        self.stopped = False

    def count(self, first: int, limit: int, *, pads: bool) -> None:
        """Count epochs from `first` on, whatever Keras's fit says, and end before `limit`.

        Keras's fit begins at the epoch of the latest backup that the model has come back to,
        in every later stage too.

        Parameters
        ----------
        first : int
            Number of the first epoch.
        limit : int
            Number of the first epoch that is too much.
        pads : bool
            Whether rows get the columns that only solvers have, as NaN: what keeps a table
            takes its columns from the first row.
        """
        self._following, self._limit = first, limit
        self._absent = dict.fromkeys(_OF_SOLVERS, float("nan")) if pads else {}

    def begin_stage(self) -> None:
        """Tell the stage's callbacks that it begins."""
        self._mine.on_train_begin()

    def end_stage(self, logs: Mapping[str, Any] | None) -> None:
        """Tell the stage's callbacks that it has ended, with the `logs` of its last epoch."""
        self._mine.on_train_end(logs)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Do nothing with `logs`: Keras's fit begins here, and the whole training has."""

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Do nothing with `logs`: the whole training goes on."""

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit that an `epoch` begins, with `logs`; then the stage's."""
        self._tell("on_epoch_begin", self._number(epoch), logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit of the `epoch` and its `logs`, then the stage's."""
        number = self._number(epoch)
        self._tell("on_epoch_end", number, {**(logs or {}), **self._absent})
        if self._following is not None:
            self._following = number + 1
            if self._following >= self._limit:
                self._observed.stop_training = True

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit that a `batch` begins, with `logs`; then the stage's."""
        self._tell("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit of the `batch` and its `logs`, then the stage's."""
        self._tell("on_train_batch_end", batch, logs)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit that validation begins, with `logs`; then the stage's."""
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit of the validation's `logs`, then the stage's."""
        self._tell("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit that a `batch` begins, with `logs`; then the stage's."""
        self._tell("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the callbacks of the fit of the `batch` and its `logs`, then the stage's."""
        self._tell("on_test_batch_end", batch, logs)

    def _number(self, epoch: int) -> int:
        return epoch if self._following is None else self._following

    def _tell(self, hook: str, *arguments: Any) -> None:
        """Call a `hook` of both, and see which of them asks to stop."""
        model = self._observed
        asked, model.stop_training = model.stop_training, False
        getattr(self._shared, hook)(*arguments)
        self.stopped = self.stopped or model.stop_training
        model.stop_training = asked or model.stop_training
        getattr(self._mine, hook)(*arguments)


def _whole(value: Any) -> Any:
    return int(value) if value == value else value  # noqa: PLR0124 - NaN is not itself
