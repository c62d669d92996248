"""Every method on every kind of problem, with SciPy itself as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from kormos_core import Status
from kormos_scipy.specs import SPECS

# What the default tolerances leave above the minimum, relative to 1 + |minimum|. COBYLA's
# linear models creep along valleys; the others stop on losses or steps of about 1e-6.
LEFT = {"cobyla": 1e-1, "powell": 1e-4, "slsqp": 1e-6, "tnc": 1e-2, "nelder-mead": 1e-7}

PROBLEMS = ("round", "long", "negative", "rosenbrock", "valley", "logistic")


def scipy_result(name, objective, **arguments):
    """Call SciPy as its documentation has it, its limits apart."""
    needs = SPECS[name].needs
    options = {} if name == "tnc" else {"maxiter": 10**6}
    return scipy.optimize.minimize(
        objective.f,
        objective.x0,
        method=name,
        jac=objective.g if "grad" in needs else None,
        hessp=(lambda x, v: objective.h(x) @ v) if "hvp" in needs else None,
        hess=objective.h if "hessian" in needs else None,
        options=options,
        **arguments,
    )


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", SPECS)
def test_every_method_reaches_the_minimum(name, problem, build, solve):
    objective = build(problem)

    result = solve(name, objective)

    above = result.loss - objective.minimum
    assert result.loss == objective.f(result.x)
    assert -1e-9 <= above <= LEFT.get(name, 1e-7) * (1 + abs(objective.minimum))


@pytest.mark.parametrize("problem", ["round", "negative", "logistic"])
@pytest.mark.parametrize("name", SPECS)
def test_every_method_ends_where_scipy_itself_does(name, problem, build, solve):
    objective = build(problem)
    reference = scipy_result(name, objective)

    result = solve(name, objective)

    # the same arithmetic; TNC's parameters alone are scaled back and forth once more
    np.testing.assert_allclose(result.x, reference.x, rtol=1e-12, atol=1e-15)
    assert result.raw.nfev == reference.nfev


@pytest.mark.parametrize("name", SPECS)
def test_a_tolerance_means_what_it_means_to_scipy(name, build, solve):
    objective = build("round")
    reference = scipy_result(name, objective, tol=1e-2)

    result = solve(name, objective, tol=1e-2)

    np.testing.assert_allclose(result.x, reference.x, rtol=1e-12, atol=1e-15)
    assert result.raw.nfev == reference.nfev


@pytest.mark.parametrize("name", [name for name in SPECS if "grad" in SPECS[name].needs])
def test_a_value_and_a_gradient_at_one_point_cost_one_evaluation(name, build, solve):
    objective = build("valley")

    result = solve(name, objective)

    assert objective.counts.value == 0
    assert objective.counts.value_and_grad <= result.raw.nfev
    # cg's second line search begins with a trial point of the first
    assert objective.num_repeated <= (name == "cg")


@pytest.mark.parametrize("name", [name for name in SPECS if "grad" not in SPECS[name].needs])
def test_a_method_without_derivatives_takes_values_only(name, build, solve):
    objective = build("logistic")

    result = solve(name, objective)

    assert objective.counts.value_and_grad == 0
    assert objective.counts.hvp == 0
    assert objective.counts.value <= result.raw.nfev


@pytest.mark.parametrize("name", SPECS)
def test_products_are_taken_only_by_the_methods_that_say_so(name, build, solve):
    objective = build("round")

    solve(name, objective)

    assert bool(objective.counts.hvp) is bool({"hvp", "hessian"} & SPECS[name].needs)


@pytest.mark.parametrize("name", SPECS)
def test_the_same_call_gives_the_same_bits(name, build, solve):
    first, second = solve(name, build("logistic")), solve(name, build("logistic"))

    assert first.x.tobytes() == second.x.tobytes()
    assert (first.loss, first.status, first.num_iterations) == (
        second.loss,
        second.status,
        second.num_iterations,
    )


@pytest.mark.parametrize("name", SPECS)
def test_the_start_is_not_written_to(name, build, make):
    objective = build("round")
    start = objective.x0.copy()
    start.setflags(write=False)

    make(name).minimize(objective, start, maxiter=5, callback=lambda x: x.fill(0.0))

    np.testing.assert_array_equal(start, objective.x0)


@pytest.mark.parametrize("name", [name for name in SPECS if "grad" in SPECS[name].needs])
def test_a_start_at_the_minimum_ends_at_once(name, build, solve):
    objective = build("round", x0=np.linspace(-1, 1, 4))

    result = solve(name, objective)

    assert objective.iterates == []
    assert result.num_iterations == 0
    assert result.status in {Status.GRAD_TOL, Status.F_TOL}
    assert result.converged
