from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from scipy import optimize

import kormos
from kormos import Status
from kormos_core.errors import (
    BoundsError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)

LM = "native:levenberg-marquardt"
T = np.linspace(0.0, 4.0, 30)
Y = 2.5 * np.exp(-1.3 * T) + 0.05 * np.cos(7.0 * T)
START = [1.0, 1.0]


def decay(b):
    return b[0] * ops.exp(-b[1] * T) - Y


def decay_in_numpy(b):
    return b[0] * np.exp(-b[1] * T) - Y


# its least is of a loss of 0.02 and curvatures near 1
BEST = optimize.least_squares(decay_in_numpy, START, method="lm", xtol=1e-15, ftol=1e-15)


class Watch(keras.callbacks.Callback):
    """Record losses and points, and stop after some iterations."""

    def __init__(self, last: int = 1000) -> None:
        super().__init__()
        self.last, self.losses, self.points = last, [], []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        self.points.append(np.array(self.model.get_weights()[0]))
        self.model.stop_training = epoch + 1 >= self.last


WATCH = Watch()


@pytest.fixture(scope="module")
def fitted() -> kormos.Result:
    return kormos.least_squares(decay, START, callbacks=[WATCH])


# --- minima ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "hvp"),
    [
        ("native:gauss-newton", None),
        ("native:newton-cg", "gauss-newton"),
        ("native:lbfgs", None),
        ("scipy:least-squares-trf", None),
        ("scipy:least-squares-lm", None),
        ("scipy:newton-cg", "gauss-newton"),
        ("scipy:l-bfgs-b", None),
    ],
)
def test_solvers_of_all_kinds_find_what_scipy_finds(solver, hvp):
    result = kormos.least_squares(decay, START, solver=solver, hvp=hvp)

    assert result.converged, result
    assert result.solver == solver
    np.testing.assert_allclose(result.x, BEST.x, rtol=0, atol=1e-5)  # of gradients near 1e-5
    assert result.loss == pytest.approx(BEST.cost, rel=1e-8)


def test_results_are_measured(fitted):
    r = decay_in_numpy(fitted.x)
    jac = np.column_stack([np.exp(-fitted.x[1] * T), -fitted.x[0] * T * (r + Y) / fitted.x[0]])

    assert fitted.loss == pytest.approx(0.5 * r @ r, rel=1e-14)
    assert fitted.grad_norm == pytest.approx(np.linalg.norm(jac.T @ r), abs=1e-13)
    assert fitted.wall_time_s > 0


def test_residuals_come_in_any_structure(fitted):
    result = kormos.least_squares(
        lambda b: {"late": [ops.reshape(decay(b)[10:], (4, 5))], "early": decay(b)[:10]}, START
    )

    np.testing.assert_allclose(result.x, fitted.x, rtol=1e-9)
    assert result.loss == pytest.approx(fitted.loss, rel=1e-12)
    assert result.degrees_of_freedom == T.size - 2


def test_there_may_be_fewer_residuals_than_parameters():
    result = kormos.least_squares(
        lambda b: ops.stack([b[0] * b[1] - 1.0, b[1] + b[2] ** 2 - 2.0]), [1.0, 2.0, 3.0]
    )

    assert result.converged
    assert result.loss < 1e-20


def test_there_may_be_a_single_residual():
    result = kormos.least_squares(lambda b: ops.exp(b[0]) + b[1] - 3.0, [0.0, 0.0])

    assert np.exp(result.x[0]) + result.x[1] == pytest.approx(3.0, abs=1e-10)


@pytest.mark.parametrize("solver", [LM, "scipy:least-squares-trf"])
def test_parameters_may_be_redundant(solver):
    line = np.linalg.lstsq(np.column_stack([T, np.ones_like(T)]), Y)

    # only the sum of the first two matters
    result = kormos.least_squares(
        lambda b: (b[0] + b[1]) * T + b[2] - Y, [1.0, 2.0, 0.0], solver=solver
    )

    assert result.loss == pytest.approx(0.5 * line[1][0], rel=1e-10)
    np.testing.assert_allclose([result.x[:2].sum(), result.x[2]], line[0], rtol=0, atol=1e-7)


def test_residuals_in_float32_are_fitted_to_their_precision():
    result = kormos.least_squares(lambda b: ops.cast(decay(b), "float32"), START)

    np.testing.assert_allclose(result.x, BEST.x, rtol=0, atol=1e-4)
    assert result.status in {Status.STAGNATED, Status.F_TOL, Status.X_TOL, Status.GRAD_TOL}


def test_bounds_are_kept():
    result = kormos.least_squares(
        decay, [1.0, 0.5], solver="scipy:least-squares-trf", bounds=[(0.0, 5.0), (0.0, 1.0)]
    )

    bounded = optimize.least_squares(
        decay_in_numpy, [1.0, 0.5], bounds=([0.0, 0.0], [5.0, 1.0]), xtol=1e-14
    )
    assert np.all(result.x <= [5.0, 1.0])
    np.testing.assert_allclose(result.x, bounded.x, rtol=0, atol=1e-5)


# --- counts, limits, callbacks -----------------------------------------------------------


def test_evaluations_are_counted_as_scipy_counts_them():
    result = kormos.least_squares(decay, START, solver="scipy:least-squares-lm")

    assert result.fg_evals >= result.raw.nfev
    assert result.hessp_evals == 0


