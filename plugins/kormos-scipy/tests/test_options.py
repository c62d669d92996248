"""Options: all of them reach SciPy, and what cannot be used is refused."""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import scipy.optimize

from kormos_core.errors import UnsupportedError
from kormos_scipy.specs import SPECS

EYE = np.eye(4)

# A value other than the default for every option of every method; for n = 4 parameters.
VALUES = {
    "l-bfgs-b": {"maxcor": 7, "ftol": 1e-7, "gtol": 1e-4, "maxfun": 77, "maxls": 11},
    "bfgs": {
        "gtol": 1e-4,
        "norm": 2.0,
        "xrtol": 1e-9,
        "c1": 1e-3,
        "c2": 0.8,
        "hess_inv0": 0.5 * EYE,
    },
    "cg": {"gtol": 1e-4, "norm": 2.0, "c1": 1e-3, "c2": 0.3},
    "newton-cg": {"xtol": 1e-4, "c1": 1e-3, "c2": 0.8},
    "tnc": {
        "scale": np.full(4, 2.0),
        "offset": np.full(4, 0.1),
        "maxCGit": 3,
        "eta": 0.3,
        "stepmx": 5.0,
        "accuracy": 1e-7,
        "minfev": -1.0,
        "ftol": 1e-6,
        "xtol": 1e-6,
        "gtol": 1e-4,
        "rescale": 2.0,
        "maxfun": 77,
    },
    "trust-ncg": {
        "initial_trust_radius": 0.5,
        "max_trust_radius": 50.0,
        "eta": 0.1,
        "gtol": 1e-3,
    },
    "trust-krylov": {
        "initial_trust_radius": 0.5,
        "max_trust_radius": 50.0,
        "eta": 0.1,
        "gtol": 1e-3,
        "inexact": False,
    },
    "trust-exact": {
        "initial_trust_radius": 0.5,
        "max_trust_radius": 50.0,
        "eta": 0.1,
        "gtol": 1e-3,
        "subproblem_maxiter": 9,
    },
    "dogleg": {"initial_trust_radius": 0.5, "max_trust_radius": 50.0, "eta": 0.1, "gtol": 1e-3},
    "trust-constr": {
        "xtol": 1e-7,
        "gtol": 1e-6,
        "barrier_tol": 1e-7,
        "initial_tr_radius": 0.5,
        "initial_constr_penalty": 2.0,
        "initial_barrier_parameter": 0.2,
        "initial_barrier_tolerance": 0.2,
        "sparse_jacobian": True,
        "factorization_method": "AugmentedSystem",
    },
    "slsqp": {"ftol": 1e-5},
    "nelder-mead": {
        "xatol": 1e-3,
        "fatol": 1e-3,
        "adaptive": True,
        "initial_simplex": np.vstack([np.full(4, 2.0), np.full(4, 2.0) - EYE]),
        "maxfev": 777,
    },
    "powell": {"xtol": 1e-3, "ftol": 1e-3, "direc": EYE[::-1], "maxfev": 777},
    "cobyla": {"rhobeg": 0.5, "catol": 1e-5, "f_target": -7.0},
    "cobyqa": {
        "initial_tr_radius": 0.5,
        "final_tr_radius": 1e-5,
        "feasibility_tol": 1e-7,
        "f_target": -7.0,
        "scale": True,
        "maxfev": 77,
    },
}


@pytest.fixture
def spy(monkeypatch):
    """Record the arguments of SciPy's minimize, and let it run."""
    calls = []
    minimize = scipy.optimize.minimize
    signature = inspect.signature(minimize)

    def record(*args, **kwargs):
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        calls.append({**arguments, "options": copy.deepcopy(arguments["options"])})
        return minimize(*args, **kwargs)

    monkeypatch.setattr(scipy.optimize, "minimize", record)
    return calls


def names_of(solver):
    return {field.name for field in fields(solver)} - {"tol"}


