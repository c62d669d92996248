"""A solver at work under watch: stops, limits, the best point, honest counts; no backend."""

from kormos_core.run.interrupt import Interrupt
from kormos_core.run.iterate import Iterate, Observer
from kormos_core.run.recent import Evaluation, Recent
from kormos_core.run.run import Run

__all__ = ["Evaluation", "Interrupt", "Iterate", "Observer", "Recent", "Run"]
