from __future__ import annotations

import csv
import signal

import keras
import numpy as np
import pytest
from keras import ops
from scipy import optimize
from training.problems import (
    BOUNDED,
    CONSTRAINED,
    GRADIENT_FREE,
    METHODS,
    SECOND_ORDER,
    stop_training,
)

import kormos
from kormos import Status
from kormos_core import Result
from kormos_core.errors import (
    BoundsError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

CENTER = np.array([1.0, -2.0, 3.0])
SCALE = np.array([1.0, 4.0, 9.0])

# Where a method ends a parabola with a loss e above its least, x is within sqrt(e) of it.
# The direct searches end at 1e-4 in x or f by default.
DISTANCE = {"nelder-mead": 1e-3, "powell": 1e-3, "cobyla": 1e-3, "slsqp": 1e-2}
CLOSE = 1e-4


def quadratic(x):
    center, scale = ops.convert_to_tensor(CENTER), ops.convert_to_tensor(SCALE)
    return 0.5 * ops.sum(scale * ops.square(x - center)) + 7.0


def rosenbrock(x):
    return ops.sum(100.0 * ops.square(x[1:] - ops.square(x[:-1])) + ops.square(1.0 - x[:-1]))


def bowl(x):
    """Rise like an exponential: convex, and no method gets it in one step."""
    center = ops.convert_to_tensor(CENTER)
    return ops.sum(ops.exp(x - center) + ops.exp(center - x))


def assert_near(method, x, expected):
    np.testing.assert_allclose(x, expected, rtol=0, atol=DISTANCE.get(method, CLOSE))


# --- minima ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_least_of_a_parabola(method):
    result = kormos.minimize(quadratic, np.zeros(3), solver=method)

    assert result.converged, result
    assert_near(method, result.x, CENTER)
    assert result.loss == pytest.approx(7.0, abs=1e-4)
    assert result.solver == f"scipy:{method}"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_bottom_of_a_bowl(method):
    result = kormos.minimize(bowl, np.zeros(3), solver=method)

    assert result.converged, result
    assert_near(method, result.x, CENTER)


# dogleg needs a Hessian that is positive definite all the way; COBYLA's linear models take
# thousands of steps along a curved valley
@pytest.mark.parametrize("method", [m for m in METHODS if m not in {"dogleg", "cobyla"}])
def test_methods_find_the_way_along_rosenbrocks_valley(method):
    tol = {"nelder-mead": 1e-9, "slsqp": 1e-12, "powell": 1e-9}.get(method)

    result = kormos.minimize(rosenbrock, [-1.2, 1.0], solver=method, tol=tol)

    # along the valley the loss is a hundred times flatter than across
    np.testing.assert_allclose(result.x, [1.0, 1.0], rtol=0, atol=5e-3)
    assert result.loss < 1e-5


def test_dogleg_tells_that_a_hessian_is_not_positive_definite():
    result = kormos.minimize(rosenbrock, [0.0, 1.0], solver="dogleg")

    assert result.status is Status.LINESEARCH_FAILED
    np.testing.assert_array_equal(result.x, [0.0, 1.0])


@pytest.mark.parametrize("method", METHODS)
def test_results_are_measured(method):
    result = kormos.minimize(quadratic, np.zeros(3), solver=method)

    gradient = SCALE * (result.x - CENTER)
    value = 0.5 * np.sum(SCALE * (result.x - CENTER) ** 2) + 7.0
    assert result.loss == pytest.approx(value, rel=1e-14)
    # differences of numbers near 3 keep 1e-16 of them
    assert result.grad_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-10, abs=1e-14)
    assert isinstance(result, Result)
    assert result.wall_time_s > 0


@pytest.mark.parametrize("method", ["l-bfgs-b", "bfgs", "cg", "slsqp", "tnc"])
def test_value_and_gradient_at_one_point_cost_one_evaluation(method):
    result = kormos.minimize(bowl, np.zeros(3), solver=method)

    assert result.fg_evals == result.raw.nfev  # SciPy asks for both at each point
    assert result.hessp_evals == 0


@pytest.mark.parametrize("method", METHODS)
def test_products_are_counted_where_there_are_any(method):
    result = kormos.minimize(bowl, np.zeros(3), solver=method)

    assert result.fg_evals > 0
    assert (result.hessp_evals > 0) == (method in SECOND_ORDER)


