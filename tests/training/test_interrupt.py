from __future__ import annotations

import signal
import threading

import pytest

from kormos_core.training import Interrupt


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def own_handler():
    """Catch what gets past, so that no test can end the run."""
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(True))
    yield caught
    signal.signal(signal.SIGINT, before)


def test_the_first_one_is_counted():
    with Interrupt() as interrupt:
        assert interrupt.count == 0
        press()
        assert interrupt.count == 1


def test_the_second_one_is_raised():
    with Interrupt():
        press()
        with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
            press()


def test_the_handler_is_given_back(own_handler):
    with Interrupt():
        press()
    press()

    assert own_handler == [True]


def test_the_handler_is_given_back_after_an_error(own_handler):
    with pytest.raises(ZeroDivisionError, match="by zero"), Interrupt():
        1 / 0  # noqa: B018 - it is the error that is wanted
    press()

    assert own_handler == [True]


def test_one_inside_another_counts_its_own():
    with Interrupt() as outer:
        with Interrupt() as inner:
            press()
        press()

    assert (outer.count, inner.count) == (1, 1)


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with Interrupt():
        pass

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_in_another_thread_there_is_nothing_to_take(own_handler):
    counts = []

    def work():
        with Interrupt() as interrupt:
            counts.append(interrupt.count)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    press()

    assert counts == [0]
    assert own_handler == [True]
