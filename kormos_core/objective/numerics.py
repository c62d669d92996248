"""How an objective is differentiated, compiled, and how exact it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from kormos_core.backends import current_backend
from kormos_core.curvature import AUTO

__all__ = ["Numerics", "runs_uncompiled"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """What decides how an objective is computed, besides what it is.

    Attributes
    ----------
    hvp : str
        Kind of Hessian product to start with.
    precision : {"float64", "float32", "float16", "bfloat16"}
        Narrowest dtype that the loss is really computed in.
    jit : bool or None
        Whether XLA compiles what runs in the graph; None tries, and does without where XLA
        cannot.
    eager : bool
        Whether a function runs uncompiled.
    """

    hvp: str = AUTO
    precision: str = "float64"
    jit: bool | None = False
    eager: bool = False


def runs_uncompiled(jit: bool | None) -> bool:  # noqa: FBT001 - None is its third value
    """Tell whether `jit`, as of `Numerics`, leaves the backend nothing to compile with."""
    return jit is False and current_backend().needs_jit
