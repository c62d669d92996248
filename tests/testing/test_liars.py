"""Each lie that a plugin may tell is caught by the check that was made for it."""

from __future__ import annotations

import pytest

from kormos_core.registry import installed
from kormos_core.testing import CHECKS, Case, find_check, judge

pytestmark = pytest.mark.usefixtures("liars")

# solver, the check that catches it, what it says
LIES = [
    ("no-summary", "documentation", "has a summary of one line. Seen: ''"),
    ("no-citation", "documentation", "cites the source.*Seen: 'well known'"),
    ("no-docstring", "documentation", "class has a docstring"),
    ("silent-option", "documentation", "tells every option. Seen: nothing of secret"),
    ("mutable", "immutable", "A solver is immutable. Seen: gtol was set"),
    ("unequal", "immutable", "equal options are equal"),
    ("open-options", "unknown_option", "library={'no_such_option': 1} was taken"),
    ("early", "quadratic", "condition 26 is reached.*of the way down is left"),
    ("early", "rosenbrock", "Rosenbrock's function is reached"),
    ("early", "float32", "is reached with default tolerances"),
    ("early", "logistic_regression", "ends at the coefficients of scikit-learn"),
    ("half-a-curve", "exponential_curve", "has the coefficients of the data"),
    ("sign", "below_zero", "minimum is -10 is reached"),
    ("random", "determinism", "The same call gives the same bits"),
    ("remembers", "determinism", "The same call gives the same bits"),
    ("last-point", "result", "best accepted point"),
    ("writes-x0", "result", "stay as they are. Seen: x0 has changed"),
    ("wrong-loss", "result", "Result.loss is the loss at Result.x"),
    ("resets-counts", "counts", "Counts of evaluations .* are honest"),
    ("uncounted", "counts", r"\(\d+, 0\) told, .* made in the graph"),
    ("miscounts-graph", "counts", "told, .* made in the graph"),
    ("miscounts-iterations", "counts", "is the number of accepted iterates"),
    ("claims", "status", "Convergence is claimed at a minimum, and nowhere else"),
    ("no-limit", "iteration_limit", "At most maxiter iterations.*Seen: 2 accepted .* maxiter=1"),
    ("no-evaluation-limit", "evaluation_limit", "option maxfun limits .*with maxfun=4"),
    ("calls-twice", "callback", "call 2 of .* has the point of the call before"),
    ("calls-never", "callback", "Seen: no call, and it ended at"),
    ("hides-its-best", "callback", "with the best point so far. Seen: 0 calls"),
    ("goes-uphill", "callback", "1 of them with a loss above the one before, such as number .2."),
    ("calls-at-start", "callback", "call 1 of .* has the point of x0"),
    ("calls-elsewhere", "callback", "points that were never evaluated"),
    ("swallows", "stop", "passes through the solver. Seen: a Result"),
    ("stops-late", "stop", "nothing more is evaluated. Seen: 1 requests"),
    ("greedy", "chunk", "callbacks are served every 5 iterations"),
    ("ignores-bounds", "bounds", "No point outside the bounds is evaluated"),
    ("clips-at-the-end", "bounds", "No point outside the bounds is evaluated"),
    ("stays-at-the-start", "bounded_minimum", "least loss within the bounds is found"),
    ("ignores-constraints", "constraints", "constraints are kept at the end"),
    ("skips-start", "nonfinite_start", "ends the solve there with Status.NONFINITE"),
    ("raises-at-nan", "bad_data", "leaves the weights as they were. Seen: FloatingPointError"),
    ("does-not-recover", "nonfinite_trial", "declares tolerates_nonfinite reaches the minimum"),
    ("hides-errors", "callback_error", "An error in a user's callback passes"),
    ("claims-in-float32", "float32_stagnation", "by stagnation, not by convergence"),
    ("asks-for-more", "needs", "it asks for hvp, and declares value, grad"),
    ("asks-for-less", "needs", "it never asks for hvp"),
    ("not-in-graph", "in_graph", "0 compiled calls"),
    ("secretly-in-graph", "in_graph", "in compiled calls declares 'in-graph'"),
    ("retraces", "tracing", "A second solve by an equal solver traces nothing. Seen: 1 traces"),
    ("new-keys", "tracing", "A second solve by an equal solver traces nothing"),
    ("resumes-not", "resume", "cannot go on where an earlier fit stood"),
    ("forgets", "resume", "makes the iterations that one fit makes. Seen: losses"),
    ("not-saved", "save_and_load", "keeps the solver and its options"),
    ("hoards-matrices", "dense_matrices", "matrices, and 0 declared"),
    ("hoards-data", "memory", "does not grow with the data"),
]

