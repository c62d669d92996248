"""SciPy's least squares: against SciPy itself, and the laws of iterates, counts and stops."""

from __future__ import annotations

import importlib
import inspect
import itertools

import numpy as np
import pytest
import scipy.optimize

from kormos_core import BatchOptimizer, Status, StopSolve
from kormos_core.errors import UnsupportedError
from kormos_scipy.least_squares_methods import LEAST_SQUARES_METHODS
from kormos_scipy.least_squares_specs import LEAST_SQUARES

NAMES = list(LEAST_SQUARES)
TRUST_REGION = ["least-squares-trf", "least-squares-dogbox"]
PROBLEMS = ["bent", "straight", "decay", "outliers", "weighted"]


@pytest.mark.parametrize("name", NAMES)
def test_every_spec_is_complete(name):
    spec = LEAST_SQUARES[name]

    assert spec.kind == "least-squares"
    assert spec.needs == {"value", "grad", "residuals"}
    assert "stop" in spec.supports
    assert ("bounds" in spec.supports) is (name in TRUST_REGION)
    assert spec.dtypes == {"float32", "float64"}
    assert spec.aliases == ()
    assert not spec.default
    assert spec.summary.endswith(".")
    assert spec.citation
    assert LEAST_SQUARES_METHODS[name].spec is spec


@pytest.mark.parametrize("name", NAMES)
def test_every_factory_makes_an_immutable_solver_from_nothing(name, make):
    module, cls = LEAST_SQUARES[name].factory.split(":")
    solver = make(name)

    assert type(solver) is getattr(importlib.import_module(module), cls)
    assert type(solver).__dataclass_params__.frozen
    assert not hasattr(solver, "__dict__")
    expected = inspect.signature(BatchOptimizer.minimize).parameters
    assert list(inspect.signature(type(solver).minimize).parameters) == list(expected)
    assert "References" in inspect.getdoc(solver)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_solve_ends_where_scipy_itself_does(name, problem, sum_of_squares, solve, scipy_result):
    objective = sum_of_squares(problem)
    reference = scipy_result(name, objective)

    result = solve(name, objective)

    # the same arithmetic on the same numbers
    np.testing.assert_array_equal(result.x, reference.x)
    assert result.raw.nfev == reference.nfev
    assert result.raw.njev == reference.njev
    assert result.raw.status == reference.status
    assert result.loss == pytest.approx(reference.cost, rel=1e-15)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", TRUST_REGION)
def test_products_alone_end_where_scipy_itself_does(
    name, problem, sum_of_squares, solve, scipy_result
):
    objective = sum_of_squares(problem)
    reference = scipy_result(name, objective, lsmr=True)

    result = solve(name, objective, tr_solver="lsmr")

    np.testing.assert_allclose(result.x, reference.x, rtol=1e-12, atol=1e-15)
    assert result.raw.nfev == reference.nfev
    assert objective.counts.value_and_grad == 0


@pytest.mark.parametrize("problem", [*PROBLEMS, "underdetermined"])
@pytest.mark.parametrize("name", TRUST_REGION)
def test_products_and_the_matrix_find_the_same_minimum(name, problem, sum_of_squares, solve):
    exact = solve(name, sum_of_squares(problem), tr_solver="exact")
    lsmr = solve(name, sum_of_squares(problem), tr_solver="lsmr")

    # ftol leaves 1e-8 of the loss
    assert lsmr.loss == pytest.approx(exact.loss, rel=1e-7, abs=1e-12)
    assert lsmr.converged
    assert exact.converged


