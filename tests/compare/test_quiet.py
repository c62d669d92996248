from __future__ import annotations

import os

import pytest

from kormos_core.compare import quiet


def noise():
    os.write(2, b"lines about absent graphics cards\n")


def test_what_the_backend_writes_at_its_start_is_held_back(monkeypatch, capfd):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.setattr(quiet, "_start", noise)

    quiet.start_backend()

    os.write(2, b"what comes after\n")
    assert capfd.readouterr().err == "what comes after\n"


def test_what_was_held_back_is_told_where_the_start_fails(monkeypatch, capfd):
    def fail():
        noise()
        message = "no backend"
        raise ImportError(message)

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.setattr(quiet, "_start", fail)

    with pytest.raises(ImportError, match="no backend"):
        quiet.start_backend()

    assert capfd.readouterr().err == "lines about absent graphics cards\n"


def test_nothing_is_held_back_from_a_user_who_asks_for_everything(monkeypatch, capfd):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setattr(quiet, "_start", noise)

    quiet.start_backend()

    assert capfd.readouterr().err == "lines about absent graphics cards\n"


def test_the_log_level_is_set_only_where_the_user_has_not(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.setattr(quiet, "_start", lambda: None)

    quiet.start_backend()

    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"