@pytest.mark.parametrize("name", SPECS)
def test_every_option_reaches_scipy_which_knows_it(name, spy, build, solve, make):
    # an option that this SciPy does not know would raise
    solve(name, build("round"), **VALUES[name])

    passed = spy[0]["options"]
    assert set(VALUES[name]) == names_of(make(name))
    assert set(passed) - {"maxiter"} == set(VALUES[name])
    for option, value in VALUES[name].items():
        np.testing.assert_array_equal(passed[option], value)


@pytest.mark.parametrize("name", SPECS)
def test_the_general_tolerance_yields_to_none_but_defaults(name, spy, build, solve):
    solve(name, build("round"), tol=1e-3)
    solve(name, build("round"), tol=1e-3, **VALUES[name])

    alone, beside = spy[0], spy[1]
    assert alone["tol"] == beside["tol"] == 1e-3
    assert not {"gtol", "xtol", "ftol", "xatol", "fatol", "final_tr_radius"} & set(
        alone["options"]
    )
    for option, value in VALUES[name].items():
        np.testing.assert_array_equal(beside["options"][option], value)


@pytest.mark.parametrize(("name", "limit"), [("bfgs", 2000), ("trust-ncg", 2**31 - 1)])
def test_scipys_limit_is_left_open_where_it_counts_something_else(name, limit, spy, build, solve):
    solve(name, build("round"), maxiter=2000)

    assert spy[0]["options"]["maxiter"] == limit


def test_trust_constr_with_bounds_ends_by_the_test_of_kormos(spy, build, solve):
    bounds = [[-0.5] * 4, [3.0] * 4]

    loose = solve("trust-constr", build("round", bounds=bounds), gtol=1e-2, barrier_tol=1e-2)
    tight = solve("trust-constr", build("round", bounds=bounds))

    assert [call["options"]["gtol"] for call in spy] == [0.0, 0.0]
    assert loose.num_iterations < tight.num_iterations


@pytest.mark.parametrize("name", SPECS)
def test_every_option_is_documented(name, make):
    doc = inspect.getdoc(make(name))

    for option in names_of(make(name)) | {"tol"}:
        assert option in doc.split("Notes")[0]


@pytest.mark.parametrize("name", SPECS)
def test_solvers_are_immutable_comparable_and_hashable(name, make):
    solver, same = make(name, **VALUES[name]), make(name, **VALUES[name])

    assert solver == same
    assert hash(solver) == hash(same)
    assert solver != make(name)
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        solver.tol = 1.0


@pytest.mark.parametrize("name", SPECS)
def test_an_unknown_option_is_refused(name, make):
    with pytest.raises(TypeError, match="unexpected keyword argument 'maxcors'"):
        make(name, maxcors=20)


