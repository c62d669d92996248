"""Every built-in solver conforms; what it cannot do is a known failure with its reason."""

from __future__ import annotations

import pytest

from kormos_core.registry import installed
from kormos_core.testing import CHECKS, BatchOptimizerConformance, Case, find_check, judge

# Of each namespace one has every check; those that compile or run a process of their own take
# seconds each, and what they look at is the same code for all of a namespace.
WHOLE = ("scipy:l-bfgs-b", "native:lbfgs", "tfp:nelder-mead")

KNOWN = {
    "scipy:tnc": {
        "float32": "SciPy allows 100 evaluations by default, too few for the valley in float32",
    },
    "scipy:dogleg": {
        "nonfinite_trial": "a detour leads to where the Hessian is not positive definite",
    },
    "scipy:powell": {
        "bounds": "SciPy's searches run along directions that a bound leaves no room for",
    },
    "scipy:cobyla": dict.fromkeys(
        ("rosenbrock", "float32", "nonfinite_trial"),
        "linear models take thousands of steps along a curved valley",
    ),
    "tfp:nelder-mead": {
        "callback": "an iteration of the simplex may leave its best vertex, the iterate, in place",
    },
}

OTHERS = [
    solver.name
    for solver in installed().solvers()
    if solver.name.partition(":")[0] in {"native", "scipy", "tfp"} and solver.name not in WHOLE
]


class TestSciPy(BatchOptimizerConformance):
    solver = "scipy:l-bfgs-b"


class TestNative(BatchOptimizerConformance):
    solver = "native:lbfgs"


class TestTFP(BatchOptimizerConformance):
    solver = "tfp:nelder-mead"
    known_failures = KNOWN["tfp:nelder-mead"]


@pytest.fixture(scope="module")
def latest():
    """Keep the case of the solver whose turn it is: its checks share what they have traced."""
    return {}


@pytest.mark.parametrize("check", [c.name for c in CHECKS if not c.is_heavy])
@pytest.mark.parametrize("solver", OTHERS, scope="module")
def test_a_built_in_solver_conforms(solver, check, latest):
    if solver not in latest:
        latest.clear()
        latest[solver] = Case.of(solver)

    verdict = judge(find_check(check), latest[solver], KNOWN.get(solver))

    assert not verdict.is_bad, verdict.message


def test_what_fails_is_known_of_solvers_that_exist():
    assert set(KNOWN) <= {*OTHERS, *WHOLE}
    for failures in KNOWN.values():
        assert {find_check(name).is_heavy for name in failures} == {False}


def test_every_namespace_has_a_solver_with_every_check():
    assert {name.partition(":")[0] for name in OTHERS} == {
        name.partition(":")[0] for name in WHOLE
    }


# --- matrices: cheap to see outside of the graph --------------------------------------------


@pytest.mark.parametrize(
    "solver", ["scipy:bfgs", "scipy:cg", "scipy:slsqp", "scipy:cobyla", "scipy:nelder-mead"]
)
def test_matrices_are_as_many_as_declared(solver):
    verdict = judge(find_check("dense_matrices"), Case.of(solver))

    assert verdict.outcome == "passed", verdict.message


def test_trust_krylov_reserves_matrices_that_it_does_not_touch():
    reason = "SciPy reserves 2 x 2 n² numbers and touches one row a Lanczos step"

    verdict = judge(
        find_check("dense_matrices"), Case.of("scipy:trust-krylov"), {"dense_matrices": reason}
    )

    assert verdict.outcome == "known failure"