def test_the_same_call_gives_the_same_bits():
    one, other = (kormos.minimize(rosenbrock, [-1.2, 1.0], solver="bfgs") for _ in range(2))

    np.testing.assert_array_equal(one.x, other.x)
    assert (one.loss, one.fg_evals) == (other.loss, other.fg_evals)


def test_the_start_is_not_changed():
    start = np.zeros(3)

    kormos.minimize(quadratic, start)

    np.testing.assert_array_equal(start, np.zeros(3))


# --- bounds and constraints --------------------------------------------------------------


@pytest.mark.parametrize("method", BOUNDED)
@pytest.mark.parametrize(
    "bounds",
    [[(-1, 0.5), (-1, 1), (0, 5)], optimize.Bounds([-1, -1, 0], [0.5, 1, 5])],
    ids=["pairs", "Bounds"],
)
def test_bounds_are_kept(method, bounds):
    result = kormos.minimize(quadratic, np.zeros(3), solver=method, bounds=bounds)

    assert_near(method, result.x, [0.5, -1.0, 3.0])
    assert (result.x <= [0.5, 1, 5]).all()
    assert (result.x >= [-1, -1, 0]).all()


def test_a_start_outside_the_box_is_projected():
    result = kormos.minimize(quadratic, [9.0, 9.0, 9.0], bounds=(-1, 2))

    assert_near("l-bfgs-b", result.x, [1.0, -1.0, 2.0])


def test_bounds_that_do_not_fit_are_refused():
    with pytest.raises(BoundsError, match="bounds have 2 pairs for 3 parameters"):
        kormos.minimize(quadratic, np.zeros(3), bounds=[(0, 1), (0, 1)])


def test_bounds_by_name_are_refused():
    with pytest.raises(BoundsError, match=r"bounds are not usable: {'x'"):
        kormos.minimize(quadratic, np.zeros(3), bounds={"x": (0, 1)})


@pytest.mark.parametrize("method", CONSTRAINED)
def test_constraints_are_kept(method):
    plane = optimize.LinearConstraint(np.ones((1, 3)), 0.0, 0.0)

    result = kormos.minimize(quadratic, np.zeros(3), solver=method, constraints=plane, tol=1e-8)

    # Lagrange: SCALE (x - CENTER) = m with sum(x) = 0
    multiplier = -CENTER.sum() / np.sum(1.0 / SCALE)
    np.testing.assert_allclose(result.x, CENTER + multiplier / SCALE, rtol=0, atol=1e-3)
    assert abs(result.x.sum()) < 1e-6


@pytest.mark.parametrize(
    ("method", "given"), [("cg", {"bounds": (0, 1)}), ("tnc", {"constraints": {"type": "eq"}})]
)
def test_what_a_method_cannot_keep_is_refused(method, given):
    (what,) = given

    with pytest.raises(UnsupportedError, match=f"scipy:{method} does not honor {what}"):
        kormos.minimize(quadratic, np.zeros(3), solver=method, **given)


# --- callbacks and stops -----------------------------------------------------------------


class Record(keras.callbacks.Callback):
    def __init__(self, act=None, epoch=1):
        super().__init__()
        self.act, self.epoch, self.points, self.logs = act, epoch, [], []

    def on_epoch_end(self, epoch, logs=None):
        self.points.append(self.model.get_weights()[0])
        self.logs.append(dict(logs))
        if self.act is not None and epoch == self.epoch:
            self.act(self)


@pytest.mark.parametrize("method", METHODS)
def test_callbacks_see_every_iterate_and_can_stop(method):
    record = Record(stop_training)

    result = kormos.minimize(bowl, np.zeros(3), solver=method, callbacks=[record])

    assert result.status is Status.STOPPED_BY_CALLBACK
    assert result.num_iterations == len(record.points) == 2
    best = int(np.argmin([logs["loss"] for logs in record.logs]))
    np.testing.assert_array_equal(result.x, record.points[best])


@pytest.mark.parametrize("method", METHODS)
def test_control_c_ends_the_solve_with_the_best_point(method):
    record = Record(lambda _: signal.raise_signal(signal.SIGINT))

    result = kormos.minimize(bowl, np.zeros(3), solver=method, callbacks=[record])

    assert result.status is Status.INTERRUPTED
    best = int(np.argmin([logs["loss"] for logs in record.logs]))
    np.testing.assert_array_equal(result.x, record.points[best])


