"""The fit loop: solver, objective, callbacks, validation, stops."""

from kormos_core.request import DEFAULT_MAXITER
from kormos_core.run import Interrupt, Iterate, Observer, Run
from kormos_core.training.fit import fit
from kormos_core.training.observer import CallbackObserver
from kormos_core.training.progress import IterationProgress, verbosity

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
