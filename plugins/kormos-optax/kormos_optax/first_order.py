"""The first-order methods of optax, each a solver whose options are its function's arguments.

Each class is made from the signature of optax's function, so that options and defaults are
those of the optax that is installed.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import TYPE_CHECKING, Any, Final

import optax

from kormos_core.errors import UnsupportedError
from kormos_core.loop import minimize_in_graph
from kormos_core.options import FLAG, Rule, check_options, optional
from kormos_core.options import NUMBER as _NUMBER
from kormos_optax import full_batch
from kormos_optax.full_batch import GTOL, LIMITS, MAX_EVALS, PATIENCE, RULES
from kormos_optax.methods import METHODS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core import Bounds, Callback, Objective, Result
    from kormos_core.loop import GraphObjective, Progress, State

__all__ = [
    "adabelief",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "lion",
    "nadam",
    "nadamw",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
    "yogi",
]

_NO_VALUES: Final = frozenset({"mask", "mu_dtype", "accumulator_dtype"})
"""Arguments that are no plain values, and mean nothing for one flat vector of float64."""

_FINITE: Final = Rule("a finite number", lambda v: _NUMBER.accepts(v) and math.isfinite(v))

_LIMITS: Final = {"gtol": GTOL, "patience": PATIENCE, "max_evals": MAX_EVALS, "tol": None}

_DOC: Final = """Minimize by `optax.{name}` (`kormos_core.loop.LoopMethod`).

    Attributes
    ----------
    {options}
        Arguments of `optax.{name}`, whose documentation tells them; `learning_rate` has the
        default of Keras.
    {limits}

    Notes
    -----
    Deterministic and full-batch. Cost: one evaluation of loss and gradient a step. The loss
    need not fall with every step: kormos keeps the best point. The solve ends by itself where
    the gradient is small or the loss falls no more; a constant rate reaches few digits.

    References
    ----------
    {citation}.
    """


def _build(self: Any) -> Any:
    """Return optax's transformation."""
    arguments = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    options = {name: value for name, value in arguments.items() if name not in _LIMITS}
    return getattr(optax, type(self).__name__)(**options)


def _check(self: Any) -> None:
    """Refuse values that an option cannot take."""
    rules = {field.name: _rule_of(field.default) for field in dataclasses.fields(self)}
    check_options(self, {**rules, **RULES})


def _minimize(
    self: Any,
    objective: Objective,
    x0: NDArray[np.float64],
    *,
    maxiter: int,
    callback: Callback,
) -> Result:
    """Minimize `objective` from `x0`; see `kormos_core.BatchOptimizer`."""
    return minimize_in_graph(self, objective, x0, maxiter=maxiter, callback=callback)


def _init(self: Any, x0: NDArray[np.float64], bounds: Bounds | None) -> dict[str, Any]:
    """Return the state before the first evaluation at `x0`; `bounds` are not supported."""
    del bounds
    return full_batch.init(self, x0)


def _advance(self: Any, graph: GraphObjective, state: State) -> State:
    """Return the `state` of minimizing `graph` after one more step."""
    return full_batch.advance(self, graph, state)


def _progress(self: Any, state: State) -> Progress:
    """Tell how far a `state` is."""
    del self
    return full_batch.progress(state)


_METHODS: Final = {
    "__post_init__": _check,
    "build": _build,
    "minimize": _minimize,
    "init": _init,
    "advance": _advance,
    "progress": _progress,
}


def _rule_of(default: Any) -> Rule:
    if isinstance(default, bool):
        return FLAG
    return optional(_FINITE) if default is None else _FINITE


def _type_of(default: Any) -> Any:
    if isinstance(default, bool):
        return bool
    return float | None if default is None else float


def _solver(name: str) -> type[Any]:
    """Make the class of a method from the signature of optax's function."""
    parameters = inspect.signature(getattr(optax, name)).parameters
    options = {key: p.default for key, p in parameters.items() if key not in _NO_VALUES}
    options["learning_rate"] = METHODS[name].learning_rate
    for key, default in options.items():
        if default is not None and not isinstance(default, (bool, int, float)):
            message = (
                f"optax.{name} of optax {optax.__version__} has the argument {key} with the "
                f"default {default!r}, which is no number. Allowed are numbers, flags and None. "
                "Use optax:transformation, or another version of optax."
            )
            raise UnsupportedError(message)
    fields = [
        (key, _type_of(default), dataclasses.field(default=default))
        for key, default in {**options, **_LIMITS}.items()
    ]
    cls = dataclasses.make_dataclass(
        name, fields, namespace=dict(_METHODS), frozen=True, slots=True, kw_only=True
    )
    cls.__module__ = __name__  # where a pickle looks for it
    text = {"options": ", ".join(options), "limits": LIMITS, "citation": METHODS[name].citation}
    cls.__doc__ = _DOC.format(name=name, **text)
    return cls


adam = _solver("adam")
adamw = _solver("adamw")
sgd = _solver("sgd")
adabelief = _solver("adabelief")
adagrad = _solver("adagrad")
adamax = _solver("adamax")
amsgrad = _solver("amsgrad")
lion = _solver("lion")
nadam = _solver("nadam")
nadamw = _solver("nadamw")
radam = _solver("radam")
rmsprop = _solver("rmsprop")
rprop = _solver("rprop")
yogi = _solver("yogi")