def test_early_stopping_works():
    stopper = keras.callbacks.EarlyStopping(monitor="loss", min_delta=1e9, patience=2)

    result = kormos.minimize(rosenbrock, [-1.2, 1.0], callbacks=[stopper])

    assert result.status is Status.STOPPED_BY_CALLBACK
    assert result.num_iterations == 3


def test_csv_logger_works(tmp_path):
    path = tmp_path / "log.csv"

    result = kormos.minimize(
        rosenbrock, [-1.2, 1.0], solver="newton-cg", callbacks=[keras.callbacks.CSVLogger(path)]
    )

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.num_iterations
    assert {"epoch", "loss", "grad", "fg_evals", "hessp_evals"} <= set(rows[0])
    assert float(rows[-1]["loss"]) == pytest.approx(result.loss)


def test_history_works():
    history = keras.callbacks.History()

    result = kormos.minimize(rosenbrock, [-1.2, 1.0], callbacks=[history])

    assert len(history.history["loss"]) == result.num_iterations
    assert history.history["grad"][-1] == pytest.approx(result.grad_norm)


def test_a_callback_that_raises_is_passed_on():
    def fail(_):
        message = "mine"
        raise ZeroDivisionError(message)

    with pytest.raises(ZeroDivisionError, match="mine"):
        kormos.minimize(quadratic, np.zeros(3), callbacks=[Record(fail, epoch=0)])


# --- limits and options ------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_maxiter_is_kept(method):
    result = kormos.minimize(bowl, np.zeros(3), solver=method, maxiter=2)

    assert result.num_iterations == 2
    assert result.status is Status.MAX_ITER
    assert "maxiter=2" in result.message


def test_an_instance_brings_its_options_and_keeps_the_result():
    solver = kormos.BatchOptimizer("cg", options={"maxiter": 3})

    result = kormos.minimize(rosenbrock, [-1.2, 1.0], solver=solver)

    assert result.num_iterations == 3
    assert solver.results == [result]
    assert kormos.minimize(rosenbrock, [-1.2, 1.0], solver=solver, maxiter=2).num_iterations == 2


@pytest.mark.parametrize(
    "kind", ["forward-over-reverse", "reverse-over-reverse", "finite-difference"]
)
@pytest.mark.parametrize("method", ["newton-cg", "trust-exact"])
def test_every_kind_of_product_finds_the_minimum(kind, method):
    result = kormos.minimize(rosenbrock, [-1.2, 1.0], solver=method, hvp=kind)

    # newton-cg ends at steps of 1e-5
    np.testing.assert_allclose(result.x, [1.0, 1.0], rtol=0, atol=1e-4)


@pytest.mark.backends("tensorflow")
def test_an_unknown_kind_of_product_is_refused():
    with pytest.raises(
        UnsupportedError, match=r"hvp='revers'.*Allowed: auto, forward-over-reverse"
    ):
        kormos.minimize(quadratic, np.zeros(3), solver="newton-cg", hvp="revers")


