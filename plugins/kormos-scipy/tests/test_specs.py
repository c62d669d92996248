"""What the plugin declares to kormos."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

from kormos_core import BatchOptimizer
from kormos_scipy import kormos_solvers
from kormos_scipy.global_specs import GLOBAL
from kormos_scipy.least_squares_methods import LEAST_SQUARES_METHODS
from kormos_scipy.least_squares_specs import LEAST_SQUARES
from kormos_scipy.methods import METHODS
from kormos_scipy.specs import SPECS

NAMES = [
    "nelder-mead",
    "powell",
    "cg",
    "bfgs",
    "newton-cg",
    "l-bfgs-b",
    "tnc",
    "cobyla",
    "cobyqa",
    "slsqp",
    "trust-constr",
    "dogleg",
    "trust-ncg",
    "trust-exact",
    "trust-krylov",
]
LEAST_SQUARES_NAMES = ["least-squares-trf", "least-squares-dogbox", "least-squares-lm"]


GLOBAL_NAMES = [
    "basinhopping",
    "brute",
    "differential-evolution",
    "direct",
    "dual-annealing",
    "shgo",
]


def test_the_plugin_declares_methods_of_minimize_of_least_squares_and_global_ones():
    specs = list(kormos_solvers())

    assert sorted(spec.name for spec in specs) == sorted(
        NAMES + LEAST_SQUARES_NAMES + GLOBAL_NAMES
    )
    assert [spec.name for spec in specs if spec.default] == ["l-bfgs-b"]
    assert set(METHODS) == set(SPECS) == set(NAMES)
    assert set(GLOBAL) == set(GLOBAL_NAMES)
    assert set(LEAST_SQUARES_METHODS) == set(LEAST_SQUARES) == set(LEAST_SQUARES_NAMES)


def test_the_plugin_loads_neither_scipy_nor_numpy_by_itself():
    code = (
        "import sys, json, kormos_core; before = set(sys.modules); import kormos_scipy; "
        "kormos_scipy.kormos_solvers(); "
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert json.loads(result.stdout) == ["kormos_scipy"]


@pytest.mark.parametrize("name", NAMES)
def test_every_spec_is_complete(name):
    spec = SPECS[name]

    assert spec.aliases == (name,)
    assert "stop" in spec.supports
    assert spec.dtypes == {"float32", "float64"}
    assert spec.summary.endswith(".")
    assert "doi:10." in spec.citation
    assert (spec.max_parameters is not None) is ("hessian" in spec.needs)


@pytest.mark.parametrize("name", NAMES)
def test_every_factory_makes_an_immutable_solver_from_nothing(name, make):
    module, cls = SPECS[name].factory.split(":")
    solver = make(name)

    assert type(solver) is getattr(importlib.import_module(module), cls)
    assert type(solver).__dataclass_params__.frozen
    assert not hasattr(solver, "__dict__")
    expected = inspect.signature(BatchOptimizer.minimize).parameters
    assert list(inspect.signature(type(solver).minimize).parameters) == list(expected)
    assert "References" in inspect.getdoc(solver)


@pytest.mark.parametrize("word", ["bounds", "constraints"])
def test_support_is_what_scipy_itself_says(word):
    # SciPy warns of what a method ignores
    ignoring = set()
    for name in NAMES:
        given = {
            "bounds": {"bounds": [(-9, 9)]},
            "constraints": {"constraints": [{"type": "ineq", "fun": lambda x: 1.0}]},
        }[word]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scipy.optimize.minimize(
                lambda x: float(x @ x),
                [1.0],
                method=name,
                jac=lambda x: 2 * x,
                hess=lambda x: 2 * np.eye(1),
                **given,
            )
        if any(f"cannot handle {word}" in str(warning.message) for warning in caught):
            ignoring.add(name)

    assert ignoring == {name for name in NAMES if word not in SPECS[name].supports}


def test_the_readme_lists_every_method():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    for name in NAMES + LEAST_SQUARES_NAMES + GLOBAL_NAMES:
        assert f"| `{name}` |" in readme
