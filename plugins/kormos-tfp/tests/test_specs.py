"""What the plugin declares to kormos."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kormos
from kormos_core import BatchOptimizer
from kormos_core.check import check_request
from kormos_core.errors import PluginError, UnsupportedError
from kormos_core.registry import installed
from kormos_tfp import kormos_solvers
from kormos_tfp.specs import SPECS


def test_the_plugin_declares_three_minimizers():
    specs = kormos_solvers()

    assert [spec.name for spec in specs] == ["l-bfgs", "bfgs", "nelder-mead"]
    assert [spec.name for spec in specs if spec.default] == ["l-bfgs"]


def test_the_plugin_loads_neither_tensorflow_nor_numpy_by_itself():
    code = (
        "import sys, json, kormos_core; before = set(sys.modules); import kormos_tfp; "
        "kormos_tfp.kormos_solvers(); "
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert json.loads(result.stdout) == ["kormos_tfp"]


@pytest.mark.parametrize("name", SPECS)
def test_every_spec_is_complete(name):
    spec = SPECS[name]

    assert f"tfp-{name}" in spec.aliases
    assert spec.supports == {"stop", "resume", "in-graph", "chunk"}
    assert spec.backends == {"tensorflow"}
    assert spec.dtypes == {"float32", "float64"}
    assert spec.summary.endswith(".")
    assert "doi:10." in spec.citation


@pytest.mark.parametrize("name", SPECS)
def test_every_factory_makes_an_immutable_solver_from_nothing(name, make):
    module, cls = SPECS[name].factory.split(":")
    solver = make(name)

    assert type(solver) is getattr(importlib.import_module(module), cls)
    assert type(solver).__dataclass_params__.frozen
    assert not hasattr(solver, "__dict__")
    expected = inspect.signature(BatchOptimizer.minimize).parameters
    assert list(inspect.signature(type(solver).minimize).parameters) == list(expected)
    assert "References" in inspect.getdoc(solver)


@pytest.mark.parametrize("alias", ["tfp", "tfp-lbfgs", "TFP-L-BFGS", "tfp:l-bfgs"])
def test_the_default_has_many_names(alias):
    assert installed().resolve(alias).name == "tfp:l-bfgs"


@pytest.mark.parametrize("name", SPECS)
def test_bounds_and_other_backends_are_refused_before_the_first_step(name):
    registered = installed().resolve(f"tfp:{name}")

    with pytest.raises(UnsupportedError, match=f"tfp:{name} does not honor bounds"):
        kormos.minimize(keras.ops.sum, np.zeros(2), solver=registered.name, bounds=(0.0, 1.0))
    with pytest.raises(UnsupportedError, match="does not run on the Keras backend 'jax'"):
        check_request(registered, backend="jax", size=2, dtype="float64")


def test_a_missing_library_is_told_with_the_cure(monkeypatch):
    registered = installed().resolve("tfp:l-bfgs")
    monkeypatch.delitem(sys.modules, "kormos_tfp.lbfgs", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_probability", None)

    with pytest.raises(PluginError, match=r"tensorflow_probability.*pip install .* kormos-tfp"):
        registered.create()


def test_the_readme_lists_every_method():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    for name in SPECS:
        assert f"| `{name}` |" in readme
