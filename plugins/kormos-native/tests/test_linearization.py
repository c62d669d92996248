"""The residuals' linear model, with and without a matrix, against NumPy's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from native_graphs import tensor
from native_squares import (
    PROBLEMS,
    CountingSquares,
    SquaresGraph,
    decay,
    linear,
    make_matrix,
    rows_at,
    unused,
)

from kormos_core import Status
from kormos_core.loop import RUNNING, code_of
from kormos_native.linearization import choose_solver, code_at, linearize
from kormos_native.truncated import truncated_model

ops = keras.ops

SOLVERS = ["qr", "cholesky", "cg"]
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def model_at(solver, residuals, x, *, scale=None, radius=None, maxcg=None):
    """Return the model at a point, and the objective, which counts."""
    graph = CountingSquares(residuals, len(x))
    if solver == "cg":
        edge = None if radius is None else tensor(radius)
        return truncated_model(graph, tensor(x), edge, maxcg), graph
    scale = np.zeros(len(x)) if scale is None else scale
    return linearize(graph, tensor(x), tensor(scale), solver), graph


@pytest.mark.parametrize("name", PROBLEMS)
@every_solver
def test_loss_and_gradient_are_those_of_the_residuals(solver, name):
    residuals, x = PROBLEMS[name]
    r, J = rows_at(residuals, x)

    at, graph = model_at(solver, residuals, x)

    assert float(at.f) == pytest.approx(0.5 * r @ r, rel=1e-12)
    np.testing.assert_allclose(at.g, J.T @ r, rtol=1e-9, atol=1e-12)
    assert graph.num_fg == 1


@pytest.mark.parametrize("name", PROBLEMS)
@every_solver
def test_a_step_promises_what_the_linear_model_falls_by(solver, name):
    residuals, x = PROBLEMS[name]
    r, J = rows_at(residuals, x)
    at, _ = model_at(solver, residuals, x, radius=1e3)

    for step in (at.within(tensor(0.1), tensor(0.0)), at.within(tensor(1e3), tensor(1.0))):
        s = np.array(step.s)
        falls = 0.5 * r @ r - 0.5 * np.sum((r + J @ s) ** 2)
        assert float(step.promised) == pytest.approx(falls, rel=1e-9, abs=1e-12)
        scale = np.ones(len(x)) if solver == "cg" else np.linalg.norm(J, axis=0)
        assert float(step.length) == pytest.approx(np.linalg.norm(scale * s), rel=1e-9)


@every_solver
def test_steps_end_at_the_edge_of_a_region(solver):
    at, _ = model_at(solver, decay, np.ones(3), radius=1.0)

    for radius in (1.0, 0.1, 1e-3):
        step = at.within(tensor(radius), tensor(0.0))
        # the damping is found to 10 %
        assert float(step.length) == pytest.approx(radius, rel=0.1)
        assert float(step.damping) > 0.0


@pytest.mark.parametrize("name", ["decay", "valley", "unused"])
@every_solver
def test_the_undamped_step_is_that_of_gauss_and_newton(solver, name):
    residuals, x = PROBLEMS[name]
    r, J = rows_at(residuals, x)

    step = model_at(solver, residuals, x)[0].undamped()

    # conjugate gradients end at a hundredth of the gradient
    change = r + J @ np.array(step.s)
    left = J.T @ change
    tolerance = 1e-2 if solver == "cg" else 1e-9
    assert np.linalg.norm(left) <= tolerance * np.linalg.norm(J.T @ r)
    assert float(step.damping) == 0.0
    falls = 0.5 * r @ r - 0.5 * change @ change
    assert float(step.promised) == pytest.approx(falls, rel=1e-9)


@pytest.mark.parametrize("solver", ["qr", "cholesky"])
def test_the_cosine_is_the_largest_of_all_columns(solver):
    r, J = rows_at(decay, np.ones(3))

    at, _ = model_at(solver, decay, np.ones(3))

    cosines = np.abs(J.T @ r) / (np.linalg.norm(J, axis=0) * np.linalg.norm(r))
    assert float(at.cosine) == pytest.approx(cosines.max(), rel=1e-9)


def test_without_a_matrix_the_cosine_is_that_of_steepest_descent():
    r, J = rows_at(decay, np.ones(3))

    at, _ = model_at("cg", decay, np.ones(3))

    along = J @ (J.T @ r)
    cosine = r @ along / (np.linalg.norm(along) * np.linalg.norm(r))
    assert float(at.cosine) == pytest.approx(cosine, rel=1e-9)


@pytest.mark.parametrize("unit", [1e-8, 1e8])
@every_solver
def test_the_cosine_does_not_depend_on_the_units_of_the_residuals(solver, unit):
    plain, _ = model_at(solver, decay, np.ones(3))

    other, _ = model_at(solver, lambda x: unit * decay(x), np.ones(3))

    assert float(other.cosine) == pytest.approx(float(plain.cosine), rel=1e-9)


@pytest.mark.parametrize("solver", ["qr", "cholesky"])
def test_the_scale_never_shrinks(solver):
    lengths = np.linalg.norm(rows_at(decay, np.ones(3))[1], axis=0)
    before = lengths * [2.0, 0.5, 1.0]

    at, _ = model_at(solver, decay, np.ones(3), scale=before)

    np.testing.assert_allclose(at.scale, lengths * [2.0, 1.0, 1.0], rtol=1e-12)


@every_solver
def test_a_parameter_that_does_nothing_does_not_move(solver):
    at, _ = model_at(solver, unused, PROBLEMS["unused"][1])

    step = at.undamped()

    assert float(step.s[2]) == 0.0
    assert float(at.scale[2]) == (1.0 if solver == "cg" else 0.0)


@every_solver
def test_the_undamped_step_of_too_few_residuals_is_the_shortest(solver):
    J, y = make_matrix(4, 9, 3.0), np.arange(1.0, 5.0)
    lengths = np.ones(9) if solver == "cg" else np.linalg.norm(J, axis=0)

    step = model_at(solver, linear(J, y), np.zeros(9), maxcg=50)[0].undamped()

    # in scaled parameters; of Cholesky's least damping rounding errors are no small part
    shortest = np.linalg.pinv(J / lengths) @ y
    tolerance = {"qr": 1e-9, "cholesky": 0.1, "cg": 0.05}[solver]
    error = np.linalg.norm(lengths * np.array(step.s) - shortest)
    assert error <= tolerance * np.linalg.norm(shortest)


def test_qr_keeps_digits_that_squares_lose():
    J, x = make_matrix(20, 5, 1e9), np.linspace(1.0, 2.0, 5)
    errors = {}
    for solver in ("qr", "cholesky"):
        step = model_at(solver, linear(J, J @ x), np.zeros(5))[0].undamped()
        errors[solver] = np.abs(np.array(step.s) / x - 1.0).max()

    # rounding errors times the condition, and times its square
    assert errors["qr"] < 1e-6
    assert errors["cholesky"] > 1e-2


@pytest.mark.parametrize("size", [1e5, 1e20])
def test_a_large_gradient_has_a_long_step_without_a_matrix(size):
    J, x = make_matrix(6, 4, 3.0), np.arange(1.0, 5.0)

    step = model_at("cg", linear(size * J, size * J @ x), np.zeros(4), maxcg=50)[0].undamped()

    np.testing.assert_allclose(step.s, x, rtol=0.05)


def test_products_are_counted_and_shorter_steps_cost_none():
    at, graph = model_at("cg", decay, np.ones(3), radius=10.0)

    for radius in (10.0, 1.0, 1e-2):
        at.within(tensor(radius), tensor(0.0))

    assert graph.products == [int(at.num_products)]
    assert 1 <= int(at.num_products) <= 20


def test_no_more_products_are_made_than_asked_for():
    at, graph = model_at("cg", linear(np.diag(np.geomspace(1, 9, 9)), np.ones(9)), np.zeros(9))
    few, other = model_at(
        "cg", linear(np.diag(np.geomspace(1, 9, 9)), np.ones(9)), np.zeros(9), maxcg=2
    )

    assert graph.products[0] > 2
    assert other.products == [2]
    assert int(few.num_products) == 2
    assert float(few.undamped().promised) < float(at.undamped().promised)


@pytest.mark.parametrize("solver", ["qr", "cholesky"])
def test_a_jacobian_that_is_not_finite_ends_the_solve_and_raises_nothing(solver):
    at, _ = model_at(solver, lambda x: ops.sqrt(x - 1.0), np.array([2.0, 0.0]))

    code = code_at(at, at.f, 1e-8, spent=False)

    assert np.isnan(at.g[1])
    assert int(code) == code_of(Status.NONFINITE)
    at.within(tensor(1.0), tensor(0.0))
    at.undamped()


@pytest.mark.parametrize(
    ("f", "spent", "cosine", "expected"),
    [
        (1.0, False, 1e-3, RUNNING),
        (1.0, False, 1e-9, code_of(Status.GRAD_TOL)),
        (0.0, False, 1.0, code_of(Status.GRAD_TOL)),
        (1.0, True, 1e-3, code_of(Status.MAX_EVALS)),
        (1.0, True, 1e-9, code_of(Status.GRAD_TOL)),
        (np.nan, True, 1e-9, code_of(Status.NONFINITE)),
        (np.inf, False, 1e-3, code_of(Status.NONFINITE)),
    ],
)
def test_a_solve_ends_before_a_step_for_one_reason(f, spent, cosine, expected):
    at, _ = model_at("qr", decay, np.ones(3))

    code = code_at(at._replace(cosine=tensor(cosine)), tensor(f), 1e-8, spent=spent)

    assert int(code) == expected


@pytest.mark.parametrize(
    ("asked", "size", "solver"),
    [
        ("auto", 200, "qr"),
        ("auto", 201, "cholesky"),
        ("auto", 3000, "cholesky"),
        ("auto", 3001, "cg"),
        ("qr", 9999, "qr"),
        ("cholesky", 3, "cholesky"),
        ("cg", 3, "cg"),
    ],
)
def test_the_linear_solver_is_chosen_by_size_unless_asked_for(asked, size, solver):
    assert choose_solver(asked, size) == solver


def test_the_models_agree():
    graph = SquaresGraph(decay, 3)
    x, zeros = tensor(np.ones(3)), tensor(np.zeros(3))
    steps = []
    for solver in ("qr", "cholesky"):
        at = linearize(graph, x, zeros, solver)
        steps.append(at.within(tensor(0.5), tensor(0.0)))

    np.testing.assert_allclose(steps[0].s, steps[1].s, rtol=1e-9)
    assert float(steps[0].damping) == pytest.approx(float(steps[1].damping), rel=1e-9)
