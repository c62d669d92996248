from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from models import floatx

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def same_precision_afterwards():
    with floatx("float32"):
        yield


def run(name, *arguments, monkeypatch):
    path = EXAMPLES / name
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    return runpy.run_path(str(path), run_name="__main__")


def test_the_linear_example_finds_the_coefficients(tmp_path, monkeypatch, capsys):
    text = (EXAMPLES / "linear_regression.py").read_text(encoding="utf-8")
    shorter = text.replace("epochs=150", "epochs=2")  # of Adam, which nothing is told of here
    assert shorter != text
    (tmp_path / "shorter.py").write_text(shorter, encoding="utf-8")

    run(tmp_path / "shorter.py", monkeypatch=monkeypatch)

    told = capsys.readouterr().out
    assert "fg_evals" in told
    assert "scipy:l-bfgs-b:" in told


def test_the_functional_example_ends_with_a_vanishing_gradient(monkeypatch, capsys):
    names = run("functional_newton.py", monkeypatch=monkeypatch)

    assert names["history"].result.grad_norm < 1e-6  # the README's promise for newton-cg
    assert "scipy:newton-cg:" in capsys.readouterr().out


def test_the_recommender_trains_and_draws_its_picture(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    ratings = {
        "userId": rng.integers(1, 30, 400),
        "movieId": rng.integers(1, 50, 400),
        "rating": rng.integers(1, 11, 400) / 2,
    }
    pd.DataFrame(ratings).to_csv(tmp_path / "ratings.csv", index=False)
    picture = tmp_path / "picture.png"

    run(
        "movielens_recommender.py",
        "--ratings",
        tmp_path / "ratings.csv",
        "--picture",
        picture,
        monkeypatch=monkeypatch,
    )

    assert picture.read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert "after 20 iterations" in told


def test_the_convnet_goes_on_from_adam(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    parts = ("train", "test")
    images = {f"x_{part}": rng.integers(0, 256, (64, 28, 28), np.uint8) for part in parts}
    labels = {f"y_{part}": rng.integers(0, 10, 64) for part in parts}
    np.savez(tmp_path / "mnist.npz", **images, **labels)
    few = 2**30  # bytes; bfgs needs more for 34,826 parameters
    memory = type("Memory", (), {"available": few})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)

    run("mnist_convnet.py", "--mnist", tmp_path / "mnist.npz", monkeypatch=monkeypatch)

    told = capsys.readouterr().out
    assert "bfgs: scipy:bfgs keeps" in told
    assert "scipy:l-bfgs-b: MAX_ITER after 3 iterations" in told
