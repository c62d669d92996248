from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from models import floatx

EXAMPLES = Path(__file__).parents[2] / "examples"


class Ran(NamedTuple):
    """What a script has left: its names, what it printed, and its picture."""

    names: SimpleNamespace
    told: str
    picture: bytes


@pytest.fixture(scope="module")
def script(request):
    """What the example defines that a module of tests calls its SCRIPT."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / request.module.SCRIPT)))


@pytest.fixture
def run_script(request, tmp_path, monkeypatch, capsys):
    """Run that example as a script, with arguments and a picture of its own."""

    def run(*arguments):
        path, picture = str(EXAMPLES / request.module.SCRIPT), tmp_path / "picture.png"
        monkeypatch.setattr(sys, "argv", [path, *arguments, "--picture", str(picture)])
        with floatx("float32"):  # restores what the script sets
            names = runpy.run_path(path, run_name="__main__")
        return Ran(SimpleNamespace(**names), capsys.readouterr().out, picture.read_bytes())

    return run
