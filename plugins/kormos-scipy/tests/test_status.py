"""Why a solve ended: measured, not believed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from kormos_core import Status
from kormos_scipy.specs import SPECS

GRADIENT = [name for name in SPECS if "grad" in SPECS[name].needs]

# name, problem, options, status
ENDINGS = [
    ("l-bfgs-b", "round", {}, Status.GRAD_TOL),
    ("l-bfgs-b", "long", {}, Status.F_TOL),
    ("l-bfgs-b", "valley", {"maxfun": 5}, Status.MAX_EVALS),
    ("bfgs", "valley", {}, Status.GRAD_TOL),
    ("bfgs", "valley", {"gtol": 0.0, "xrtol": 1e-2}, Status.X_TOL),
    ("cg", "valley", {}, Status.GRAD_TOL),
    ("newton-cg", "logistic", {}, Status.X_TOL),
    ("tnc", "round", {}, Status.GRAD_TOL),
    ("tnc", "rosenbrock", {}, Status.F_TOL),
    ("tnc", "logistic", {"gtol": 0.0, "ftol": 0.0, "xtol": 1e-2}, Status.X_TOL),
    ("tnc", "valley", {"maxfun": 10}, Status.MAX_EVALS),
    ("trust-ncg", "valley", {}, Status.GRAD_TOL),
    ("trust-krylov", "valley", {}, Status.GRAD_TOL),
    ("trust-exact", "valley", {}, Status.GRAD_TOL),
    ("dogleg", "rosenbrock", {}, Status.GRAD_TOL),
    ("trust-constr", "valley", {}, Status.GRAD_TOL),
    ("trust-constr", "valley", {"gtol": 0.0}, Status.X_TOL),
    ("slsqp", "round", {}, Status.F_TOL),
    ("nelder-mead", "round", {}, Status.X_TOL),
    ("nelder-mead", "valley", {"maxfev": 20}, Status.MAX_EVALS),
    ("nelder-mead", "valley", {"maxfev": 2}, Status.MAX_EVALS),
    ("powell", "round", {}, Status.F_TOL),
    ("powell", "valley", {"maxfev": 50}, Status.MAX_EVALS),
    ("cobyla", "round", {}, Status.X_TOL),
    ("cobyla", "round", {"f_target": 1.0}, Status.F_TOL),
    ("cobyqa", "round", {}, Status.X_TOL),
    ("cobyqa", "round", {"f_target": 1.0}, Status.F_TOL),
    ("cobyqa", "valley", {"maxfev": 20}, Status.MAX_EVALS),
    ("cobyqa", "valley", {"maxfev": 2}, Status.MAX_EVALS),
]


@pytest.mark.parametrize(("name", "problem", "options", "status"), ENDINGS)
def test_a_solve_tells_why_it_ended(name, problem, options, status, build, solve):
    objective = build(problem)

    result = solve(name, objective, **options)

    assert result.status is status
    assert result.message.startswith(status.value)
    assert result.loss == objective.f(result.x)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("l-bfgs-b", "maxfun", 5),
        ("tnc", "maxfun", 10),
        ("nelder-mead", "maxfev", 20),
        ("powell", "maxfev", 50),
        ("cobyqa", "maxfev", 20),
    ],
)
def test_a_limit_of_evaluations_is_obeyed_and_named(name, option, value, build, solve):
    objective = build("valley")

    result = solve(name, objective, **{option: value})

    assert f"{option}={value}" in result.message
    # L-BFGS-B looks after an iteration, whose line search takes at most 20
    assert objective.counts.fg <= value + (20 if name == "l-bfgs-b" else 1)


def test_a_limit_that_is_scipys_own_is_told(build, solve):
    # max(100, 10 n) evaluations do not take TNC through the whole valley
    result = solve("tnc", build("rosenbrock", x0=[-1.2, 1.0, 0.5]))

    assert result.status is Status.MAX_EVALS
    assert "SciPy's default for maxfun; set a higher one" in result.message


@pytest.mark.parametrize("name", ["l-bfgs-b", "bfgs", "cg", "tnc"])
def test_a_gradient_that_does_not_belong_to_the_loss_is_a_failed_line_search(name, build, solve):
    wrong = build("round")
    right = wrong.g
    wrong.g = lambda x: -right(x)

    result = solve(name, wrong)

    assert result.status is Status.LINESEARCH_FAILED
    np.testing.assert_allclose(result.x, wrong.x0, rtol=1e-12)  # L-BFGS-B's step shrinks to that


@pytest.mark.parametrize("name", ["l-bfgs-b", "bfgs", "cg", "tnc"])
def test_a_loss_in_single_precision_ends_as_stagnated(name, build, solve):
    objective = build("logistic")
    f, g = objective.f, objective.g
    objective.f = lambda x: float(np.float32(f(x)))
    objective.g = lambda x: g(x).astype(np.float32)
    options = {"gtol": 0.0}
    if name in {"l-bfgs-b", "tnc"}:
        options["ftol"] = 0.0
    if name == "tnc":
        options["xtol"] = 0.0

    result = solve(name, objective, **options)

    assert result.status is Status.STAGNATED
    assert result.loss - objective.minimum < 1e-6


def test_an_indefinite_hessian_ends_dogleg(build, solve):
    objective = build("round", h=lambda x: -np.eye(4))

    result = solve("dogleg", objective)

    assert result.status is Status.LINESEARCH_FAILED
    assert "non-psd Hessian" in result.message


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # trust-krylov's 0 / 0
@pytest.mark.parametrize("name", ["trust-ncg", "trust-krylov", "trust-exact", "dogleg"])
def test_a_trust_region_without_progress_is_stagnated(name, build, solve):
    objective = build("logistic")

    result = solve(name, objective, gtol=0.0)

    assert result.status in {Status.STAGNATED, Status.GRAD_TOL}
    # where a step gains less than the loss's rounding, about the root of it
    assert np.linalg.norm(objective.g(result.x)) < 1e-7


@pytest.mark.parametrize("name", GRADIENT)
def test_grad_tol_is_only_said_of_a_small_gradient(name, build, solve):
    for problem in ("round", "long", "rosenbrock", "logistic"):
        objective = build(problem)

        result = solve(name, objective)

        if result.status is Status.GRAD_TOL:
            # the loosest default of all is trust-ncg's 1e-4, Euclidean
            assert np.linalg.norm(objective.g(result.x)) <= 1.01e-4


def test_a_general_constraint_is_no_reason_to_call_the_gradient_small(build, solve):
    plane = LinearConstraint(np.ones((1, 4)), 1.0, 1.0)
    objective = build("round", constraints=[plane])

    result = solve("trust-constr", objective)

    assert result.status is Status.GRAD_TOL  # of the Lagrangian
    assert np.abs(objective.g(result.x)).max() > 0.1


@pytest.mark.parametrize("name", SPECS)
def test_scipys_own_words_are_kept(name, build, solve):
    result = solve(name, build("round"))

    assert str(result.raw.message).strip() in result.message