def test_in_the_graph_each_iteration_is_a_sweep_for_rows_and_one_for_each_trial(fitted):
    assert fitted.hessp_evals == 0
    assert fitted.fg_evals >= 2 * fitted.num_iterations


def test_the_same_call_gives_the_same_bits_and_leaves_the_start_alone(fitted):
    start = np.array(START)

    again = kormos.least_squares(decay, start)

    np.testing.assert_array_equal(again.x, fitted.x)
    np.testing.assert_array_equal(start, START)
    assert (again.loss, again.fg_evals) == (fitted.loss, fitted.fg_evals)


def test_the_iteration_limit_is_kept():
    result = kormos.least_squares(decay, START, solver="scipy:least-squares-trf", maxiter=2)

    assert (result.num_iterations, result.status) == (2, Status.MAX_ITER)


def test_callbacks_see_each_iteration_and_its_point(fitted):
    assert len(WATCH.losses) == fitted.num_iterations
    for loss, x in zip(WATCH.losses, WATCH.points, strict=True):
        assert loss == pytest.approx(0.5 * np.sum(decay_in_numpy(x) ** 2), rel=1e-12)
    np.testing.assert_array_equal(WATCH.points[-1], fitted.x)


@pytest.mark.parametrize("solver", [LM, "scipy:least-squares-trf"])
def test_a_callback_may_stop_it(solver):
    result = kormos.least_squares(decay, START, solver=solver, callbacks=[Watch(last=2)])

    assert (result.num_iterations, result.status) == (2, Status.STOPPED_BY_CALLBACK)


def test_an_instance_brings_its_options_and_keeps_the_result():
    carrier = kormos.BatchOptimizer(LM, options={"linear_solver": "cholesky"}, epochs=3)

    result = kormos.least_squares(decay, START, solver=carrier, options={"factor": 10.0})

    assert (result.num_iterations, result.status) == (3, Status.MAX_ITER)
    assert carrier.results == [result]


# --- what is not finite ------------------------------------------------------------------


def logarithms(b):
    return ops.log(b) - np.array([-3.0, 2.0])


@pytest.mark.parametrize("solver", [LM, "native:gauss-newton"])
def test_a_step_to_where_residuals_are_not_finite_is_shortened(solver):
    # from 8 the step of Gauss and Newton goes far below 0
    result = kormos.least_squares(logarithms, [8.0, 8.0], solver=solver)

    assert result.converged
    np.testing.assert_allclose(result.x, np.exp([-3.0, 2.0]), rtol=1e-8)


@pytest.mark.parametrize("solver", [LM, "scipy:least-squares-trf"])
def test_a_start_that_is_not_finite_is_told(solver):
    result = kormos.least_squares(logarithms, [-1.0, 1.0], solver=solver)

    assert result.status is Status.NONFINITE
    assert "at the starting point" in result.message
    np.testing.assert_array_equal(result.x, [-1.0, 1.0])
    with pytest.raises(UnsupportedError, match=r"no statistics of residuals.*a finite point"):
        result.covariance()


# --- misuse ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, r"not a function: 3\. Allowed"),
        (
            lambda b: ops.cast(b, "int32"),
            r"gives int\d\d, which has no derivative\. Allowed.*Cast",
        ),
        (lambda b: 3, r"gives int\d\d, which has no derivative"),
        (lambda b: b[:0], r"gives a tensor of shape \(0,\), and so no residuals\. Allowed"),
        (lambda b: [], r"gives 0 tensors, and so no residuals"),
        (lambda b: None, r"cannot be traced: .*Allowed is one that makes residuals"),
        (lambda b: b.missing, r"cannot be traced: AttributeError"),
    ],
)
def test_what_gives_no_residuals_is_refused(function, message):
    with pytest.raises(UnsupportedError, match=message):
        kormos.least_squares(function, START)


@pytest.mark.parametrize(
    ("x0", "message"),
    [
        (1.0, r"not a flat vector: shape \(\)"),
        ([START], r"not a flat vector: shape \(1, 2\)\. Allowed is shape \(n,\)"),
        ([], r"not a flat vector: shape \(0,\)"),
        ("x", r"not a vector of numbers: 'x'"),
    ],
)
def test_a_start_of_another_shape_is_refused(x0, message):
    with pytest.raises(BoundsError, match=message):
        kormos.least_squares(decay, x0)


def test_bounds_that_are_not_honored_are_refused_with_solvers_that_do():
    with pytest.raises(
        UnsupportedError, match=r"levenberg-marquardt does not honor bounds.*least-squares-trf"
    ):
        kormos.least_squares(decay, START, bounds=[(0.0, 5.0), (0.0, 1.0)])


def test_solvers_and_options_that_do_not_exist_are_refused():
    with pytest.raises(UnknownSolverError, match=r"unknown solver 'native:marquardt'"):
        kormos.least_squares(decay, START, solver="native:marquardt")
    with pytest.raises(UnknownOptionError, match=r"'lambda0'"):
        kormos.least_squares(decay, START, options={"lambda0": 1.0})


def test_a_single_number_goes_to_other_solvers():
    with pytest.raises(UnsupportedError, match=r"needs residuals.*pass such to kormos\.least_sq"):
        kormos.minimize(lambda b: ops.sum(decay(b) ** 2), START, solver=LM)


def test_residuals_go_to_least_squares():
    with pytest.raises(UnsupportedError, match=r"shape \(30,\), and a solver minimizes a single"):
        kormos.minimize(decay, START)