@pytest.mark.parametrize("name", NAMES)
def test_a_linear_fit_is_the_normal_equations_solution(name, sum_of_squares, solve):
    objective = sum_of_squares("straight")
    X, y = objective.j(objective.x0), -objective.r(np.zeros(4))
    expected = np.linalg.solve(X.T @ X, X.T @ y)

    result = solve(name, objective)

    np.testing.assert_allclose(result.x, expected, rtol=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", NAMES)
def test_residuals_and_jacobians_are_counted_once_a_point(name, problem, sum_of_squares, solve):
    objective = sum_of_squares(problem)

    result = solve(name, objective)

    # one Jacobian at the start and at each accepted iterate; rejected points have none
    assert objective.counts.value == result.raw.nfev == len(set(objective.seen))
    assert objective.counts.value_and_grad == 1 + result.num_iterations
    assert objective.counts.hvp == 0


@pytest.mark.parametrize("name", TRUST_REGION)
def test_products_for_a_vector_of_zeros_are_not_asked_for(name, sum_of_squares, solve):
    # SciPy multiplies zeros for each operator that it builds, to learn its dtype
    objective = sum_of_squares("straight")
    jvp, directions = objective.jvp, []
    objective.jvp = lambda x, v: directions.append(v.copy()) or jvp(x, v)

    solve(name, objective, tr_solver="lsmr")

    assert directions
    assert all(v.any() for v in directions)


@pytest.mark.parametrize("problem", ["bent", "decay", "outliers"])
@pytest.mark.parametrize("name", NAMES)
def test_every_accepted_iterate_is_reported_once_in_order(name, problem, sum_of_squares, solve):
    objective = sum_of_squares(problem)

    result = solve(name, objective)

    losses = [objective.f(x) for x in [objective.x0, *objective.iterates]]
    assert len(objective.iterates) == result.num_iterations > 0
    np.testing.assert_array_equal(objective.iterates[-1], result.x)
    assert all(b < a for a, b in itertools.pairwise(losses))


def test_rejected_steps_are_no_iterates(sum_of_squares, solve):
    objective = sum_of_squares("bent")

    result = solve("least-squares-trf", objective)

    assert result.raw.nfev > 1 + result.num_iterations


@pytest.mark.parametrize("maxiter", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_iteration_limit_counts_accepted_iterates(name, maxiter, sum_of_squares, solve):
    objective = sum_of_squares("bent")

    result = solve(name, objective, maxiter=maxiter)

    assert len(objective.iterates) == result.num_iterations == maxiter
    assert result.status is Status.MAX_ITER
    assert f"maxiter={maxiter}" in result.message
    np.testing.assert_array_equal(result.x, objective.iterates[-1])
    assert result.loss == objective.f(result.x)
    assert result.raw is None


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_below_one_is_refused(name, sum_of_squares, solve):
    with pytest.raises(UnsupportedError, match=r"maxiter=0 is not usable"):
        solve(name, sum_of_squares("bent"), maxiter=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_of_evaluations_is_obeyed_and_named(name, sum_of_squares, solve):
    objective = sum_of_squares("bent")

    result = solve(name, objective, max_nfev=5)

    assert result.status is Status.MAX_EVALS
    assert "max_nfev=5; set a higher one" in result.message
    assert objective.counts.value == 5


@pytest.mark.parametrize(
    "signal",
    [
        StopSolve(Status.STOPPED_BY_CALLBACK),
        KeyboardInterrupt(),
        StopIteration("mine"),
        ValueError("mine"),
        np.linalg.LinAlgError("mine"),
    ],
    ids=lambda signal: type(signal).__name__,
)
@pytest.mark.parametrize("name", NAMES)
def test_what_the_callback_raises_passes_untouched(name, signal, sum_of_squares, solve):
    objective = sum_of_squares("bent")
    counts_at_stop = []

    def stop_at_second(_x):
        if len(objective.iterates) == 2:
            counts_at_stop.append(objective.counts.fg)
            raise signal

    with pytest.raises(type(signal)) as caught:
        solve(name, objective, callback=stop_at_second)

    assert caught.value is signal
    assert len(objective.iterates) == 2
    assert counts_at_stop == [objective.counts.fg]


@pytest.mark.parametrize(
    "signal",
    [StopSolve(Status.MAX_TIME), KeyboardInterrupt(), StopIteration("mine"), TypeError("mine")],
    ids=lambda signal: type(signal).__name__,
)
@pytest.mark.parametrize("where", ["r", "j"])
@pytest.mark.parametrize("at_eval", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_what_the_objective_raises_passes_untouched(
    name, at_eval, where, signal, sum_of_squares, solve
):
    objective = sum_of_squares("bent")
    evaluate, calls = getattr(objective, where), []

    def interrupted(x):
        calls.append(x)
        if len(calls) == at_eval:
            raise signal
        return evaluate(x)

    setattr(objective, where, interrupted)

    with pytest.raises(type(signal)) as caught:
        solve(name, objective)

    assert caught.value is signal
    assert len(calls) == at_eval


@pytest.mark.parametrize("name", TRUST_REGION)
def test_what_a_product_raises_passes_untouched(name, sum_of_squares, solve):
    signal = StopSolve(Status.MAX_TIME)
    objective = sum_of_squares("bent")

    def interrupted(_x, _v):
        raise signal

    objective.jvp = interrupted

    with pytest.raises(StopSolve) as caught:
        solve(name, objective, tr_solver="lsmr")

    assert caught.value is signal


@pytest.mark.parametrize("name", NAMES)
def test_the_same_call_gives_the_same_bits(name, sum_of_squares, solve):
    first = solve(name, sum_of_squares("outliers"))
    second = solve(name, sum_of_squares("outliers"))

    assert first.x.tobytes() == second.x.tobytes()
    assert first.loss == second.loss


@pytest.mark.parametrize("loss", ["linear", "huber"])
@pytest.mark.parametrize("name", TRUST_REGION)
def test_arrays_of_the_objective_are_not_written_to(name, loss, sum_of_squares, solve):
    # SciPy scales residuals and Jacobian of a robust loss in place
    objective = sum_of_squares("outliers", x0=[1.5, 1.0, 0.2])
    kept = []

    def frozen(evaluate):
        def evaluate_frozen(x):
            array = evaluate(x)
            array.setflags(write=False)
            kept.append(array)
            return array

        return evaluate_frozen

    objective.residuals = frozen(objective.residuals)
    objective.jacobian = frozen(objective.jacobian)
    objective.x0.setflags(write=False)

    result = solve(name, objective, loss=loss, **({"f_scale": 0.1} if loss == "huber" else {}))

    assert result.converged
    assert kept


@pytest.mark.parametrize("name", NAMES)
def test_the_callback_owns_what_it_is_given(name, sum_of_squares, solve):
    expected = solve(name, sum_of_squares("bent"))

    result = solve(name, sum_of_squares("bent"), callback=lambda x: x.fill(np.nan))

    assert result.x.tobytes() == expected.x.tobytes()


def test_more_parameters_than_residuals_are_not_for_lm(sum_of_squares, solve):
    message = r"cannot fit 5 parameters to 3 residuals.* at least as many .*:least-squares-trf"

    with pytest.raises(UnsupportedError, match=message):
        solve("least-squares-lm", sum_of_squares("underdetermined"))


@pytest.mark.parametrize("name", TRUST_REGION)
def test_more_parameters_than_residuals_are_fitted(name, sum_of_squares, solve):
    result = solve(name, sum_of_squares("underdetermined"))

    assert result.converged
    assert result.loss < 1e-15


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_without_residuals_is_refused(name, build, solve):
    with pytest.raises(UnsupportedError, match=rf"scipy:{name} needs residuals, and Analytic"):
        solve(name, build("round"))


def test_an_input_that_minpack_calls_improper_is_an_error(sum_of_squares, solve, monkeypatch):
    # what kormos checks keeps MINPACK from it
    refused = scipy.optimize.OptimizeResult(status=-1, message="Improper input", x=np.zeros(2))
    monkeypatch.setattr(scipy.optimize, "least_squares", lambda *_args, **_kwargs: refused)

    with pytest.raises(UnsupportedError, match=r"SciPy .* refuses .* Improper input"):
        solve("least-squares-lm", sum_of_squares("bent"))
