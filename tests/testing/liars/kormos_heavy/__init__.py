"""A plugin whose declaration loads a numerical library."""

from __future__ import annotations

import scipy  # noqa: F401 - this is what is wrong with it

from kormos_core import SolverSpec
from kormos_core.registry import hookimpl


@hookimpl
def kormos_solvers():
    return [SolverSpec(name="solver", factory="kormos_liars.host:Honest")]
