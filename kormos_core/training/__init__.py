"""The fit loop: solver, objective, callbacks, validation, stops."""

from kormos_core.training.callbacks import DEFAULT_MAXITER
from kormos_core.training.fit import fit
from kormos_core.training.interrupt import Interrupt
from kormos_core.training.iterate import Iterate, Observer
from kormos_core.training.observer import CallbackObserver
from kormos_core.training.progress import IterationProgress, verbosity
from kormos_core.training.run import Run

__all__ = [
    "DEFAULT_MAXITER",
    "CallbackObserver",
    "Interrupt",
    "Iterate",
    "IterationProgress",
    "Observer",
    "Run",
    "fit",
    "verbosity",
]
