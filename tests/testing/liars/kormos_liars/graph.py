"""Steepest descent inside the graph, honest and otherwise.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from kormos_core import Status
from kormos_core.loop import RUNNING, Progress, code_of, minimize_in_graph

NAMES = ("iteration", "x", "f", "g", "num_fg", "num_hvp", "status")


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Minimize by steepest descent that doubles its rate, or quarters it.

    Attributes
    ----------
    gtol : float
        Ends the solve once the gradient's norm is at most this.
    """

    gtol: float = 1e-5

    def minimize(self, objective, x0, *, maxiter, callback):
        return minimize_in_graph(self, objective, x0, maxiter=maxiter, callback=callback)

    def init(self, x0, bounds):
        counts = dict.fromkeys(("iteration", "num_fg", "num_hvp"), np.int32(0))
        point = {"x": x0, "f": np.float64(np.inf), "g": np.zeros_like(x0)}
        return {**point, **counts, "rate": np.float64(1e-3), "status": np.int32(RUNNING)}

    def advance(self, graph, state):
        trial = self.trial(state)
        f, g = graph.value_and_grad(trial)
        better = f < state["f"]
        x, f, g = (
            ops.where(better, new, state[name]) for name, new in (("x", trial), ("f", f), ("g", g))
        )
        rate = ops.where(better, 2.0 * state["rate"], 0.25 * state["rate"])
        moved = ops.logical_and(better, state["num_fg"] > 0)
        return {
            "x": x,
            "f": f,
            "g": g,
            "rate": rate,
            "iteration": state["iteration"] + ops.cast(moved, "int32"),
            "num_fg": state["num_fg"] + self.cost(),
            "num_hvp": state["num_hvp"],
            "status": self.status(f, g, rate),
        }

    def trial(self, state):
        return state["x"] - state["rate"] * state["g"]

    def cost(self):
        return 1

    def status(self, f, g, rate):
        finite = ops.isfinite(f)
        lost = ops.where(finite, code_of(Status.STAGNATED), code_of(Status.NONFINITE))
        status = ops.where(rate < 1e-16, lost, RUNNING)
        small = ops.logical_and(finite, ops.norm(g) < self.gtol)
        return ops.where(small, code_of(Status.GRAD_TOL), status)

    def progress(self, state):
        return Progress(*(state[name] for name in NAMES))


class Miscounts(Flow):
    """Tell of twice as many evaluations."""

    def cost(self):
        return 2


class Retraces(Flow):
    """Be equal to no other, so that what was compiled for one is of no use to the next."""

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


class Greedy(Flow):
    """Run as many iterations in a call as it likes."""

    def minimize(self, objective, x0, *, maxiter, callback):
        return super().minimize(Roomy(objective), x0, maxiter=maxiter, callback=callback)


class Roomy:
    """A run that allows any number of iterations."""

    def __init__(self, run):
        self.run = run
        self.bounds, self.memory = run.bounds, run.memory
        self.compile, self.report = run.compile, run.report

    def prepare(self, x):
        self.run.prepare(x)
        return 1000


class Forgets(Flow):
    """Keep its momentum where no file keeps it."""

    @property
    def momentum(self):
        if not MOMENTUM:
            MOMENTUM.append(keras.Variable(0.0, trainable=False, dtype="float64"))
        return MOMENTUM[0]

    def minimize(self, objective, x0, *, maxiter, callback):
        self.momentum.assign(0.0)
        return super().minimize(objective, x0, maxiter=maxiter, callback=callback)

    def trial(self, state):
        self.momentum.assign_add(1.0)
        return super().trial(state) - 1e-3 * self.momentum * state["g"]


MOMENTUM: list[keras.Variable] = []