CHEAP = (
    *("immutable", "unknown_option", "quadratic", "below_zero", "determinism", "result", "counts"),
    *("status", "iteration_limit", "evaluation_limit", "callback", "stop", "bounds"),
    *("bounded_minimum", "constraints", "nonfinite_start", "needs", "in_graph"),
)
"""Checks that take no time on a solver outside the graph."""

FOLLOWS = {
    "early": {"below_zero", "status"},
    "last-point": {"status"},
    "uncounted": {"callback", "stop", "in_graph"},
    "secretly-in-graph": {"callback", "counts", "stop"},
    "claims": {"evaluation_limit"},
    "no-limit": {"result"},
    "calls-twice": {"result", "counts", "iteration_limit"},
    "calls-never": {"iteration_limit", "stop"},
    "hides-its-best": {"iteration_limit", "stop"},
    "calls-at-start": {"result", "counts", "iteration_limit"},
    "ignores-bounds": {"bounded_minimum"},
    "clips-at-the-end": {"bounded_minimum", "iteration_limit", "stop"},
    "raises-at-nan": {"nonfinite_start", "stop"},
    "not-saved": {"immutable"},
}
"""What else is untrue where these lies are told, such as a count of calls that there are not."""

APART = {"miscounts-graph", "greedy", "retraces", "new-keys", "forgets", "hoards-data"}
"""Liars in the graph, or that need a model or residuals."""

HONEST = {
    "flow": ("counts", "chunk", "nonfinite_start", "bad_data", "in_graph", "tracing", "resume"),
    "early": ("callback", "counts", "needs"),
}
"""Checks that an honest solver in the graph, and a dishonest one elsewhere, must pass."""

# kormos itself refuses what is not declared: no plugin can make it do otherwise
OF_KORMOS = {"refusals", "resume_refused"}


def judged(solver, check):
    return judge(find_check(check), Case(installed().resolve(f"liars:{solver}")))


@pytest.mark.parametrize(("solver", "check", "message"), LIES)
def test_a_lie_is_caught_by_the_check_made_for_it(solver, check, message):
    verdict = judged(solver, check)

    assert verdict.outcome == "failed"
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        raise verdict.error


@pytest.mark.parametrize(
    "solver", sorted({solver for solver, *_ in LIES} - APART - {"half-a-curve"})
)
def test_a_lie_is_taken_for_no_other(solver):
    case = Case(installed().resolve(f"liars:{solver}"))
    expected = {check for name, check, _ in LIES if name == solver} | FOLLOWS.get(solver, set())

    caught = {name for name in CHEAP if judge(find_check(name), case).is_bad}

    assert caught == expected & set(CHEAP)


def test_a_heavy_declaration_is_caught():
    verdict = judge(find_check("light_import"), Case(installed().resolve("heavy:solver")))

    assert verdict.outcome == "failed"
    assert "loaded by kormos_heavy" in verdict.message
    assert "scipy" in verdict.message


def test_there_is_a_liar_for_every_check():
    caught = {check for _, check, _ in LIES} | {"light_import"} | OF_KORMOS

    assert caught == {check.name for check in CHECKS}


@pytest.fixture(scope="module")
def honest(liars):
    return Case(installed().resolve("liars:honest"))


@pytest.mark.parametrize("check", [c for c in CHECKS if c.name != "memory"], ids=lambda c: c.name)
def test_an_honest_solver_passes_every_check(check, honest):
    verdict = judge(check, honest)

    assert not verdict.is_bad, verdict.message


@pytest.mark.parametrize(
    ("solver", "check"), [(solver, check) for solver in HONEST for check in HONEST[solver]]
)
def test_a_check_does_not_complain_of_other_things(solver, check):
    verdict = judged(solver, check)

    assert verdict.outcome == "passed", verdict.message


@pytest.mark.parametrize("refusing", ["check_request", "nothing"])
def test_the_check_of_refusals_finds_what_is_not_refused(refusing, monkeypatch):
    if refusing == "nothing":
        monkeypatch.setattr(
            "kormos_core.testing.checks.capabilities.check_request", lambda *_, **__: None
        )

    verdict = judged("honest", "refusals")

    assert verdict.outcome == ("failed" if refusing == "nothing" else "passed")
    assert ("refused: bounds. Seen: no error" in verdict.message) == (refusing == "nothing")
