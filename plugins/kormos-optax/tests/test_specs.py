"""What is declared: cheap to read, and of this backend alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kormos_core.registry import installed
from kormos_optax.methods import METHODS
from kormos_optax.specs import SPECS

pytestmark = pytest.mark.backends("tensorflow", "jax")

ROOT = Path(__file__).parents[3]


def test_the_solvers_are_found_by_name_alias_and_namespace():
    for name in SPECS:
        assert installed().resolve(f"optax:{name}").spec is SPECS[name]
        assert installed().resolve(f"Optax-{name}").spec is SPECS[name]
    assert installed().resolve("optax").name == "optax:lbfgs"


def test_declaring_them_loads_neither_jax_nor_optax():
    code = (
        "import kormos_optax, sys; kormos_optax.kormos_solvers(); "
        "print(sorted({'jax', 'optax', 'keras', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", SPECS)
def test_each_says_that_it_is_for_jax_full_batch_and_deterministic(name):
    spec = SPECS[name]

    assert spec.backends == {"jax"}
    assert spec.kind == "batch"
    assert not spec.supports & {"bounds", "constraints"}
    assert ("full-batch" in spec.summary) == (name != "lbfgs")


def test_every_method_of_the_list_has_a_solver():
    assert list(SPECS) == ["lbfgs", *METHODS, "transformation"]


def test_the_documentation_tells_every_solver():
    text = (ROOT / "docs" / "choose-a-solver.md").read_text(encoding="utf-8")

    assert [name for name in SPECS if f"`optax:{name}`" not in text] == []
