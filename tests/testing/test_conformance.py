"""Every built-in solver conforms; what it cannot do is a known failure with its reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

import keras
import pytest

from kormos_core.registry import installed
from kormos_core.testing import CHECKS, BatchOptimizerConformance, Case, find_check, judge

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

KNOWN = tomllib.loads((Path(__file__).parent / "known_failures.toml").read_text(encoding="utf-8"))
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

# One solver that iterates in Python and one in the graph have every check. The one that runs a
# process of its own takes ten seconds and more, and what it looks at is the same code for all of
# either kind; the page of the documentation has it for all.
WHOLE = ("scipy:l-bfgs-b", "native:lbfgs")

# Global searches are long by default, and the page has them so. These are enough for two or
# three parameters.
SHORT = {
    "scipy:basinhopping": {"niter": 12},
    "scipy:brute": {"Ns": 9},
    "scipy:differential-evolution": {"popsize": 6, "atol": 1e-3},
    "scipy:dual-annealing": {"num_steps": 40},
}

# What iterates in Python is the same code on every backend: it is checked where nothing is
# traced, which is quickest, but for what can be told of compiled functions alone; our own
# solvers are fitted on every backend elsewhere, too. Plugins for one backend alone check their
# own.
BREADTH = {
    "tensorflow": {"tfp"},
    "jax": set(),
    "torch": {"native", "scipy", "torch"},
}
OF_COMPILED = ("tracing", "dense_matrices")

BUILT_IN = [
    solver.name
    for solver in installed().solvers()
    if solver.namespace in {"native", "scipy", "tfp", "torch"}
]
OTHERS = [name for name in BUILT_IN if name not in WHOLE]
HERE = BREADTH[keras.config.backend()]
PAIRS = [
    (name, check.name)
    for name in OTHERS
    for check in CHECKS
    if not check.is_heavy
    and (
        name.partition(":")[0] in HERE
        or (keras.config.backend() == "tensorflow" and check.name in OF_COMPILED)
    )
]


class TestSciPy(BatchOptimizerConformance):
    solver = "scipy:l-bfgs-b"


class TestNative(BatchOptimizerConformance):
    solver = "native:lbfgs"


@pytest.fixture(scope="module")
def latest():
    """Keep the case of the solver whose turn it is: its checks share what they have traced."""
    return {}


@pytest.mark.parametrize(("solver", "check"), PAIRS)
def test_a_built_in_solver_conforms(solver, check, latest):
    if solver not in latest:
        latest.clear()
        latest[solver] = Case.of(solver, SHORT.get(solver))

    known = dict(KNOWN.get(solver, {}))
    if keras.config.backend() != "tensorflow":
        known.pop("dense_matrices", None)  # which is told on what is compiled alone
    verdict = judge(find_check(check), latest[solver], known)

    assert not verdict.is_bad, verdict.message
    assert verdict.outcome != "cannot run"


@pytest.mark.backends("tensorflow")
def test_what_fails_is_known_of_solvers_that_exist():
    assert set(KNOWN) <= set(BUILT_IN)
    for failures in KNOWN.values():
        assert {find_check(name).is_heavy for name in failures} == {False}


def test_solvers_of_either_kind_have_every_check():
    assert [Case.of(name).in_graph for name in WHOLE] == [False, True]


# --- the page of the documentation -----------------------------------------------------------


def rows(heading):
    """Map the first cell of each row of a table to the others."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {first.strip("`"): others for first, *others in cells}


@pytest.mark.backends("tensorflow")
def test_the_page_tells_every_built_in_solver_none_of_which_fails():
    told = rows("Solvers")

    assert set(BUILT_IN) <= set(told)
    assert {row[1].strip() for row in told.values()} == {""}


@pytest.mark.backends("tensorflow")
def test_the_page_tells_every_check_and_its_law():
    assert {name: row[0] for name, row in rows("Checks").items()} == {
        check.name: check.law for check in CHECKS
    }


@pytest.mark.backends("tensorflow")
def test_the_page_tells_all_that_is_known_to_fail():
    text = PAGE.read_text(encoding="utf-8")
    told = {
        f"- `{solver}`, `{check}`: {why}"
        for solver, failures in KNOWN.items()
        for check, why in failures.items()
    }

    assert told == {line for line in text.splitlines() if line.startswith("- ")}