def test_xla_gives_the_same():
    plain = kormos.minimize(rosenbrock, [-1.2, 1.0], solver="trust-ncg")

    jitted = kormos.minimize(rosenbrock, [-1.2, 1.0], solver="trust-ncg", jit_compile=True)

    np.testing.assert_allclose(jitted.x, plain.x, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"solver": "bgfs"}, UnknownSolverError, r"unknown solver 'bgfs'\. Did you mean 'bfgs'"),
        ({"solver": 3}, UnsupportedError, r"not a solver: 3"),
        ({"options": {"maxcors": 1}}, UnknownOptionError, r"Did you mean 'maxcor'"),
        ({"maxiter": 0}, UnsupportedError, r"iteration limit .* is not usable: 0"),
        ({"maxiter": 3, "options": {"maxiter": 4}}, UnsupportedError, r"two iteration limits"),
        ({"verbose": "loud"}, UnsupportedError, r"verbose is not usable: 'loud'"),
        (
            {"solver": kormos.BatchOptimizer(pretrain_fn=print)},
            UnsupportedError,
            r"pretrain_fn cannot be honored",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        kormos.minimize(quadratic, np.zeros(3), **arguments)


@pytest.mark.parametrize("start", [3.0, np.zeros((2, 2)), []], ids=["scalar", "matrix", "empty"])
def test_a_start_that_is_no_vector_is_refused(start):
    with pytest.raises(BoundsError, match=r"x0 is not a flat vector: shape \(.*Reshape it"):
        kormos.minimize(quadratic, start)


# --- numbers that are not finite ---------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_is_nan_at_the_start_is_told(method):
    result = kormos.minimize(lambda x: ops.sum(ops.log(x)), [-1.0, 1.0], solver=method)

    assert result.status is Status.NONFINITE
    assert result.message.startswith("The loss is nan at the starting point")
    np.testing.assert_array_equal(result.x, [-1.0, 1.0])


@pytest.mark.parametrize("method", METHODS)
def test_a_start_with_nan_is_told(method):
    result = kormos.minimize(quadratic, [0.0, np.nan, 0.0], solver=method)

    assert result.status is Status.NONFINITE
    assert result.message.startswith("A parameter is not finite at the starting point")


def test_nan_on_the_way_keeps_the_best_point():
    record = Record()

    result = kormos.minimize(
        lambda x: ops.sum(ops.where(x < -4.0, np.nan, ops.exp(x))),
        [0.0, 0.0],
        callbacks=[record],
    )

    assert result.status is Status.NONFINITE
    assert f"in iteration {len(record.points) + 1}" in result.message
    np.testing.assert_array_equal(result.x, record.points[-1])
    assert np.isfinite(result.loss)


# --- what a user reads -------------------------------------------------------------------


def test_silence_is_the_default(capsys):
    kormos.minimize(quadratic, np.zeros(3))

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("method", ["bfgs", GRADIENT_FREE[0]])
def test_progress_tells_iterations_and_the_reason(capsys, verbose, method):
    result = kormos.minimize(quadratic, np.zeros(3), solver=method, maxiter=3, verbose=verbose)

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(result)
    assert "3/3" in lines[-2]
    assert "loss: " in lines[-2]
    assert "fg_evals: " in lines[-2]


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    "function", [lambda x: float(np.sum(np.asarray(x))), lambda x: None], ids=["numpy", "none"]
)
def test_a_function_that_cannot_be_traced_is_refused(function):
    with pytest.raises(UnsupportedError, match=r"the function cannot be traced: .*by keras\.ops"):
        kormos.minimize(function, [1.0, 2.0])


@pytest.mark.backends("torch")
@pytest.mark.parametrize("solver", ["bfgs", "native:lbfgs"])
def test_what_torch_cannot_differentiate_of_numpy_is_told_with_the_cure(solver):
    constants = np.array([1.0, 2.0])

    def distance(x):
        return keras.ops.sum(keras.ops.square(x - constants))

    with pytest.raises(UnsupportedError, match=r"be evaluated: .*keras\.ops\.convert_to"):
        kormos.minimize(distance, [0.0, 0.0], solver=solver)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("solver", ["scipy:least-squares-trf", "native:gauss-newton"])
def test_the_same_is_told_of_residuals(solver):
    constants = np.array([1.0, 2.0])

    with pytest.raises(UnsupportedError, match=r"residuals of .*keras\.ops\.convert_to_tensor"):
        kormos.least_squares(lambda x: x - constants, [0.0, 0.0], solver=solver)


class OwnError(Exception):
    """What only its user knows."""


@pytest.mark.backends("torch")  # a function that is compiled has run once by then
@pytest.mark.parametrize("solver", ["bfgs", "native:lbfgs"])
def test_an_error_of_the_users_own_comes_out_as_it_is(solver):
    calls = iter(range(5))

    def distance(x):
        if next(calls, None) is None:
            raise OwnError("the user stops here")
        return keras.ops.sum(keras.ops.cosh(x))

    with pytest.raises(OwnError, match="the user stops here"):
        kormos.minimize(distance, [1.0, 2.0], solver=solver)


@pytest.mark.parametrize("function", [lambda x: x, lambda x: keras.ops.cast(x[0], "int32")])
def test_a_function_that_gives_no_single_float_is_refused(function):
    with pytest.raises(UnsupportedError, match="the function gives"):
        kormos.minimize(function, [1.0, 2.0])


def test_an_instance_says_whether_xla_compiles():
    with pytest.raises(UnsupportedError, match="jit_compile is not usable: 'maybe'"):
        kormos.minimize(keras.ops.sum, [1.0], jit_compile="maybe")
    with pytest.raises(UnsupportedError, match="steps_per_execution is not usable: 0"):
        kormos.minimize(keras.ops.sum, [1.0], solver="native:lbfgs", steps_per_execution=0)
