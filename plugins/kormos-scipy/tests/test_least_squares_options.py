"""Options of SciPy's least squares: all of them reach SciPy, and the rest is refused."""

from __future__ import annotations

import inspect
import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import scipy.optimize
from scipy.sparse.linalg import LinearOperator

from kormos_core.errors import UnsupportedError
from kormos_scipy import least_squares_run
from kormos_scipy.least_squares_specs import LEAST_SQUARES

NAMES = list(LEAST_SQUARES)
TRUST_REGION = [name for name, spec in LEAST_SQUARES.items() if "bounds" in spec.supports]
TRF, DOGBOX, LM = NAMES

# A value other than the default for every option that has no other one beside it; n = 3.
_COMMON = {"ftol": 1e-7, "xtol": 1e-6, "gtol": 1e-5, "x_scale": [1.0, 2.0, 3.0], "max_nfev": 77}
_ROBUST = {"loss": "cauchy", "f_scale": 0.3, "tr_solver": "lsmr"}
VALUES = {
    TRF: {**_COMMON, **_ROBUST, "tr_options": {"regularize": False, "damp": 1e-3, "maxiter": 9}},
    DOGBOX: {**_COMMON, **_ROBUST, "tr_options": {"atol": 1e-9, "btol": 1e-9, "conlim": 1e7}},
    LM: _COMMON,
}


@pytest.fixture
def spy(monkeypatch):
    """Record the arguments of SciPy's least_squares, and let it run."""
    calls = []
    least_squares = scipy.optimize.least_squares
    signature = inspect.signature(least_squares)

    def record(*args, **kwargs):
        calls.append(dict(signature.bind(*args, **kwargs).arguments))
        return least_squares(*args, **kwargs)

    monkeypatch.setattr(scipy.optimize, "least_squares", record)
    return calls


def names_of(solver):
    return {field.name for field in fields(solver)} - {"tol"}


@pytest.mark.parametrize("name", NAMES)
def test_every_option_reaches_scipy(name, spy, sum_of_squares, solve, make):
    objective = sum_of_squares("decay")

    solve(name, objective, **VALUES[name])

    passed = spy[0]
    assert set(VALUES[name]) == names_of(make(name))
    assert passed["method"] == name.removeprefix("least-squares-")
    for option, value in VALUES[name].items():
        if option == "loss":
            z = np.linspace(0, 2, 25)
            np.testing.assert_allclose(passed["loss"](z)[0], 0.09 * np.log1p(z / 0.09))
        elif option != "f_scale":
            np.testing.assert_array_equal(passed[option], value)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_scipys_own(name, make):
    defaults = inspect.signature(scipy.optimize.least_squares).parameters

    solver = make(name)

    for option in names_of(solver):
        assert getattr(solver, option) == defaults[option].default


@pytest.mark.parametrize("name", NAMES)
def test_the_general_tolerance_yields_to_none_but_defaults(name, spy, sum_of_squares, solve):
    solve(name, sum_of_squares("decay"), tol=1e-3)
    solve(name, sum_of_squares("decay"), tol=1e-3, xtol=1e-5)

    assert [spy[0][option] for option in ("ftol", "xtol", "gtol")] == [1e-3] * 3
    assert [spy[1][option] for option in ("ftol", "xtol", "gtol")] == [1e-3, 1e-5, 1e-3]


@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_test_that_is_left_out_does_not_end_a_solve(name, sum_of_squares, solve):
    by_gradient = solve(name, sum_of_squares("decay"), ftol=None, xtol=None)
    by_loss = solve(name, sum_of_squares("decay"), xtol=None, gtol=None)

    assert by_gradient.raw.status == 1
    assert by_loss.raw.status == 2


@pytest.mark.parametrize("x_scale", ["jac", 2.0, [0.5, 1.0, 2.0]])
@pytest.mark.parametrize("name", NAMES)
def test_scales_mean_what_they_mean_to_scipy(name, x_scale, sum_of_squares, solve, scipy_result):
    objective = sum_of_squares("decay")
    reference = scipy_result(name, objective, x_scale=x_scale)

    result = solve(name, objective, x_scale=x_scale)

    np.testing.assert_array_equal(result.x, reference.x)
    assert result.raw.nfev == reference.nfev


@pytest.mark.parametrize("name", NAMES)
def test_a_scale_of_another_length_is_refused(name, sum_of_squares, solve):
    with pytest.raises(UnsupportedError, match=r"x_scale of shape \(2,\) does not fit 3 param"):
        solve(name, sum_of_squares("decay"), x_scale=[1.0, 2.0])


@pytest.mark.parametrize(
    ("limit", "value", "matrix"),
    [
        ("MAX_DENSE_PARAMETERS", 3, True),
        ("MAX_DENSE_PARAMETERS", 2, False),
        ("MAX_DENSE_NUMBERS", 75, True),
        ("MAX_DENSE_NUMBERS", 74, False),
    ],
)
@pytest.mark.parametrize("name", TRUST_REGION)
def test_the_jacobian_is_a_matrix_up_to_a_size(
    name, limit, value, matrix, monkeypatch, sum_of_squares, solve
):
    monkeypatch.setattr(least_squares_run, limit, value)
    objective = sum_of_squares("decay")  # 25 residuals, 3 parameters

    result = solve(name, objective)

    assert isinstance(result.raw.jac, np.ndarray) is matrix
    assert isinstance(result.raw.jac, LinearOperator) is not matrix
    assert bool(objective.counts.hvp) is not matrix


