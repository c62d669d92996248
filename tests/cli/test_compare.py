from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from kormos_core.cli.app import app
from kormos_core.registry import installed

if TYPE_CHECKING:
    from typer.testing import Result


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


@pytest.mark.parametrize("problem", ["linear", "diabetes"])
def test_json_holds_a_row_for_each_solver_and_their_losses_agree(problem: str) -> None:
    result = run(problem, "--solvers", "l-bfgs-b, newton-cg,adam", "--json", "--epochs", "60")

    found = json.loads(result.stdout)
    quasi_newton, newton, adam = found["outcomes"]
    assert result.exit_code == 0
    assert (found["problem"], found["dtype"], found["seed"]) == (problem, "float64", 0)
    assert [row["solver"] for row in found["outcomes"]] == [
        "scipy:l-bfgs-b",
        "scipy:newton-cg",
        "adam",
    ]
    # at their default tolerances the solvers leave up to about 1e-7 of the loss
    assert quasi_newton["loss"] == pytest.approx(newton["loss"], rel=1e-6)
    assert found["best"] in {"scipy:l-bfgs-b", "scipy:newton-cg"}
    assert newton["loss"] < adam["loss"] < found["start_loss"]
    assert newton["hessp_evals"] > 0
    assert (adam["fg_evals"], adam["num_steps"] % 60) == (60, 0)
    for row in found["outcomes"]:
        assert row["wall_time_s"] > 0
        assert row["first_call_s"] > 0


def test_digits_ends_with_its_table() -> None:
    result = run("digits", "--solvers", "l-bfgs-b,trust-ncg", "--dtype", "float32")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith("digits: softmax regression on scikit-learn's handwritten digits")
    assert [line.split()[0] for line in lines if line.startswith("scipy:")] == [
        "scipy:l-bfgs-b",
        "scipy:trust-ncg",
    ]
    assert any(line.startswith("Best loss 0.11983") for line in lines)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digit",), "kormos: unknown problem 'digit'. Did you mean 'digits'?"),
        (("linear", "--solvers", "scipy:cg,scipy:lbfgs"), "Did you mean 'scipy:l-bfgs-b'?"),
        (("linear", "--solvers", "adm"), "Did you mean 'adam'?"),
        (("linear", "--solvers", ","), "the list is empty"),
        (("linear", "--epochs", "0"), "--epochs"),
        (("linear", "--dtype", "float16"), "float16"),
    ],
)
def test_a_misuse_ends_with_status_two_before_anything_is_trained(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kormos_core.compare.runner.train", None)

    result = run(*arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_solver_that_fails_leaves_a_row_and_the_status_is_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installed().resolve("scipy:cg").load(), "minimize", _fail)

    result = run("linear", "--solvers", "scipy:cg,scipy:l-bfgs-b")

    assert result.exit_code == 0
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("scipy:cg")]
    assert row.endswith("RuntimeError: it broke.") or "RuntimeError: it broke. " in row
    assert "Best loss 0.046989" in result.stdout


def test_if_every_solver_fails_the_status_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed().resolve("scipy:cg").load(), "minimize", _fail)

    result = run("linear", "--solvers", "scipy:cg", "--json")

    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert found["best"] is None
    assert found["outcomes"][0]["message"] == "it broke. Badly."


def test_json_has_null_for_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kormos_core.compare.trial.Trial.measure_metric", lambda self, model: math.nan
    )

    result = run("linear", "--solvers", "scipy:cg", "--epochs", "1", "--json")

    assert json.loads(result.stdout)["outcomes"][0]["metric"] is None


def test_the_help_names_the_problems() -> None:
    text = " ".join(run("--help").stdout.split())

    assert "digits, diabetes, linear" in text


def test_a_real_run_writes_nothing_but_the_table() -> None:
    command = [sys.executable, "-m", "kormos_core.cli", "compare", "linear", "--epochs", "2"]

    done = subprocess.run(
        [*command, "--solvers", "scipy:cg"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("linear: linear regression of kormos 0.1's README")
    assert done.stderr == ""


def _fail(*arguments: object, **options: object) -> None:
    message = "it broke. Badly."
    raise RuntimeError(message)
