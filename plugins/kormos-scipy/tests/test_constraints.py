"""General constraints in SciPy's forms, with and without bounds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg
from scipy.optimize import LinearConstraint, NonlinearConstraint

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_scipy.constraints import largest_violation
from kormos_scipy.specs import SPECS

ABLE = [name for name in SPECS if "constraints" in SPECS[name].supports]
UNABLE = [name for name in SPECS if "constraints" not in SPECS[name].supports]
INF = np.inf

# SciPy tells that a constraint is linear, and that two contradict each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore:delta_grad == 0.0:UserWarning"),
    pytest.mark.filterwarnings("ignore:Singular Jacobian matrix:UserWarning"),
]


def disk(**options):
    return NonlinearConstraint(lambda x: [x @ x], -INF, 1.0, **options)


CONSTRAINTS = {
    "disk": [disk()],
    "disk with derivatives": [
        disk(jac=lambda x: 2 * x[None, :], hess=lambda x, v: 2 * v[0] * np.eye(x.size))
    ],
    "disk as a dict": [{"type": "ineq", "fun": lambda x: 1 - x @ x, "jac": lambda x: -2 * x}],
    "disk as a dict with arguments": [
        {"type": "ineq", "fun": lambda x, r: r - x @ x, "args": (1.0,)}
    ],
    "plane": [LinearConstraint(np.ones((1, 4)), 1.0, 1.0)],
    "plane as a dict": [{"type": "eq", "fun": lambda x: x.sum() - 1.0}],
    "half-space": [LinearConstraint(np.ones((1, 4)), -INF, -0.2)],
    "half-space and disk": [LinearConstraint(np.ones((1, 4)), -INF, -0.7), disk()],
}
# by SLSQP with ftol=1e-15 from three starts, constraints written by hand
MINIMA = {
    "disk": 0.276905419,
    "disk with derivatives": 0.276905419,
    "disk as a dict": 0.276905419,
    "disk as a dict with arguments": 0.276905419,
    "plane": 0.209698799,
    "plane as a dict": 0.209698799,
    "half-space": 0.008387952,
    "half-space and disk": 0.290320655,
}


# COBYLA's tol is 1e-4 on the parameters; COBYQA ends early where two constraints are active.
LEFT = {"cobyqa": 2e-4}


@pytest.mark.parametrize("case", CONSTRAINTS)
@pytest.mark.parametrize("name", ABLE)
def test_constraints_are_kept_and_the_minimum_in_them_is_found(name, case, build, solve):
    objective = build("round", constraints=CONSTRAINTS[case])

    result = solve(name, objective)

    assert result.converged
    assert largest_violation(objective.constraints, result.x) <= 1e-6
    assert result.loss == pytest.approx(MINIMA[case], abs=LEFT.get(name, 2e-6))


@pytest.mark.parametrize("name", ABLE)
def test_constraints_hold_together_with_bounds_and_fixed_parameters(name, build, solve):
    sparse_like = LinearConstraint(np.ones((1, 4)), -INF, 0.2)
    round_ = disk(jac=lambda x: 2 * x[None, :], hess=lambda x, v: 2 * v[0] * np.eye(x.size))
    bounds = [[-2, 0.3, -2, -2], [3, 0.3, 3, 3]]
    objective = build("round", x0=[1, 0.3, 1, 1], bounds=bounds, constraints=[sparse_like, round_])

    result = solve(name, objective)

    assert result.converged
    assert result.x[1] == 0.3
    assert largest_violation(objective.constraints, result.x) <= 1e-6
    assert result.loss == pytest.approx(1.2618845, abs=2e-6)  # all four methods agree


@pytest.mark.parametrize("name", ABLE)
def test_constraints_that_contradict_each_other_are_told(name, build, solve):
    apart = LinearConstraint(np.ones((2, 4)), [1.0, -INF], [INF, -1.0])
    objective = build("round", constraints=[apart])

    result = solve(name, objective, maxiter=500)

    assert result.status is Status.CONSTRAINTS_VIOLATED
    assert "The largest violation is" in result.message


@pytest.mark.parametrize("seed", range(6))
def test_trust_constr_finds_its_way_from_outside_the_constraints(seed, build, solve):
    # SciPy's strict bounds get stuck on these: the plane is violated at the start
    rng = np.random.default_rng(seed)
    plane = LinearConstraint(rng.normal(size=(1, 4)), -INF, 0.1)
    bounds = [[-0.7] * 4, [2.0] * 4]
    objective = build("long", bounds=bounds, constraints=[plane])
    slsqp = solve("slsqp", build("long", bounds=bounds, constraints=[plane]), ftol=1e-12)

    result = solve("trust-constr", objective)

    assert result.converged
    assert result.loss == pytest.approx(slsqp.loss, abs=1e-6)


@pytest.mark.parametrize("name", UNABLE)
def test_a_method_without_constraints_refuses_them(name, build, solve):
    objective = build("round", constraints=[disk()])

    with pytest.raises(UnsupportedError, match=rf"scipy:{name} does not honor constraints"):
        solve(name, objective)


@pytest.mark.parametrize("name", ABLE)
def test_a_constraint_of_unknown_form_is_refused(name, build, solve):
    with pytest.raises(UnsupportedError, match="constraint of type int is not usable"):
        solve(name, build("round", constraints=[3]))


def test_what_scipy_would_ignore_is_refused(build, solve):
    objective = build("round", constraints=[disk(keep_feasible=True)])

    with pytest.raises(UnsupportedError, match=r"would go on after warning.*keep_feasible"):
        solve("slsqp", objective)


def test_equations_and_inequalities_may_share_a_constraint(build, solve):
    both = LinearConstraint(np.eye(4)[:2], [0.1, -INF], [0.1, 0.2])
    objective = build("round", constraints=[both])

    result = solve("slsqp", objective)

    assert result.x[0] == pytest.approx(0.1, abs=1e-9)


def test_sparsity_of_a_jacobian_with_fixed_parameters_is_refused(build, solve):
    sparse = disk(jac="2-point", finite_diff_jac_sparsity=np.ones((1, 4)))
    bounds = [[-2, 2.0, -2, -2], [3, 2.0, 3, 3]]
    objective = build("round", bounds=bounds, constraints=[sparse])

    with pytest.raises(UnsupportedError, match="finite_diff_jac_sparsity cannot be combined"):
        solve("trust-constr", objective)


FIXED = [[-2, 0.3, -2, -2], [3, 0.3, 3, 3]]
FORMS = {
    "dict": {"type": "ineq", "fun": lambda x: 1 - x @ x, "jac": lambda x: -2 * x},
    "dict with arguments": {
        "type": "ineq",
        "fun": lambda x, r: r - x @ x,
        "jac": lambda x, r: -2 * x,
        "args": (1.0,),
    },
    "differences": disk(jac="2-point", finite_diff_rel_step=np.full(4, 1e-7)),
    "sparse": disk(
        jac=lambda x: scipy.sparse.csr_array(2 * x[None, :]),
        hess=lambda x, v: scipy.sparse.csr_array(2 * v[0] * np.eye(x.size)),
    ),
}


# SciPy's SLSQP takes neither steps of differences nor sparse Jacobians
@pytest.mark.parametrize(
    ("name", "form"),
    [("slsqp", "dict"), ("slsqp", "dict with arguments")]
    + [("trust-constr", form) for form in FORMS],
)
def test_every_form_of_a_constraint_goes_with_fixed_parameters(name, form, build, solve):
    objective = build("round", x0=[1, 0.3, 1, 1], bounds=FIXED, constraints=[FORMS[form]])

    result = solve(name, objective)

    assert result.converged
    assert result.x[1] == 0.3
    assert result.x @ result.x == pytest.approx(1.0, abs=1e-6)
    assert result.loss == pytest.approx(1.2618834, abs=1e-6)  # both methods, all forms


def test_a_hessian_without_rows_is_refused_beside_fixed_parameters(build, solve):
    operator = disk(
        jac=lambda x: 2 * x[None, :],
        hess=lambda x, v: scipy.sparse.linalg.aslinearoperator(2 * v[0] * np.eye(x.size)),
    )
    objective = build("round", x0=[1, 0.3, 1, 1], bounds=FIXED, constraints=[operator])

    with pytest.raises(UnsupportedError, match="which has no rows to leave out"):
        solve("trust-constr", objective)


def test_constraints_are_looked_at_where_all_parameters_are_fixed(build, solve):
    everything = [[2.0] * 4, [2.0] * 4]
    objective = build("round", bounds=everything, constraints=[disk()])

    result = solve("slsqp", objective)

    assert result.status is Status.CONSTRAINTS_VIOLATED


@pytest.mark.parametrize("name", ["slsqp", "trust-constr", "cobyla"])
@pytest.mark.parametrize(
    "constraint",
    [
        {"type": "equality", "fun": lambda x: x[0]},
        {"fun": lambda x: x[0]},
        {"type": "eq"},
        {"type": 1, "fun": lambda x: x[0]},
    ],
    ids=["kind", "no kind", "no function", "number"],
)
def test_a_dict_that_is_no_constraint_is_refused(name, constraint, build, solve):
    with pytest.raises(UnsupportedError, match="Allowed is a dict whose 'type' is 'eq' or 'ineq'"):
        solve(name, build("round", constraints=[constraint]))
