"""What the plugin declares to kormos."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kormos_core import BatchOptimizer
from kormos_core.loop import LoopMethod
from kormos_native import kormos_solvers
from kormos_native.lbfgs import LBFGS
from kormos_native.settings import quasi_newton
from kormos_native.specs import SPECS

SQUARES = ["levenberg-marquardt", "gauss-newton"]
NAMES = ["lbfgs", "lbfgs-b", "newton-cg", "trust-ncg", *SQUARES]


def test_the_plugin_declares_its_solvers():
    specs = list(kormos_solvers())

    assert [spec.name for spec in specs] == NAMES
    assert [spec.name for spec in specs if spec.default] == ["lbfgs"]
    assert [spec.name for spec in specs if "bounds" in spec.supports] == ["lbfgs-b"]
    assert [spec.name for spec in specs if "hvp" in spec.needs] == ["newton-cg", "trust-ncg"]
    assert [spec.name for spec in specs if spec.kind == "least-squares"] == SQUARES


def test_the_plugin_loads_neither_keras_nor_numpy_by_itself():
    code = (
        "import sys, json, kormos_core; before = set(sys.modules); import kormos_native; "
        "kormos_native.kormos_solvers(); "
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert json.loads(result.stdout) == ["kormos_native"]


@pytest.mark.parametrize("name", NAMES)
def test_every_spec_is_complete(name):
    spec = SPECS[name]

    assert spec.supports >= {"stop", "resume", "in-graph", "chunk"}
    assert spec.dtypes == {"float32", "float64"}
    assert spec.backends == frozenset()
    assert spec.tolerates_nonfinite
    assert f"native-{name}" in spec.aliases
    assert spec.summary.endswith(".")
    assert "doi:10." in spec.citation


@pytest.mark.parametrize("name", NAMES)
def test_every_factory_makes_an_immutable_solver_from_nothing(name):
    module, cls = SPECS[name].factory.split(":")
    make = getattr(importlib.import_module(module), cls)

    solver = make()

    assert solver == make()
    assert hash(solver) == hash(make())
    assert make.__dataclass_params__.frozen
    assert not hasattr(solver, "__dict__")
    expected = inspect.signature(BatchOptimizer.minimize).parameters
    assert list(inspect.signature(make.minimize).parameters) == list(expected)
    assert "References" in inspect.getdoc(solver)


def test_the_iteration_has_the_signature_of_a_loop_method():
    method = quasi_newton(LBFGS(), weak=False)

    for name in ("init", "advance", "progress"):
        expected = inspect.signature(getattr(LoopMethod, name)).parameters
        assert len(inspect.signature(getattr(type(method), name)).parameters) == len(expected)


def test_the_readme_lists_every_solver():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    for name in NAMES:
        assert f"| `{name}` |" in readme
