"""Ctrl-C as a request: the first one asks, the second one really stops."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

__all__ = ["Interrupt"]

_TWICE = "interrupted twice"


@final
class Interrupt:
    """Count the interrupts of the user while a fit runs.

    As a context manager in the main thread it takes SIGINT over and gives it back; in
    other threads Python delivers no signals, so there is nothing to take.

    Attributes
    ----------
    count : int
        Interrupts so far; a second one raises `KeyboardInterrupt`.
    """

    def __init__(self) -> None:
        self.count = 0
        self._previous: Callable[[int, FrameType | None], Any] | int | None = None

    def __enter__(self) -> Interrupt:
        """Take SIGINT over."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give SIGINT back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt(_TWICE)
