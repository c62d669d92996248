"""The one check of a request against a solver's capabilities, before the first step.

Symbols: n number of trainable parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

import psutil

from kormos_core.errors import MemoryLimitError, UnsupportedError
from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kormos_core.registry import Registered, Registry

__all__ = ["check_request"]

_BYTES = 8
_GIB = 2**30
_TRAINING_KINDS = ("batch", "least-squares", "global")
_MAX_NAMES = 6


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is asked of a solver."""

    backend: str
    size: int
    dtype: str
    has_bounds: bool
    unbounded: str
    has_constraints: bool
    available_memory_bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why a solver cannot do it; the cure is followed by the names of those that can."""

    what: str
    cure: str
    linear_memory: bool = False
    error: type[UnsupportedError] = UnsupportedError


_Rule: TypeAlias = Callable[["Registered", _Request], "_Refusal | None"]


def check_request(
    registered: Registered,
    *,
    backend: str,
    size: int,
    dtype: str,
    has_bounds: bool = False,
    unbounded: str = "",
    has_constraints: bool = False,
    available_memory_bytes: int | None = None,
    registry: Registry | None = None,
) -> None:
    """Check that a solver can do what is asked of it.

    Parameters
    ----------
    registered : Registered
        The solver.
    backend : str
        Name of the Keras backend: ``"tensorflow"``, ``"jax"`` or ``"torch"``.
    size : int
        Number of trainable parameters n.
    dtype : str
        Their dtype: ``"float64"``; of several the one of lowest precision.
    has_bounds : bool
        Whether there are bounds.
    unbounded : str
        Which parameters they leave without a finite limit, in words; empty where all have two
        or it is not known yet.
    has_constraints : bool
        Whether there are general constraints.
    available_memory_bytes : int, optional
        Free memory; measured where it is left out.
    registry : Registry, optional
        Where to look for a solver that could do it instead; what is installed, where
        it is left out.

    Raises
    ------
    MemoryLimitError
        When the solver's dense matrices would not fit into the free memory.
    UnsupportedError
        When the solver cannot honor anything else of it.
    """
    if available_memory_bytes is None:
        available_memory_bytes = int(psutil.virtual_memory().available)
    request = _Request(
        backend=backend,
        size=size,
        dtype=dtype,
        has_bounds=has_bounds,
        unbounded=unbounded,
        has_constraints=has_constraints,
        available_memory_bytes=available_memory_bytes,
    )
    refusal = _refusal(registered, request)
    if refusal is None:
        return
    candidates = (registry or installed()).solvers()
    names = _able(candidates, registered, request, linear_memory=refusal.linear_memory)
    who = f": {names}" if names else "; none that is installed can do all of this"
    raise refusal.error(f"{refusal.what}. {refusal.cure}{who}.")


def _refusal(registered: Registered, request: _Request) -> _Refusal | None:
    for rule in _RULES:
        refusal = rule(registered, request)
        if refusal is not None:
            return refusal
    return None


def _able(
    candidates: Iterable[Registered],
    refused: Registered,
    request: _Request,
    *,
    linear_memory: bool,
) -> str:
    """Name the solvers that could do it, the likeliest first."""
    kind = refused.spec.kind if refused.spec.kind in _TRAINING_KINDS else "batch"
    able = [
        other
        for other in candidates
        if _refusal(other, request) is None
        and other.spec.kind == kind
        and not (linear_memory and other.spec.dense_matrices)
    ]
    able.sort(
        key=lambda other: (
            other.namespace != refused.namespace,
            not other.spec.default,
            "grad" not in other.spec.needs,
            other.spec.dense_matrices,
            "hvp" in other.spec.needs,
        )
    )
    names = ", ".join(other.name for other in able[:_MAX_NAMES])
    return f"{names} and {len(able) - _MAX_NAMES} more" if len(able) > _MAX_NAMES else names


def _check_kind(registered: Registered, _: _Request) -> _Refusal | None:
    kind = registered.spec.kind
    if kind in _TRAINING_KINDS:
        return None
    return _Refusal(
        what=f"{registered.name} is a {kind} solver, and training takes "
        f"{', '.join(_TRAINING_KINDS[:-1])} or {_TRAINING_KINDS[-1]} ones",
        cure="Compile with a Keras optimizer, or use a batch solver"
        if kind == "stochastic"
        else "Use a batch solver",
    )


def _check_backend(registered: Registered, request: _Request) -> _Refusal | None:
    allowed = registered.spec.backends
    if not allowed or request.backend in allowed:
        return None
    return _Refusal(
        what=f"{registered.name} does not run on the Keras backend {request.backend!r}. "
        f"It runs on {_list(allowed)}",
        cure=f"Set KERAS_BACKEND={min(allowed)} before Keras is imported, or use a solver "
        "that runs here",
    )


def _check_dtype(registered: Registered, request: _Request) -> _Refusal | None:
    allowed = registered.spec.dtypes
    if request.dtype in allowed:
        return None
    return _Refusal(
        what=f"{registered.name} does not take parameters in {request.dtype}. "
        f"It takes {_list(allowed)}",
        cure=f"Build the model with the dtype policy {max(allowed, default='float64')!r}, or "
        "use a solver that takes it",
    )


def _check_bounds(registered: Registered, request: _Request) -> _Refusal | None:
    if not request.has_bounds or "bounds" in registered.spec.supports:
        return None
    return _Refusal(
        what=f"{registered.name} does not honor bounds, and bounds are given",
        cure="Leave them out, or use a solver that honors them",
    )


def _check_box(registered: Registered, request: _Request) -> _Refusal | None:
    if not registered.spec.requires_bounds or (request.has_bounds and not request.unbounded):
        return None
    given = request.unbounded or "no bounds are given"
    return _Refusal(
        what=f"{registered.name} searches a box and needs finite bounds on every parameter, and "
        f"{given}",
        cure="Give bounds=(lower, upper), one pair for all parameters or one for each, or use a "
        "solver of its kind that needs none",
    )


def _check_constraints(registered: Registered, request: _Request) -> _Refusal | None:
    if not request.has_constraints or "constraints" in registered.spec.supports:
        return None
    return _Refusal(
        what=f"{registered.name} does not honor constraints, and constraints are given",
        cure="Leave them out, or use a solver that honors them",
    )


def _check_size(registered: Registered, request: _Request) -> _Refusal | None:
    limit = registered.spec.max_parameters
    if limit is None or request.size <= limit:
        return None
    why = ""
    if "hessian" in registered.spec.needs:
        why = ": it needs the full Hessian, n products and n² numbers an iteration"
    return _Refusal(
        what=f"{registered.name} takes at most {limit:,} parameters{why}. "
        f"This model has n = {request.size:,}",
        cure="Use a solver for more",
    )


def _check_memory(registered: Registered, request: _Request) -> _Refusal | None:
    count = registered.spec.dense_matrices
    need = count * request.size**2 * _BYTES
    if need <= request.available_memory_bytes:
        return None
    matrices = "matrix" if count == 1 else "matrices"
    return _Refusal(
        what=f"{registered.name} keeps {count} dense {matrices} of n² numbers for "
        f"n = {request.size:,} parameters: {need / _GIB:.1f} GiB, of which "
        f"{request.available_memory_bytes / _GIB:.1f} GiB are free",
        cure="Use a solver of linear memory",
        linear_memory=True,
        error=MemoryLimitError,
    )


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"


_RULES: tuple[_Rule, ...] = (
    _check_kind,
    _check_backend,
    _check_dtype,
    _check_bounds,
    _check_box,
    _check_constraints,
    _check_size,
    _check_memory,
)
