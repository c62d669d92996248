from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from kormos_core.keras_backend import name_the_installed_backend


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return what makes a machine: its installed backends, its configuration file."""

    def make(*installed, configured=None, variable=None, keras_is_loaded=False):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        # set first: what was never set is not taken away again after the test
        monkeypatch.setenv("KERAS_BACKEND", variable or "")
        if variable is None:
            monkeypatch.delenv("KERAS_BACKEND")
        monkeypatch.delitem(sys.modules, "keras", raising=False)
        if keras_is_loaded:
            monkeypatch.setitem(sys.modules, "keras", object())
        if configured is not None:
            (tmp_path / "keras.json").write_text(configured, encoding="utf-8")
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: name if name in installed else None
        )

    return make


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (("tensorflow", "jax", "torch"), None),
        (("jax",), "jax"),
        (("torch",), "torch"),
        (("torch", "jax"), "jax"),
        ((), None),
    ],
)
def test_an_installed_backend_is_named_where_keras_would_load_a_missing_one(
    machine, installed, expected
):
    machine(*installed)

    name_the_installed_backend()

    assert os.environ.get("KERAS_BACKEND") == expected


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ('{"backend": "torch"}', None),
        ('{"backend": "tensorflow"}', "jax"),
        ('{"floatx": "float64"}', "jax"),
        ("not json", "jax"),
    ],
)
def test_what_keras_is_configured_for_counts(machine, configured, expected):
    machine("jax", "torch", configured=configured)

    name_the_installed_backend()

    assert os.environ.get("KERAS_BACKEND") == expected


def test_what_the_user_says_is_left_alone(machine):
    machine("torch", variable="jax")

    name_the_installed_backend()

    assert os.environ["KERAS_BACKEND"] == "jax"


def test_an_empty_variable_says_nothing(machine):
    machine("torch", variable="")

    name_the_installed_backend()

    assert os.environ["KERAS_BACKEND"] == "torch"


def test_nothing_is_changed_once_keras_is_loaded(machine):
    machine("torch", keras_is_loaded=True)

    name_the_installed_backend()

    assert "KERAS_BACKEND" not in os.environ
