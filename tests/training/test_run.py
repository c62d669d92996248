"""One solve under watch, with solvers that behave as a third party's might."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest

from kormos_core import Bounds, Counts, Result, SolverSpec, Status, StopSolve
from kormos_core.registry import Registered
from kormos_core.training import Interrupt, Run


class Parabola:
    """Half the squared distance from a center, as an objective."""

    def __init__(self, center=(1.0, 2.0), bounds=None, constraints=(), spoiled=None):
        self.center = np.array(center)
        self.size = self.center.size
        self.bounds, self.constraints = bounds, constraints
        self.counts = Counts()
        self.spoiled = spoiled

    def value(self, x):
        self.counts.value += 1
        return self._value(x)

    def value_and_grad(self, x):
        self.counts.value_and_grad += 1
        return self._value(x), x - self.center

    def hvp(self, x, v):
        self.counts.hvp += 1
        return v.copy() if self.spoiled is None or not self.spoiled(x) else np.full_like(v, np.nan)

    def hessian(self, x):
        return np.eye(self.size)

    def _value(self, x):
        if self.spoiled is not None and self.spoiled(x):
            return math.nan
        return 0.5 * float(np.sum((x - self.center) ** 2))


class Scripted:
    """A solver that does what it is told."""

    def __init__(self, script):
        self.script = script

    def minimize(self, objective, x0, *, maxiter, callback):
        return self.script(objective, x0, maxiter, callback)


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self, stop_at=None):
        self.begun, self.iterates, self.stop_at = [], [], stop_at

    def begin(self, number):
        self.begun.append(number)

    def iterate(self, iterate):
        self.iterates.append(iterate)
        if iterate.number == self.stop_at:
            raise StopSolve(Status.STOPPED_BY_CALLBACK)


def outcome(x, status=Status.F_TOL, num_iterations=0):
    return Result(
        x=np.asarray(x, float),
        loss=0.0,
        status=status,
        message="its own words",
        num_iterations=num_iterations,
        raw="raw",
    )


def solve(script, objective=None, *, notes=None, maxiter=10, x0=(0.0, 0.0), **spec):
    objective = objective or Parabola()
    spec = {"needs": frozenset({"value", "grad"})} | spec
    registered = Registered(
        namespace="test",
        spec=SolverSpec(name="scripted", factory="tests:Scripted", **spec),
        distribution="tests",
        version="1",
    )
    notes = notes or Notes()
    with Interrupt() as interrupt:
        run = Run(objective, registered, notes, interrupt)
        result = run.solve(Scripted(script), np.array(x0, float), maxiter=maxiter)
    return result, notes, objective


def walk(*points):
    """Evaluate and accept points, and end at the last."""

    def script(objective, x0, maxiter, callback):
        objective.value_and_grad(x0)
        for point in points:
            objective.value_and_grad(np.array(point, float))
            callback(np.array(point, float))
        return outcome(points[-1], num_iterations=len(points))

    return script


# --- what is told ------------------------------------------------------------------------


def test_an_iteration_begins_at_its_first_evaluation_and_ends_when_accepted():
    events = []

    class Events(Notes):
        def begin(self, number):
            events.append(("begin", number))

        def iterate(self, iterate):
            events.append(("end", iterate.number))

    solve(walk([1, 0], [1, 1], [1, 2]), notes=Events())

    assert events == [(edge, number) for number in (1, 2, 3) for edge in ("begin", "end")]


def test_iterates_are_told_with_measured_numbers():
    _, notes, _ = solve(walk([1, 0], [1, 1]))

    first, second = notes.iterates
    assert (first.number, first.loss, first.grad_norm, first.fg_evals) == (1, 2.0, 2.0, 2)
    assert (second.number, second.loss, second.grad_norm, second.fg_evals) == (2, 0.5, 1.0, 3)
    np.testing.assert_array_equal(second.x, [1, 1])


def test_an_iterate_that_was_not_evaluated_is_measured():
    def script(objective, x0, maxiter, callback):
        callback(np.array([1.0, 1.0]))
        return outcome([1, 1])

    _, notes, objective = solve(script)

    assert notes.iterates[0].loss == 0.5
    assert objective.counts.fg == 1


def test_the_gradient_norm_is_projected_onto_the_bounds():
    box = Bounds(np.zeros(2), np.array([0.5, 5.0]))

    result, notes, _ = solve(walk([0.5, 2]), Parabola(bounds=box))

    assert notes.iterates[0].grad_norm == 0.0
    assert result.grad_norm == 0.0


def test_a_method_without_gradients_has_no_norm_before_the_end():
    def script(objective, x0, maxiter, callback):
        objective.value(x0)
        callback(np.array([1.0, 1.0]))
        return outcome([1, 1])

    result, notes, objective = solve(script, needs=frozenset({"value"}))

    assert math.isnan(notes.iterates[0].grad_norm)
    assert result.grad_norm == 1.0
    assert objective.counts.value_and_grad == 1  # at the end only


def test_a_solve_that_ends_where_it_starts_has_one_row():
    result, notes, _ = solve(lambda o, x, m, c: outcome(x), x0=[1, 2])

    assert [iterate.number for iterate in notes.iterates] == [1]
    assert result.num_iterations == 0
    assert result.status is Status.F_TOL


# --- evaluations -------------------------------------------------------------------------


def test_value_and_gradient_at_one_point_cost_one_evaluation():
    def script(objective, x0, maxiter, callback):
        for _ in range(3):
            objective.value_and_grad(x0)
            objective.value(x0)
        return outcome(x0)

    _, _, objective = solve(script)

    assert (objective.counts.value_and_grad, objective.counts.value) == (1, 0)


def test_a_gradient_that_the_solver_writes_to_is_its_own():
    def script(objective, x0, maxiter, callback):
        objective.value_and_grad(x0)[1][:] = 77.0
        assert objective.value_and_grad(x0)[1][0] == -1.0
        return outcome(x0)

    solve(script)


def test_the_points_handed_over_are_copied():
    def script(objective, x0, maxiter, callback):
        x0[:] = [1.0, 1.0]
        callback(x0)
        x0[:] = 99.0
        return outcome([1, 1])

    start = np.zeros(2)
    result, notes, _ = solve(script, x0=start)

    np.testing.assert_array_equal(notes.iterates[0].x, [1, 1])
    np.testing.assert_array_equal(result.x, [1, 1])
    np.testing.assert_array_equal(start, np.zeros(2))


# --- the best point ----------------------------------------------------------------------


def test_the_best_accepted_point_is_kept():
    result, _, _ = solve(walk([1, 0], [1, 2], [4, 4]))

    np.testing.assert_array_equal(result.x, [1, 2])
    assert result.loss == 0.0
    assert result.num_iterations == 3


def test_the_start_is_kept_where_all_iterates_are_worse():
    result, _, _ = solve(walk([9, 9]), x0=[1, 1])

    np.testing.assert_array_equal(result.x, [1, 1])


def test_under_constraints_the_latest_point_is_kept():
    result, _, _ = solve(walk([1, 2], [4, 4]), Parabola(constraints=({"type": "eq"},)))

    np.testing.assert_array_equal(result.x, [4, 4])


def test_a_better_point_than_reported_is_taken_from_the_end():
    def script(objective, x0, maxiter, callback):
        callback(np.array([1.0, 1.0]))
        return outcome([1, 2])

    result, _, _ = solve(script)

    np.testing.assert_array_equal(result.x, [1, 2])


def test_a_worse_or_broken_point_is_not_taken_from_the_end():
    def script(objective, x0, maxiter, callback):
        callback(np.array([1.0, 1.0]))
        return outcome([np.nan, 2])

    result, _, _ = solve(script)

    np.testing.assert_array_equal(result.x, [1, 1])


def test_the_start_is_projected_onto_the_bounds():
    seen = []
    box = Bounds(np.zeros(2), np.ones(2))

    solve(
        lambda o, x, m, c: seen.append(x.copy()) or outcome(x), Parabola(bounds=box), x0=[-3, 0.5]
    )

    np.testing.assert_array_equal(seen, [[0.0, 0.5]])


# --- ends --------------------------------------------------------------------------------


def test_the_solvers_own_reason_and_raw_result_are_kept():
    result, _, _ = solve(walk([1, 2]))

    assert (result.status, result.message, result.raw) == (Status.F_TOL, "its own words", "raw")
    assert result.solver == "test:scripted"


def test_a_stop_ends_the_solve():
    result, notes, _ = solve(walk([1, 0], [1, 1], [1, 2]), notes=Notes(stop_at=2))

    assert result.status is Status.STOPPED_BY_CALLBACK
    assert len(notes.iterates) == result.num_iterations == 2
    assert result.raw is None


def test_a_stop_that_the_solver_swallows_is_raised_again_and_holds():
    def script(objective, x0, maxiter, callback):
        for step in range(1, 6):
            try:
                callback(np.array([1.0, step / 10]))
            except StopSolve:
                with pytest.raises(StopSolve, match="A callback asked to stop"):
                    objective.value(np.array([9.0, 9.0]))
        return outcome([1, 0.5])

    result, notes, _ = solve(script, notes=Notes(stop_at=2))

    assert result.status is Status.STOPPED_BY_CALLBACK
    assert len(notes.iterates) == 2


def test_a_solver_that_ignores_its_limit_is_stopped():
    result, notes, _ = solve(walk([1, 0], [1, 1], [1, 2], [1, 3]), maxiter=2)

    assert result.status is Status.MAX_ITER
    assert len(notes.iterates) <= 3


def test_nan_ends_a_solver_that_would_not_recover():
    result, notes, _ = solve(walk([1, 0], [1, 1], [1, 2]), Parabola(spoiled=lambda x: x[1] > 1.5))

    assert result.status is Status.NONFINITE
    assert result.message == ("The loss is nan in iteration 3. The best point before it is kept.")
    np.testing.assert_array_equal(result.x, [1, 1])
    assert len(notes.iterates) == 2


def test_nan_is_left_to_a_solver_that_recovers():
    def script(objective, x0, maxiter, callback):
        assert math.isnan(objective.value_and_grad(np.array([1.0, 2.0]))[0])
        callback(np.array([1.0, 1.0]))
        return outcome([1, 1])

    result, _, _ = solve(script, Parabola(spoiled=lambda x: x[1] > 1.5), tolerates_nonfinite=True)

    assert result.status is Status.F_TOL
    np.testing.assert_array_equal(result.x, [1, 1])


def test_a_product_with_nan_ends_the_solve():
    def script(objective, x0, maxiter, callback):
        objective.hvp(x0, np.ones(2))
        return outcome(x0)

    result, _, _ = solve(
        script, Parabola(spoiled=lambda x: True), needs=frozenset({"value", "grad", "hvp"})
    )

    assert result.status is Status.NONFINITE
    assert result.message.startswith("A Hessian product is not finite at the starting point")


def test_a_cause_that_the_objective_can_name_is_told():
    objective = Parabola(spoiled=lambda x: True)
    objective.diagnose = lambda x: f"at {x}"

    result, _, _ = solve(walk([1, 1]), objective)

    assert result.message == (
        "The loss is nan at the starting point: at [0. 0.]. The weights stay as they were."
    )


def test_an_error_of_the_solver_is_passed_on():
    def script(objective, x0, maxiter, callback):
        message = "a bug"
        raise ArithmeticError(message)

    with pytest.raises(ArithmeticError, match="a bug"):
        solve(script)


# --- interrupts --------------------------------------------------------------------------


def test_control_c_ends_the_solve_before_its_next_evaluation():
    def script(objective, x0, maxiter, callback):
        callback(np.array([1.0, 1.0]))
        signal.raise_signal(signal.SIGINT)
        objective.value(np.array([5.0, 5.0]))
        return outcome([5, 5])

    result, _, objective = solve(script)

    assert result.status is Status.INTERRUPTED
    np.testing.assert_array_equal(result.x, [1, 1])
    assert objective.counts.value == 0


def test_an_interrupt_that_python_raises_itself_is_taken_for_the_first():
    def script(objective, x0, maxiter, callback):
        callback(np.array([1.0, 1.0]))
        raise KeyboardInterrupt  # as from a handler of the solver's own

    result, _, _ = solve(script)

    assert result.status is Status.INTERRUPTED
    np.testing.assert_array_equal(result.x, [1, 1])


def test_the_second_control_c_is_raised():
    def script(objective, x0, maxiter, callback):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
        solve(script)
