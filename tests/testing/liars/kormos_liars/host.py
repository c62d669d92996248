"""BFGS in NumPy, honest and otherwise.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``p`` direction (n,), ``s``
step (n,), ``y`` change of the gradient (n,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from kormos_core import Result, Status, StopSolve


def ended(x, f, status, num_iterations):
    return Result(x=x, loss=f, status=status, message=status.value, num_iterations=num_iterations)


@dataclass(frozen=True, kw_only=True)
class Honest:
    """Minimize by BFGS with backtracking.

    Attributes
    ----------
    gtol : float
        Ends the solve once the gradient's norm is at most this.
    maxfun : int
        Most evaluations.
    tol : float or None
        Sets `gtol`.
    """

    gtol: float = 1e-5
    maxfun: int = 10_000
    tol: float | None = None

    def minimize(self, objective, x0, *, maxiter, callback):
        gtol = self.gtol if self.tol is None else self.tol
        x = x0.copy()
        f, g = self.evaluate(objective, x)
        inverse, count = np.eye(x.size) / max(1.0, np.linalg.norm(g)), 1
        for iteration in range(maxiter):
            if not math.isfinite(f):
                return self.end(x, f, Status.NONFINITE, iteration)
            if np.linalg.norm(g) <= gtol:
                return self.end(x, f, Status.GRAD_TOL, iteration)
            p = self.direction(inverse, g)
            slope, t = g @ p, 1.0
            while True:
                if count >= self.maxfun:
                    return self.end(x, f, Status.MAX_EVALS, iteration)
                trial = x + t * p
                f_new, g_new = self.evaluate(objective, trial)
                count += 1
                if f_new < f and f_new <= f + 1e-4 * t * slope:
                    break
                t *= 0.5
                if t < 1e-12 or self.gives_up(f_new):
                    return self.end(x, f, self.stuck(), iteration)
            s, y = trial - x, g_new - g
            inverse = updated(inverse, s, y)
            stops = self.stops(f, f_new, iteration)
            x, f, g = trial, f_new, g_new
            self.accept(callback, x)
            if stops:
                return self.end(x, f, Status.F_TOL, iteration + 1)
        return self.end(x, f, Status.MAX_ITER, maxiter)

    def evaluate(self, objective, x):
        return objective.value_and_grad(x)

    def direction(self, inverse, g):
        p = -inverse @ g
        return p if g @ p < 0.0 else -g

    def accept(self, callback, x):
        callback(x)

    def gives_up(self, f):
        return False

    def stuck(self):
        return Status.STAGNATED

    def stops(self, f, f_new, iteration):
        return False

    def end(self, x, f, status, num_iterations):
        return ended(x, f, status, num_iterations)


def updated(inverse, s, y):
    """Update the inverse Hessian (Nocedal and Wright 2006, equation 6.17)."""
    if s @ y <= 1e-10 * np.linalg.norm(s) * np.linalg.norm(y):
        return inverse
    left = np.eye(s.size) - np.outer(s, y) / (s @ y)
    return left @ inverse @ left.T + np.outer(s, s) / (s @ y)


# --- declarations ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NoDocstring(Honest):
    pass


@dataclass(frozen=True, kw_only=True)
class SilentOption(Honest):
    """Have gtol, maxfun and tol, and one more."""

    secret: float = 1.0


@dataclass(kw_only=True, unsafe_hash=True)
class Mutable:
    gtol: float = 1e-5

    def minimize(self, objective, x0, *, maxiter, callback):
        return Honest(gtol=self.gtol).minimize(objective, x0, maxiter=maxiter, callback=callback)


class Unequal(Honest):
    """Be equal to no other."""

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


@dataclass(frozen=True, kw_only=True)
class OpenOptions(Honest):
    library: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NotSaved(Honest):
    """An instance that is equal to no other, so that none that is loaded is the one saved."""

    token: object = field(default_factory=object)


# --- minima and results ------------------------------------------------------------------


class Early(Honest):
    """Be content with little."""

    def stops(self, f, f_new, iteration):
        return iteration >= 1


class Sign(Honest):
    """Compare changes with a loss whose sign it forgets."""

    def stops(self, f, f_new, iteration):
        return abs(f_new) >= abs(f)


class Random(Honest):
    """Draw random numbers, others each time."""

    def direction(self, inverse, g):
        return super().direction(inverse, g) * np.random.default_rng().uniform(0.5, 1.0)


class Remembers(Honest):
    """Begin with what another solve has found out."""

    lengths: ClassVar[list[float]] = []

    def direction(self, inverse, g):
        p = super().direction(inverse, g)
        self.lengths.append(float(np.linalg.norm(p)))
        return p / (1.0 + self.lengths[0] / len(self.lengths))


class LastPoint(Honest):
    """Return a point that is worse than accepted ones."""

    def end(self, x, f, status, num_iterations):
        far = x + 1.0
        rosenbrock = 100.0 * (far[1] - far[0] ** 2) ** 2 + (1.0 - far[0]) ** 2
        return ended(far, rosenbrock, status, num_iterations)


class WritesStart(Honest):
    """Work in the array that it was given."""

    def minimize(self, objective, x0, *, maxiter, callback):
        outcome = super().minimize(objective, x0, maxiter=maxiter, callback=callback)
        x0[:] = outcome.x
        return outcome


class WrongLoss(Honest):
    """Return a loss that nobody has evaluated."""

    def end(self, x, f, status, num_iterations):
        return ended(x, 0.5 * f - 1.0, status, num_iterations)


class ResetsCounts(Honest):
    """Look cheaper."""

    def evaluate(self, objective, x):
        found = super().evaluate(objective, x)
        objective.counts.value_and_grad = 1
        return found


class MiscountsIterations(Honest):
    """Tell of fewer iterations."""

    def end(self, x, f, status, num_iterations):
        return ended(x, f, status, num_iterations // 2)


class Uncounted(Honest):
    """Evaluate where nobody counts."""

    def evaluate(self, objective, x):
        compiled = objective.compile(lambda graph, z: graph.value_and_grad(z), "evaluate")
        f, g = compiled(x)
        return float(f), np.array(g)


class NewKeys(Honest):
    """Compile anew, for each solve, what has been compiled."""

    def evaluate(self, objective, x):
        compiled = objective.compile(lambda graph, z: graph.value_and_grad(z), objective)
        f, g = compiled(x)
        return float(f), np.array(g)


class Claims(Honest):
    """Call the limit convergence."""

    def end(self, x, f, status, num_iterations):
        return ended(x, f, Status.GRAD_TOL, num_iterations)


# --- limits, callbacks, stops ------------------------------------------------------------


class NoLimit(Honest):
    """Go on beyond the limit."""

    def minimize(self, objective, x0, *, maxiter, callback):
        return super().minimize(objective, x0, maxiter=10 * maxiter, callback=callback)


class NoEvaluationLimit(Honest):
    """Have a limit and no use for it."""

    def minimize(self, objective, x0, *, maxiter, callback):
        free = Honest(gtol=self.gtol)
        return free.minimize(objective, x0, maxiter=maxiter, callback=callback)


class CallsTwice(Honest):
    """Call back twice."""

    def accept(self, callback, x):
        callback(x)
        callback(x)


class CallsNever(Honest):
    """Do not call back."""

    def accept(self, callback, x):
        pass


class CallsAtStart(Honest):
    """Take the start for an iterate."""

    def minimize(self, objective, x0, *, maxiter, callback):
        callback(x0.copy())
        return super().minimize(objective, x0, maxiter=maxiter, callback=callback)


class CallsElsewhere(Honest):
    """Call back with points beside those that were evaluated."""

    def accept(self, callback, x):
        callback(x + 1e-3)


class Swallows(Honest):
    """Take a request to stop for an error, and go on with what there is."""

    def minimize(self, objective, x0, *, maxiter, callback):
        try:
            return super().minimize(objective, x0, maxiter=maxiter, callback=callback)
        except StopSolve:
            return ended(x0, math.nan, Status.STAGNATED, 0)


class StopsLate(Honest):
    """Evaluate once more after a request to stop."""

    def minimize(self, objective, x0, *, maxiter, callback):
        try:
            return super().minimize(objective, x0, maxiter=maxiter, callback=callback)
        except StopSolve:
            objective.value(x0 + 0.125)
            raise


# --- bounds, faults ----------------------------------------------------------------------


class ClipsAtTheEnd(Honest):
    """Evaluate anywhere, and return a point within the bounds."""

    def minimize(self, objective, x0, *, maxiter, callback):
        outcome = super().minimize(objective, x0, maxiter=maxiter, callback=lambda x: None)
        x = outcome.x
        if objective.bounds is not None:
            x = np.clip(x, objective.bounds.lower, objective.bounds.upper)
        callback(x)
        return ended(x, objective.value(x), outcome.status, 1)


class StaysAtTheStart(Honest):
    """Break no bound by not moving."""

    def minimize(self, objective, x0, *, maxiter, callback):
        if objective.bounds is None:
            return super().minimize(objective, x0, maxiter=maxiter, callback=callback)
        return ended(x0, objective.value(x0), Status.STAGNATED, 0)


class SkipsStart(Honest):
    """Begin beside the start, and never see what is there."""

    def minimize(self, objective, x0, *, maxiter, callback):
        return super().minimize(objective, x0 + 1e-3, maxiter=maxiter, callback=callback)


class RaisesAtNaN(Honest):
    """Take what is not finite for an error."""

    def evaluate(self, objective, x):
        try:
            return super().evaluate(objective, x)
        except StopSolve:
            message = "the loss is not finite"
            raise FloatingPointError(message) from None


class DoesNotRecover(Honest):
    """Give up at a trial point that is not finite."""

    def gives_up(self, f):
        return not math.isfinite(f)


class HidesErrors(Honest):
    """Go on after an error in a callback."""

    def accept(self, callback, x):
        try:
            callback(x)
        except StopSolve:
            raise
        except Exception:  # noqa: BLE001, S110 - this is the lie
            pass


class ClaimsInFloat32(Honest):
    """Call the end of the digits convergence."""

    def stuck(self):
        return Status.GRAD_TOL


# --- capabilities ------------------------------------------------------------------------


class GoesUphill(Honest):
    """Tell the start again after the first step."""

    def minimize(self, objective, x0, *, maxiter, callback):
        told = []

        def uphill(x):
            told.append(x)
            callback(x0.copy() if len(told) == 2 else x)

        return super().minimize(objective, x0, maxiter=maxiter, callback=uphill)


class AsksForMore(Honest):
    """Take products that it does not declare."""

    def evaluate(self, objective, x):
        f, g = super().evaluate(objective, x)
        objective.hvp(x, g)
        return f, g


class HoardsData(Honest):
    """Keep every batch of the data."""

    kept: ClassVar[list[Any]] = []

    def minimize(self, objective, x0, *, maxiter, callback):
        batches = objective._objective.batches
        self.kept.extend(np.array(batch.arrays[0]) for batch in batches)
        return super().minimize(objective, x0, maxiter=maxiter, callback=callback)


class HalfACurve(Honest):
    """Make half a step of Gauss and Newton."""

    def minimize(self, objective, x0, *, maxiter, callback):
        r, jac = objective.residuals(x0), objective.jacobian(x0)
        x = x0 - 0.5 * np.linalg.lstsq(jac, r)[0]
        r = objective.residuals(x)
        callback(x)
        return ended(x, 0.5 * float(r @ r), Status.X_TOL, 1)
