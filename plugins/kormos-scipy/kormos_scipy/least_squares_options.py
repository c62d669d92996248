"""Rules for the options of SciPy's methods for least squares.

SciPy warns of tolerances that are below the machine's precision and of options that a
method does not read; here they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kormos_core.options import (
    FLAG,
    NONNEGATIVE,
    POSITIVE,
    Rule,
    check_options,
    optional,
    ordered,
    whole,
    words,
)
from kormos_scipy.robust_losses import ROBUST_LOSSES

__all__ = ["check_levenberg_marquardt", "check_trust_region"]

_EPS: Final = float(np.finfo(np.float64).eps)

_TOLERANCE: Final = Rule(
    f"a finite number from {_EPS!r} on",
    lambda value: NONNEGATIVE.accepts(value) and value >= _EPS,
)

_LSMR: Final[dict[str, Rule]] = {
    "regularize": FLAG,
    "damp": NONNEGATIVE,
    "atol": NONNEGATIVE,
    "btol": NONNEGATIVE,
    "conlim": NONNEGATIVE,
    "maxiter": whole(1),
}


def check_trust_region(solver: Any, *, regularizes: bool) -> None:
    """Refuse what an option of a trust-region method cannot take; freeze its arrays.

    Parameters
    ----------
    solver : dataclass instance
        The solver.
    regularizes : bool
        Whether the method regularizes its model.

    Raises
    ------
    UnsupportedError
        When a value is not allowed, or options contradict each other.
    """
    check_options(
        solver,
        {
            **dict.fromkeys(("ftol", "xtol", "gtol", "tol"), optional(_TOLERANCE)),
            "x_scale": _SCALE,
            "loss": words("linear", *ROBUST_LOSSES),
            "f_scale": POSITIVE,
            "tr_solver": optional(words("exact", "lsmr")),
            "tr_options": optional(_lsmr_options(regularizes=regularizes)),
            "max_nfev": optional(whole(1)),
        },
    )
    _freeze(solver)
    _check_order(solver)


def check_levenberg_marquardt(solver: Any) -> None:
    """Refuse what an option of Levenberg-Marquardt cannot take; freeze its arrays.

    Parameters
    ----------
    solver : dataclass instance
        The solver.

    Raises
    ------
    UnsupportedError
        When a value is not allowed.
    """
    check_options(
        solver,
        {
            **dict.fromkeys(("ftol", "xtol", "gtol"), _TOLERANCE),
            "x_scale": _SCALE,
            "max_nfev": optional(whole(1)),
            "tol": optional(_TOLERANCE),
        },
    )
    _freeze(solver)


def _check_order(solver: Any) -> None:
    ordered(
        solver,
        "ftol=None, xtol=None, gtol=None",
        holds=not solver.ftol is solver.xtol is solver.gtol is None,
        cure="Give one of them at least: without a test a solve has no end.",
    )
    ordered(
        solver,
        f"loss={solver.loss!r}, f_scale={solver.f_scale!r}",
        holds=solver.loss != "linear" or solver.f_scale == 1.0,
        cure=f"f_scale is for {', '.join(map(repr, ROBUST_LOSSES))}. Leave it out, or use one.",
    )
    ordered(
        solver,
        f"tr_solver={solver.tr_solver!r}, tr_options={solver.tr_options!r}",
        holds=not solver.tr_options or solver.tr_solver == "lsmr",
        cure="tr_options are for tr_solver='lsmr'. Leave them out, or give it.",
    )
    ordered(
        solver,
        f"tr_solver={solver.tr_solver!r}, x_scale={solver.x_scale!r}",
        holds=solver.tr_solver != "lsmr" or solver.x_scale != "jac",
        cure="x_scale='jac' takes the Jacobian as a matrix: use tr_solver='exact', or leave it "
        "out.",
    )


def _is_scale(value: object) -> bool:
    if value is None or isinstance(value, str):
        return value is None or value == "jac"
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    is_flag = np.asarray(value).dtype == np.bool_
    return not is_flag and numbers.ndim <= 1 and bool((np.isfinite(numbers) & (numbers > 0)).all())


_SCALE: Final = Rule("'jac', a finite number above 0, one for each parameter, or None", _is_scale)


def _lsmr_options(*, regularizes: bool) -> Rule:
    rules = {name: rule for name, rule in _LSMR.items() if regularizes or name != "regularize"}

    def accepts(value: object) -> bool:
        if not isinstance(value, (Mapping, tuple)):
            return False
        try:
            given = dict(value)  # of pairs, as it is kept
        except (TypeError, ValueError):
            return False
        return all(name in rules and rules[name].accepts(each) for name, each in given.items())

    allowed = ", ".join(f"{name} ({rule.allowed})" for name, rule in rules.items())
    return Rule(f"a mapping of {allowed}", accepts)


def _freeze(solver: Any) -> None:
    """Turn arrays and mappings into tuples, which keep a solver hashable."""
    if np.ndim(solver.x_scale) == 1:
        scale = tuple(np.asarray(solver.x_scale, dtype=np.float64).tolist())
        object.__setattr__(solver, "x_scale", scale)
    given = getattr(solver, "tr_options", None)
    if given is not None:
        object.__setattr__(solver, "tr_options", tuple(sorted(dict(given).items())))