@pytest.mark.parametrize("name", TRUST_REGION)
def test_a_matrix_that_is_asked_for_is_built(name, monkeypatch, sum_of_squares, solve):
    monkeypatch.setattr(least_squares_run, "MAX_DENSE_PARAMETERS", 2)

    result = solve(name, sum_of_squares("decay"), tr_solver="exact", x_scale="jac")

    assert isinstance(result.raw.jac, np.ndarray)


@pytest.mark.parametrize("name", TRUST_REGION)
def test_scales_of_a_matrix_that_is_not_built_are_refused(
    name, monkeypatch, sum_of_squares, solve
):
    monkeypatch.setattr(least_squares_run, "MAX_DENSE_PARAMETERS", 2)
    message = r"x_scale='jac'.* 25 residuals by 3 parameters is not built.*tr_solver='exact'"

    with pytest.raises(UnsupportedError, match=message):
        solve(name, sum_of_squares("decay"), x_scale="jac")


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_documented(name, make):
    doc = inspect.getdoc(make(name))

    for option in names_of(make(name)) | {"tol"}:
        assert f"\n{option} : " in doc.split("\nNotes\n")[0]


@pytest.mark.parametrize("name", NAMES)
def test_solvers_are_immutable_comparable_and_hashable(name, make):
    solver, same = make(name, **VALUES[name]), make(name, **VALUES[name])

    assert solver == same
    assert hash(solver) == hash(same)
    assert solver != make(name)
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        solver.tol = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_solver_is_made_again_from_its_fields(name, make):
    solver = make(name, **VALUES[name])

    again = type(solver)(**{field.name: getattr(solver, field.name) for field in fields(solver)})

    assert again == solver


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused(name, make):
    with pytest.raises(TypeError, match="unexpected keyword argument 'diff_step'"):
        make(name, diff_step=1e-6)


@pytest.mark.parametrize("option", ["loss", "f_scale", "tr_solver", "tr_options"])
def test_lm_has_no_option_that_it_does_not_honor(option, make):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        make(LM, **{option: VALUES[TRF][option]})


_LSMR = {"tr_solver": "lsmr"}
INVALID = [
    (TRF, {"ftol": 1e-17}, r"option ftol=1e-17 .* a finite number from 2.22.*e-16 on, or None"),
    (TRF, {"xtol": -1.0}, "option xtol=-1.0"),
    (DOGBOX, {"gtol": math.nan}, "option gtol=nan"),
    (DOGBOX, {"tol": 0}, "option tol=0"),
    (TRF, {"ftol": None, "xtol": None, "gtol": None}, "contradict .* Give one of them at least"),
    (TRF, {"x_scale": 0.0}, "option x_scale=0.0 .* 'jac', a finite number above 0"),
    (TRF, {"x_scale": [1.0, -1.0]}, "option x_scale="),
    (TRF, {"x_scale": [[1.0]]}, "option x_scale="),
    (DOGBOX, {"x_scale": "jacobian"}, "option x_scale='jacobian'"),
    (DOGBOX, {"x_scale": True}, "option x_scale=True"),
    (DOGBOX, {"x_scale": math.inf}, "option x_scale=inf"),
    (TRF, {"loss": "l1"}, "option loss='l1' .* one of 'linear', 'soft_l1', 'huber', 'cauchy'"),
    (TRF, {"loss": np.square}, "option loss="),
    (TRF, {"loss": "huber", "f_scale": 0.0}, "option f_scale=0.0 .* above 0"),
    (DOGBOX, {"f_scale": 0.1}, r"loss='linear', f_scale=0.1 .* contradict .* Leave it out"),
    (TRF, {"tr_solver": "svd"}, "option tr_solver='svd' .* 'exact', 'lsmr', or None"),
    (TRF, {"tr_options": {"atol": 1e-9}}, "tr_options are for tr_solver='lsmr'"),
    (TRF, {"tr_solver": "exact", "tr_options": {"atol": 1e-9}}, "are for tr_solver='lsmr'"),
    (TRF, {**_LSMR, "tr_options": {"show": True}}, "option tr_options=.* mapping of regularize"),
    (TRF, {**_LSMR, "tr_options": {"regularize": 1}}, "option tr_options="),
    (TRF, {**_LSMR, "tr_options": {"maxiter": 0}}, "option tr_options="),
    (TRF, {**_LSMR, "tr_options": 3}, "option tr_options=3"),
    (TRF, {**_LSMR, "tr_options": (1, 2)}, "option tr_options="),
    (DOGBOX, {**_LSMR, "tr_options": {"regularize": True}}, "option tr_options=.* of damp"),
    (TRF, {**_LSMR, "x_scale": "jac"}, "x_scale='jac' takes the Jacobian as a matrix"),
    (TRF, {"max_nfev": 0}, "option max_nfev=0 .* whole number, 1 or above, or None"),
    (LM, {"ftol": None}, r"option ftol=None .* a finite number from 2.22.*e-16 on\."),
    (LM, {"gtol": 0.0}, "option gtol=0.0"),
    (LM, {"x_scale": -1}, "option x_scale=-1"),
    (LM, {"max_nfev": 2.5}, "option max_nfev=2.5"),
]


@pytest.mark.parametrize(("name", "options", "message"), INVALID)
def test_a_value_that_an_option_cannot_take_is_refused(name, options, message, make):
    with pytest.raises(UnsupportedError, match=message):
        make(name, **options)


def test_the_smallest_tolerance_is_the_one_that_scipy_takes(sum_of_squares, solve):
    eps = float(np.finfo(float).eps)

    result = solve(LM, sum_of_squares("straight"), ftol=eps, xtol=eps, gtol=eps)

    assert result.raw.status > 0