INVALID = [
    ("l-bfgs-b", {"maxcor": 0}, r"option maxcor=0 of LBFGSB .* whole number, 1 or above.*is 10"),
    ("l-bfgs-b", {"maxcor": 2.5}, "option maxcor=2.5"),
    ("l-bfgs-b", {"maxcor": True}, "option maxcor=True"),
    ("l-bfgs-b", {"maxcor": "10"}, "option maxcor='10'"),
    ("l-bfgs-b", {"ftol": -1e-9}, "option ftol=-1e-09 .* a finite number, 0 or above"),
    ("l-bfgs-b", {"gtol": math.nan}, "option gtol=nan"),
    ("l-bfgs-b", {"maxfun": 0}, "option maxfun=0"),
    ("l-bfgs-b", {"maxls": 0}, "option maxls=0"),
    ("l-bfgs-b", {"tol": "tight"}, "option tol='tight' .* or None"),
    ("bfgs", {"norm": 0}, "option norm=0"),
    ("bfgs", {"xrtol": -1.0}, "option xrtol=-1.0"),
    ("bfgs", {"c1": 0.95}, r"options c1=0.95, c2=0.9 of BFGS contradict .* Keep 0 < c1 < c2 < 1"),
    ("bfgs", {"hess_inv0": [1.0, 2.0]}, "an array of finite numbers with 2 dimension"),
    ("bfgs", {"hess_inv0": "eye"}, "option hess_inv0='eye'"),
    ("cg", {"c2": 1.5}, "Keep 0 < c1 < c2 < 1"),
    ("newton-cg", {"xtol": None}, "option xtol=None"),
    ("newton-cg", {"c1": 0.0}, "option c1=0.0 .* a finite number above 0"),
    ("tnc", {"eta": 1.0}, "Keep eta below 1"),
    ("tnc", {"maxCGit": -2}, "option maxCGit=-2"),
    ("tnc", {"scale": [[1.0]]}, "with 1 dimension"),
    ("trust-ncg", {"eta": 0.25}, r"option eta=0.25 .* from 0 on and below 0.25"),
    ("trust-ncg", {"initial_trust_radius": 1e4}, "Keep the initial radius below the largest"),
    ("trust-krylov", {"inexact": 1}, "option inexact=1 .* True or False"),
    ("trust-exact", {"subproblem_maxiter": 0}, "option subproblem_maxiter=0"),
    ("dogleg", {"max_trust_radius": 0.0}, "option max_trust_radius=0.0"),
    ("trust-constr", {"factorization_method": "LU"}, "one of 'NormalEquation', 'Augmented"),
    ("trust-constr", {"initial_tr_radius": math.inf}, "option initial_tr_radius=inf"),
    ("slsqp", {"ftol": -1.0}, "option ftol=-1.0"),
    ("nelder-mead", {"adaptive": "yes"}, "option adaptive='yes'"),
    ("nelder-mead", {"initial_simplex": [[np.nan]]}, "an array of finite numbers"),
    ("powell", {"maxfev": 0}, "option maxfev=0 .* whole number, 1 or above, or None"),
    ("cobyla", {"rhobeg": 1e-5}, "Keep the last radius, tol, at most the first one, rhobeg"),
    ("cobyla", {"tol": 0.0}, "option tol=0.0"),
    ("cobyqa", {"final_tr_radius": 2.0}, "Keep the last radius at most the first"),
    ("cobyqa", {"tol": 2.0}, "Keep the last radius at most the first"),
]


@pytest.mark.parametrize(("name", "options", "message"), INVALID)
def test_a_value_that_an_option_cannot_take_is_refused(name, options, message, make):
    with pytest.raises(UnsupportedError, match=message):
        make(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("bfgs", {"hess_inv0": np.eye(3)}, r"\(4, 4\)"),
        ("tnc", {"scale": [1.0]}, r"\(4,\)"),
        ("tnc", {"offset": [1.0]}, r"\(4,\)"),
        ("nelder-mead", {"initial_simplex": np.eye(4)}, r"\(5, 4\)"),
        ("powell", {"direc": np.eye(3)}, r"\(4, 4\)"),
    ],
)
def test_an_array_of_the_wrong_shape_is_refused(name, options, shape, build, solve):
    with pytest.raises(UnsupportedError, match=rf"does not fit 4 parameters.*{shape}"):
        solve(name, build("round"), **options)


@pytest.mark.parametrize("name", ["tnc", "nelder-mead", "powell"])
def test_an_array_beside_fixed_parameters_is_refused(name, build, solve):
    option = {"tnc": "scale", "nelder-mead": "initial_simplex", "powell": "direc"}[name]
    objective = build("round", bounds=[[2.0, -1, -1, -1], [2.0, 3, 3, 3]])

    with pytest.raises(UnsupportedError, match=r"parameters that their bounds fix: 1 of 4"):
        solve(name, objective, **{option: VALUES[name][option]})


def test_directions_that_do_not_span_are_refused(build, solve):
    # SciPy warns that some parameters may not be optimized, and goes on
    with pytest.raises(UnsupportedError, match=r"SciPy .* would go on .* not full rank"):
        solve("powell", build("round"), direc=np.zeros((4, 4)))


def test_an_option_that_scipy_does_not_know_is_refused(monkeypatch, build, solve):
    minimize = scipy.optimize.minimize

    def another_scipy(*args, options, **kwargs):
        return minimize(*args, options={**options, "maxcors": 20}, **kwargs)

    monkeypatch.setattr(scipy.optimize, "minimize", another_scipy)

    with pytest.raises(UnsupportedError, match="Unknown solver options: maxcors"):
        solve("l-bfgs-b", build("round"))
