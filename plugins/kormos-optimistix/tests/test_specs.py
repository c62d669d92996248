"""What is declared: cheap to read, and of this backend alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kormos_core.registry import installed
from kormos_optimistix.specs import SPECS

pytestmark = pytest.mark.backends("tensorflow", "jax")

ROOT = Path(__file__).parents[3]


def test_the_solvers_are_found_by_name_alias_and_namespace():
    for name in SPECS:
        assert installed().resolve(f"optimistix:{name}").spec is SPECS[name]
        assert installed().resolve(f"Optimistix-{name}").spec is SPECS[name]
    assert installed().resolve("optimistix").name == "optimistix:bfgs"


def test_declaring_them_loads_neither_jax_nor_optimistix():
    code = (
        "import kormos_optimistix, sys; kormos_optimistix.kormos_solvers(); "
        "print(sorted({'jax', 'optimistix', 'keras', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", SPECS)
def test_each_says_that_it_is_for_jax_and_what_it_needs(name):
    spec = SPECS[name]

    assert spec.backends == {"jax"}
    assert (spec.kind == "least-squares") == ("residuals" in spec.needs)
    assert not spec.supports & {"bounds", "constraints"}


def test_the_documentation_tells_every_solver():
    text = (ROOT / "docs" / "choose-a-solver.md").read_text(encoding="utf-8")

    assert [name for name in SPECS if f"`optimistix:{name}`" not in text] == []
