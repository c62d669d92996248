"""The kit itself: verdicts, known failures, what applies, what pytest sees."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from kormos_core.capabilities import SolverSpec
from kormos_core.registry import Registered
from kormos_core.testing import (
    CHECKS,
    CannotRunError,
    Case,
    Check,
    LawBrokenError,
    UnknownCheckError,
    find_check,
    judge,
    judge_all,
)
from kormos_core.testing.checks.minima import COEFFICIENTS, logistic_reference
from kormos_core.testing.law import demand
from kormos_core.testing.page import make_page
from kormos_core.testing.report import make_report

CASE = Case.of("scipy:cg")


def check_that(run, name="made_up", **options):
    return Check(name=name, law="A law.", run=run, **options)


def passes(case):
    pass


def breaks(case):
    demand(holds=False, law="Two is one.", seen="2", do="Count again.")


def fails(case):
    message = "not mine"
    raise ZeroDivisionError(message)


def lacks(case):
    message = "scikit-learn is not installed"
    raise CannotRunError(message)


def test_a_broken_law_tells_the_law_what_was_seen_and_what_to_do():
    with pytest.raises(LawBrokenError, match=r"^Two is one\. Seen: 2\. Count again\.$"):
        breaks(CASE)


@pytest.mark.parametrize(
    ("run", "outcome", "bad"),
    [(passes, "passed", False), (breaks, "failed", True), (lacks, "cannot run", False)],
)
def test_a_check_has_a_verdict(run, outcome, bad):
    verdict = judge(check_that(run), CASE)

    assert (verdict.outcome, verdict.is_bad) == (outcome, bad)


def test_an_error_of_the_solver_is_a_failure_that_tells_its_place():
    verdict = judge(check_that(fails), CASE)

    assert verdict.outcome == "failed"
    assert verdict.message.startswith("ZeroDivisionError: not mine (")
    assert "test_kit.py, line" in verdict.message


@pytest.mark.parametrize(("run", "name"), [(breaks, "made_up"), (fails, "made-up")])
def test_a_known_failure_that_fails_is_no_complaint(run, name):
    verdict = judge(check_that(run), CASE, {name: "it is hard"})

    assert (verdict.outcome, verdict.message, verdict.is_bad) == (
        "known failure",
        "it is hard",
        False,
    )


def test_a_known_failure_that_passes_is_a_complaint():
    verdict = judge(check_that(passes), CASE, {"made_up": "it is hard"})

    assert (verdict.outcome, verdict.is_bad) == ("passed unexpectedly", True)
    assert verdict.message == (
        "known to fail (it is hard), and it passes. Drop it from the known failures."
    )


def test_a_known_failure_of_a_check_that_does_not_apply_is_a_complaint():
    check = check_that(passes, exception=lambda case: "it has no wheels")

    verdict = judge(check, CASE, {"made_up": "it is hard"})

    assert verdict.is_bad
    assert "and it has no wheels" in verdict.message


def test_a_check_that_does_not_apply_says_why():
    verdict = judge(check_that(fails, exception=lambda case: "it has no wheels"), CASE)

    assert (verdict.outcome, verdict.message) == ("does not apply", "it has no wheels")


def registered(**declared):
    spec = SolverSpec(name="solver", factory="nowhere:Solver", **declared)
    return Registered(namespace="my", spec=spec, distribution="kormos-my", version="1")


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"kind": "stochastic"}, "it is a stochastic solver"),
        ({"backends": frozenset({"jax"})}, "it runs on jax, and here is tensorflow"),
    ],
)
def test_a_solver_that_cannot_run_here_is_not_run(declared, why):
    case = Case(registered(**declared))
    reasons = {check.name: check.why_not(case) for check in CHECKS if check.solves}

    assert {reason.startswith(why) for reason in reasons.values()} == {True}


def test_names_of_checks_are_unique_and_found_in_any_spelling():
    names = [check.name for check in CHECKS]

    assert len(set(names)) == len(names)
    assert find_check("Below-Zero") is find_check("below_zero")


def test_an_unknown_check_is_refused_with_the_nearest():
    with pytest.raises(UnknownCheckError, match=r"'bound'\. Did you mean 'bounds'\? Allowed: doc"):
        find_check("bound")


def test_a_known_failure_of_no_check_is_refused():
    with pytest.raises(UnknownCheckError, match="'bounce'"):
        list(judge_all(CASE, ["bounds"], {"bounce": "it is hard"}))


def test_without_scikit_learn_its_stored_coefficients_are_the_reference(monkeypatch):
    fitted = logistic_reference()
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)

    stored = logistic_reference()

    assert stored.tolist() == list(COEFFICIENTS)
    np.testing.assert_allclose(fitted, stored, rtol=1e-6)  # scikit-learn's tol of the gradient


def test_a_report_has_rows_complaints_and_a_summary():
    lines = []
    report = make_report(CASE, ["immutable", "bounds"], announce=lines.append)

    assert report.conforms
    assert [row[:2] for row in report.rows[1:]] == [
        ("immutable", "passed"),
        ("bounds", "does not apply"),
    ]
    assert report.rows[2][3] == "it does not declare 'bounds'"
    assert report.complaints == []
    assert report.summary.endswith("conforms: 1 passed, 1 does not apply.")
    assert lines == ["scipy:cg: immutable passed", "scipy:cg: bounds does not apply"]


def test_a_complaint_is_told_in_full():
    report = make_report(
        CASE, ["immutable"], {"immutable": "it was not once"}, announce=lambda line: None
    )

    assert not report.conforms
    (complaint,) = report.complaints
    assert complaint == (
        "immutable: known to fail (it was not once), and it passes. "
        "Drop it from the known failures."
    )
    assert report.to_json()["checks"][0]["outcome"] == "passed unexpectedly"


def test_a_page_tells_every_solver_every_check_and_each_reason():
    names = ["immutable", "bounds"]
    reports = [
        make_report(Case.of(solver), names, {"immutable": "it | was"}, announce=lambda _: None)
        for solver in ("scipy:cg", "scipy:bfgs")
    ]

    lines = make_page(reports, "make it").splitlines()

    assert lines[2].startswith("What `make it` found")
    assert "| `scipy:bfgs` | 0 | `immutable` |  | `bounds` |" in lines
    bounds = find_check("bounds").law
    assert f"| `bounds` | {bounds} | 0 | it does not declare 'bounds' (2) |" in lines
    firsts = {line.split(" ")[1] for line in lines if line.startswith("| ")}
    assert {f"`{check.name}`" for check in CHECKS} <= firsts
    told = [line for line in lines if line.startswith("- `scipy:cg`, `immutable`: known to fail")]
    assert len(told) == 1
    assert "it \\| was" not in told[0]


def test_importing_the_kit_loads_no_backend():
    heavy = {"keras", "tensorflow", "pytest"}
    code = f"import sys, kormos_core.testing; print({heavy} & {{*sys.modules}})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_pytest_shows_each_check_by_its_name(tmp_path):
    source = """
        from kormos_core.testing import BatchOptimizerConformance


        class TestCG(BatchOptimizerConformance):
            solver = "scipy:cg"
            known_failures = {"immutable": "it passes", "documentation": "it passes"}
    """
    (tmp_path / "test_cg.py").write_text(textwrap.dedent(source))
    names = ["immutable", "bounds", "unknown_option"]

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-rs",
            "-v",
            "-k",
            " or ".join(names),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "test_cg.py::TestCG::test_immutable FAILED" in done.stdout
    assert "known to fail (it passes), and it passes" in done.stdout
    assert "test_cg.py::TestCG::test_bounds SKIPPED (does not apply: it does" in done.stdout
    assert "test_cg.py::TestCG::test_unknown_option PASSED" in done.stdout


def test_options_of_the_case_are_those_of_the_solver():
    case = Case.of("scipy:l-bfgs-b", {"maxcor": 3})

    assert case.create().maxcor == 3
    assert case.create(maxcor=4).maxcor == 4


def test_a_known_failure_is_expected_by_pytest(monkeypatch):
    from kormos_core.testing import BatchOptimizerConformance

    class Hard(BatchOptimizerConformance):
        solver = "scipy:cg"
        known_failures = MappingProxyType({"quadratic": "it is hard"})

    monkeypatch.setattr(
        "kormos_core.testing.conformance.judge",
        lambda *_: SimpleNamespace(
            outcome="known failure", message="it is hard", error=None, is_bad=False
        ),
    )

    with pytest.raises(pytest.xfail.Exception, match="it is hard"):
        Hard().test_quadratic()
