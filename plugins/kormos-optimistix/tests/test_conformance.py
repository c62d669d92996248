"""The laws of kormos; what is known to fail stands with its reason in ``known_failures.toml``.

Every check that solves nothing is made on every solver, and those on a model on one of each
kind. The small problems of the others are run uncompiled on JAX, which takes minutes:
``kormos conform SOLVER --known-failures plugins/kormos-optimistix/tests/known_failures.toml``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kormos_core.testing import CHECKS, Case, find_check, judge
from kormos_optimistix.specs import SPECS

pytestmark = pytest.mark.backends("jax")

KNOWN = tomllib.loads((Path(__file__).parent / "known_failures.toml").read_text(encoding="utf-8"))

DECLARED = [check.name for check in CHECKS if not check.solves]
MADE = ("nonfinite_start", "bad_data", "callback_error", "resume", "save_and_load")


@pytest.fixture(scope="module")
def latest():
    """Keep the case of the solver whose turn it is: its checks share what they have traced."""
    return {}


def verdict_on(name, check, latest):
    """Judge one solver by one check."""
    solver = f"optimistix:{name}"
    if solver not in latest:
        latest.clear()
        latest[solver] = Case.of(solver)
    return judge(find_check(check), latest[solver], KNOWN.get(solver))


@pytest.mark.parametrize("check", DECLARED)
@pytest.mark.parametrize("name", SPECS, scope="module")
def test_every_declaration_conforms(name, check, latest):
    verdict = verdict_on(name, check, latest)

    assert not verdict.is_bad, verdict.message
    assert verdict.outcome != "cannot run"


@pytest.mark.parametrize("check", MADE)
@pytest.mark.parametrize("name", ["bfgs", "levenberg-marquardt"], scope="module")
def test_one_of_each_kind_conforms_on_a_model(name, check, latest):
    verdict = verdict_on(name, check, latest)

    assert not verdict.is_bad, verdict.message
    assert verdict.outcome != "cannot run"


def test_what_fails_is_known_of_solvers_and_checks_that_exist():
    assert set(KNOWN) <= {f"optimistix:{name}" for name in SPECS}
    for failures in KNOWN.values():
        for check in failures:
            find_check(check)
