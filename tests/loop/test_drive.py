"""The loop around in-graph methods, with a method that anyone can follow by hand."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops

from kormos_core import Counts, SolverSpec, Status, StopSolve
from kormos_core.errors import UnsupportedError
from kormos_core.loop import Progress, code_of, minimize_in_graph, status_of
from kormos_core.objective import FunctionObjective, Numerics
from kormos_core.registry import Registered
from kormos_core.training import Interrupt, Run

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ROUNDING = 1e-12
START = np.array([3.0, -2.0, 1.0])
SCALES = np.array([1.0, 2.0, 5.0])


@dataclass(frozen=True)
class Descent:
    """Steepest descent with a fixed rate, which may well go up."""

    rate: float = 0.05
    gtol: float = 0.0

    def init(self, x0, bounds):
        assert bounds is None
        integers = {name: np.array(0, np.int32) for name in ("num_fg", "status")}
        return {"x": x0, "f": np.array(np.nan), "g": np.zeros_like(x0), **integers}

    def advance(self, graph, state):
        first = state["num_fg"] == 0
        x = ops.where(first, state["x"], state["x"] - self.rate * state["g"])
        f, g = graph.value_and_grad(x)
        small = ops.norm(g) <= self.gtol
        status = ops.where(small, code_of(Status.GRAD_TOL), 0)
        status = ops.where(ops.isfinite(f), status, code_of(Status.NONFINITE))
        return {
            "x": x,
            "f": f,
            "g": g,
            "num_fg": state["num_fg"] + 1,
            "status": ops.cast(status, "int32"),
        }

    def progress(self, state):
        iteration = ops.maximum(state["num_fg"] - 1, 0)
        nothing = ops.zeros((), "int32")
        point = (state["x"], state["f"], state["g"])
        return Progress(iteration, *point, state["num_fg"], nothing, state["status"])

    def minimize(self, objective, x0, *, maxiter, callback):
        return minimize_in_graph(self, objective, x0, maxiter=maxiter, callback=callback)


@dataclass(frozen=True)
class NaNs(Descent):
    """The same descent, which looks at its gradient."""

    def advance(self, graph, state):
        after = super().advance(graph, state)
        finite = ops.all(ops.isfinite(after["g"]))
        failed = ops.cast(code_of(Status.NONFINITE), "int32")
        return after | {"status": ops.where(finite, after["status"], failed)}


@dataclass(frozen=True)
class Plain(Descent):
    """The same descent, with numbers of Python where tensors may be."""

    def advance(self, graph, state):
        return super().advance(graph, state) | {"status": 0}

    def progress(self, state):
        return super().progress(state)._replace(num_hvp=0)


@dataclass(frozen=True)
class Narrow(Descent):
    """The same descent, which rounds its loss."""

    def advance(self, graph, state):
        after = super().advance(graph, state)
        return after | {"f": ops.cast(after["f"], "float32")}


@dataclass(frozen=True)
class GivesUp(Descent):
    """The same descent, which makes three iterations and then an attempt without a step."""

    def advance(self, graph, state):
        after = super().advance(graph, state)
        over = state["num_fg"] >= 4
        failed = ops.cast(code_of(Status.LINESEARCH_FAILED), "int32")
        return {
            name: ops.where(over, failed if name == "status" else state[name], value)
            for name, value in after.items()
        }


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self, stop_at=None, at_end=lambda number: None):
        self.begun, self.rows, self.served = [], [], []
        self.stop_at, self.at_end = stop_at, at_end

    def begin(self, number):
        self.begun.append(number)

    def passed(self, iterate):
        self.rows.append(iterate)

    def iterate(self, iterate):
        self.rows.append(iterate)
        self.served.append(iterate)
        self.at_end(iterate.number)
        if self.stop_at is not None and iterate.number >= self.stop_at:
            raise StopSolve(Status.STOPPED_BY_CALLBACK)


def bowl(x):
    """Return half the sum of squares, each with a scale of its own."""
    return 0.5 * ops.sum(ops.convert_to_tensor(SCALES) * x**2)


def by_hand(count, rate=0.05):
    """Follow the descent in NumPy: all points from the start on."""
    points = [START]
    for _ in range(count):
        points.append(points[-1] - rate * SCALES * points[-1])
    return points


def solve(function=bowl, method=None, *, steps=None, maxiter=20, notes=None, needs=(), x0=START):
    needs = frozenset({"value", "grad", *needs})
    registered = Registered(
        namespace="test",
        spec=SolverSpec(name="descent", factory="tests:Descent", needs=needs),
        distribution="tests",
        version="1",
    )
    notes = notes or Notes()
    objective = FunctionObjective(function, x0.size, numerics=Numerics(jit=False))
    with Interrupt() as interrupt:
        run = Run(objective, registered, notes, interrupt, steps)
        result = run.solve(method or Descent(), x0, maxiter=maxiter)
    return result, notes, objective


# --- iterations --------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [None, 1, 7, 1000])
def test_the_length_of_a_chunk_changes_nothing_about_the_iterates(steps):
    points = by_hand(20)

    result, notes, _ = solve(steps=steps)

    losses = [0.5 * np.sum(SCALES * x**2) for x in points[1:]]
    norms = [np.linalg.norm(SCALES * x) for x in points[1:]]
    assert [row.number for row in notes.rows] == list(range(1, 21))
    assert [row.loss for row in notes.rows] == pytest.approx(losses, rel=ROUNDING)
    assert [row.grad_norm for row in notes.rows] == pytest.approx(norms, rel=ROUNDING)
    assert [row.fg_evals for row in notes.rows] == list(range(2, 22))
    assert result.x == pytest.approx(points[-1], rel=ROUNDING)
    assert result.grad_norm == pytest.approx(norms[-1], rel=ROUNDING)
    assert (result.status, result.num_iterations) == (Status.MAX_ITER, 20)
    assert (result.fg_evals, result.hessp_evals) == (21, 0)


@pytest.mark.parametrize(("steps", "numbers"), [(1, range(1, 21)), (7, [7, 14, 20]), (50, [20])])
def test_an_observer_gets_the_point_every_so_many_iterations_and_at_the_end(steps, numbers):
    points = by_hand(20)

    _, notes, _ = solve(steps=steps)

    assert [row.number for row in notes.served] == list(numbers)
    for row in notes.served:
        assert row.x == pytest.approx(points[row.number], rel=ROUNDING)


def test_an_epoch_begins_before_each_service():
    _, notes, _ = solve(steps=7)

    assert notes.begun == [1, 8, 15]


@pytest.mark.parametrize("steps", [None, 1, 3])
def test_a_tolerance_ends_the_solve_with_its_reason(steps):
    result, notes, _ = solve(method=Descent(gtol=1.0), steps=steps, maxiter=500)

    expected = next(k for k, x in enumerate(by_hand(100)) if np.linalg.norm(SCALES * x) <= 1.0)
    assert result.status is Status.GRAD_TOL
    assert result.num_iterations == expected == len(notes.rows)
    assert notes.served[-1].number == expected


def test_more_iterations_than_one_call_has_room_for_leave_a_row_each():
    result, notes, _ = solve(method=Descent(rate=1e-3), maxiter=700)

    assert [row.number for row in notes.rows] == list(range(1, 701))
    assert result.x == pytest.approx(by_hand(700, 1e-3)[-1], rel=1e-10)


def test_a_start_that_is_a_minimum_takes_no_iteration():
    result, notes, _ = solve(method=Descent(gtol=1e-6), x0=np.zeros(3))

    assert (result.status, result.num_iterations) == (Status.GRAD_TOL, 0)
    assert len(notes.rows) == 1
    assert not result.x.any()


@pytest.mark.parametrize("steps", [None, 1, 4])
def test_the_best_point_is_kept_where_the_method_goes_up(steps):
    result, notes, _ = solve(method=Descent(rate=0.41), steps=steps, maxiter=9)

    # the third coordinate grows in size by 5 % a step, the others shrink
    points = by_hand(9, 0.41)
    losses = [0.5 * np.sum(SCALES * x**2) for x in points]
    best = int(np.argmin(losses))
    assert 0 < best < 9
    assert result.x == pytest.approx(points[best], rel=ROUNDING)
    assert result.loss == pytest.approx(losses[best], rel=ROUNDING)
    assert result.grad_norm == pytest.approx(np.linalg.norm(SCALES * points[best]), rel=ROUNDING)
    assert len(notes.rows) == 9


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_the_last_iteration_is_served_where_the_solve_ends_after_it(steps):
    result, notes, _ = solve(method=GivesUp(), steps=steps)

    assert (result.status, result.num_iterations) == (Status.LINESEARCH_FAILED, 3)
    assert [row.number for row in notes.rows] == [1, 2, 3]
    assert notes.served[-1].number == 3
    assert notes.served[-1].x == pytest.approx(by_hand(3)[-1], rel=ROUNDING)


# --- stops -------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "end"), [(1, 3), (7, 7), (1000, 20)])
def test_a_stop_is_obeyed_at_the_end_of_the_chunk(steps, end):
    result, notes, _ = solve(steps=steps, notes=Notes(stop_at=3))

    assert len(notes.rows) == result.num_iterations == end
    assert result.status is Status.STOPPED_BY_CALLBACK
    assert result.x == pytest.approx(by_hand(end)[-1], rel=ROUNDING)


@pytest.mark.parametrize("steps", [1, 7])
def test_an_interrupt_ends_the_solve_at_the_end_of_the_chunk(steps):
    def interrupt(number):
        if number >= 5:
            os.kill(os.getpid(), signal.SIGINT)

    result, _, _ = solve(steps=steps, notes=Notes(at_end=interrupt))

    end = math.ceil(5 / steps) * steps
    assert (result.status, result.num_iterations) == (Status.INTERRUPTED, end)
    assert result.x == pytest.approx(by_hand(end)[-1], rel=ROUNDING)


def test_a_loss_that_is_no_number_at_the_start_is_told():
    result, notes, _ = solve(lambda x: ops.sum(ops.log(x)), steps=1)

    assert result.status is Status.NONFINITE
    assert "at the starting point" in result.message
    assert result.x.tolist() == START.tolist()
    assert not notes.rows


def test_a_gradient_that_is_no_number_at_the_start_is_told():
    result, _, _ = solve(lambda x: ops.sum(ops.sqrt(x)), NaNs(), x0=np.array([1.0, 0.0]))

    assert result.status is Status.NONFINITE
    assert result.message.startswith("The gradient is not finite at the starting point")


def test_a_loss_that_is_no_number_later_keeps_the_best_point():
    def spoiled(x):
        return ops.where(x[0] < 2.0, np.nan, bowl(x))

    result, _, _ = solve(spoiled)

    last = max(k for k, x in enumerate(by_hand(20)) if x[0] >= 2.0)
    assert result.status is Status.NONFINITE
    assert result.x == pytest.approx(by_hand(last)[-1], rel=ROUNDING)
    assert math.isfinite(result.loss)


def test_an_exception_of_an_observer_passes():
    def break_down(number):
        if number == 2:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        solve(steps=1, notes=Notes(at_end=break_down))


# --- what the loop needs -----------------------------------------------------------------


def test_products_are_checked_ever_more_rarely_however_long_a_chunk_is():
    _, notes, objective = solve(needs=("hvp",), maxiter=20)

    # before iterations 1, 2, 3, 5, 9 and 17; two gradients each
    assert objective.counts.value_and_grad == 21 + 2 * 6
    assert [row.number for row in notes.rows] == list(range(1, 21))


def test_a_state_may_be_given_numbers_of_python():
    np.testing.assert_array_equal(solve(method=Plain())[0].x, solve()[0].x)


def test_a_state_of_another_precision_is_refused():
    with pytest.raises(UnsupportedError, match=r"state's 'f' was float64, and .* float32\. Allow"):
        solve(method=Narrow())


def test_an_objective_that_cannot_be_traced_is_refused():
    class Opaque:
        size, bounds, constraints, counts = 1, None, (), Counts()

    with pytest.raises(UnsupportedError, match=r"Opaque cannot be traced\. Allowed are the obj"):
        minimize_in_graph(Descent(), Opaque(), START, maxiter=1, callback=lambda x: None)


def test_the_last_state_is_kept_as_arrays():
    result, _, _ = solve(maxiter=4)

    assert result.raw["num_fg"] == 5
    assert result.raw["x"] == pytest.approx(by_hand(4)[-1], rel=ROUNDING)
    assert all(isinstance(value, np.ndarray) for value in result.raw.values())


@pytest.mark.parametrize("status", Status)
def test_a_status_has_a_code(status):
    assert status_of(code_of(status)) is status
    assert code_of(status) > 0
