"""Solvers that run inside the compiled graph: what they are made of, what drives them."""

from kormos_core.loop.drive import minimize_in_graph
from kormos_core.loop.memory import Standing, standing
from kormos_core.loop.method import (
    RUNNING,
    GraphObjective,
    LoopMethod,
    Progress,
    State,
    code_of,
    status_of,
)
from kormos_core.loop.operations import ops
from kormos_core.run.chunk import Chunk, LoopHost, Point

__all__ = [
    "RUNNING",
    "Chunk",
    "GraphObjective",
    "LoopHost",
    "LoopMethod",
    "Point",
    "Progress",
    "Standing",
    "State",
    "code_of",
    "minimize_in_graph",
    "ops",
    "standing",
    "status_of",
]
