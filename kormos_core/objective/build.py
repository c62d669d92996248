"""From a compiled model and its data to an objective."""

from __future__ import annotations

import re
import warnings
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import keras

from kormos_core.errors import (
    DataError,
    KormosError,
    NotCompiledError,
    PrecisionWarning,
    UnsupportedError,
)
from kormos_core.objective.bounds import model_bounds
from kormos_core.objective.forward import compute_loss, predict
from kormos_core.objective.graph import EPSILON
from kormos_core.objective.kinds import AUTO
from kormos_core.objective.layers import compute_dtypes, sublayers
from kormos_core.objective.noise import FrozenNoise
from kormos_core.objective.numerics import Numerics
from kormos_core.objective.objective import ModelObjective
from kormos_core.objective.precision import float_dtype, floatx_scope
from kormos_core.objective.probes import few_samples
from kormos_core.objective.program import Program
from kormos_core.objective.statistics import Statistics
from kormos_core.objective.terms import make_plan

if TYPE_CHECKING:
    from kormos_core.data import Batch, Batches
    from kormos_core.objective.program import Settings
    from kormos_core.objective.terms import Plan

__all__ = ["ProgramCache", "build_objective", "forget_programs"]

_ANSI = re.compile(r"\x1b\[\d*m")  # Keras prints its reasons in bold


@final
@dataclass(slots=True)
class _Entry:
    """A program, and what it was made from."""

    identity: tuple[Any, ...]
    program: Program
    statistics: Statistics


@final
@dataclass(slots=True)
class ProgramCache:
    """Programs of models that are still alive, the latest for each way of evaluation.

    Attributes
    ----------
    entries : weak mapping from model to programs
        A program is used again only while the model's loss, metrics, compilation and
        set of trainable variables are the same objects.
    """

    entries: weakref.WeakKeyDictionary[Any, dict[tuple[Settings, Plan], _Entry]] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def get(self, model: keras.Model, settings: Settings, plan: Plan) -> _Entry:
        """Return the model's program, a new one where anything has changed.

        Parameters
        ----------
        model : keras.Model
            A built and compiled model.
        settings : Settings
            How it is evaluated.
        plan : Plan
            How batches add up.

        Returns
        -------
        _Entry
            The program and its statistics.
        """
        entries = self.entries.setdefault(model, {})
        identity = _identity(model)
        entry = entries.get((settings, plan))
        if entry is None or not _same(entry.identity, identity):
            program = Program(model, plan, settings)
            entry = _Entry(identity, program, Statistics(program))
            entries[settings, plan] = entry
        return entry

    def plan(self, model: keras.Model, settings: Settings, *, single: bool) -> Plan | None:
        """Return the plan of a program that is still good, which spares the trials.

        Parameters
        ----------
        model : keras.Model
            A built and compiled model.
        settings : Settings
            How it is evaluated.
        single : bool
            Whether the data is one batch.

        Returns
        -------
        Plan or None
            The plan; None where there is no such program.
        """
        identity = _identity(model)
        for (known, plan), entry in self.entries.get(model, {}).items():
            alike = known == settings and (plan.kind == "whole") == single
            if alike and _same(entry.identity, identity):
                return plan
        return None


_CACHE = ProgramCache()


def forget_programs(model: keras.Model) -> None:
    """Drop the traced functions of a model, after a change that nothing else shows.

    Parameters
    ----------
    model : keras.Model
        The model, whose regularizers or layers' settings have changed in place.
    """
    _CACHE.entries.pop(model, None)


def _identity(model: keras.Model) -> tuple[Any, ...]:
    """List what a trace depends on; it is used again while all of it is the same."""
    return (
        *model.metrics[:1],  # made anew by every compile()
        *(_weak(loss) for loss in keras.tree.flatten(model.loss)),
        *model.trainable_variables,
        *model.non_trainable_variables,
        # batch normalization may have no weights of its own that would tell
        *(layer.trainable for layer in sublayers(model)),
    )


def _weak(loss: Any) -> Any:
    """Refer to a loss without keeping it alive, as it may hold the model itself."""
    try:
        return weakref.ref(loss)
    except TypeError:  # a string, None, or an object without weak references
        return loss


def _same(old: tuple[Any, ...], new: tuple[Any, ...]) -> bool:
    # References to one living object are one object.
    return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))


def build_objective(
    model: keras.Model,
    batches: Batches,
    *,
    settings: Settings,
    bounds: Any = None,
    constraints: tuple[Any, ...] = (),
    hvp: str = AUTO,
    jit: bool | None = False,
) -> tuple[ModelObjective, Statistics]:
    """Make the objective of one fit.

    Parameters
    ----------
    model : keras.Model
        A compiled model; it is built on the data where it is not yet.
    batches : Batches
        The training data.
    settings : Settings
        How the model is evaluated.
    bounds : object
        Bounds in any form that `model_bounds` takes.
    constraints : tuple
        General constraints in the solver library's form.
    hvp : str
        Kind of Hessian product to start with.
    jit : bool or None
        Whether XLA compiles in-graph solvers; None tries, and does without where it must.

    Returns
    -------
    tuple of (ModelObjective, Statistics)
        The objective, and what keeps metrics and moving statistics up to date.

    Raises
    ------
    NotCompiledError
        If the model is not compiled or has no loss.
    UnsupportedError
        If it has no trainable weights, or its losses cannot be added up over batches.
    BoundsError
        If the bounds do not fit the weights.
    """
    if not model.compiled:
        message = (
            "the model is not compiled. A solver needs its loss. Call compile() before fit()."
        )
        raise NotCompiledError(message)
    first = next(iter(batches))
    with floatx_scope(float_dtype(model)):
        loss_dtype = _build_variables(model, first)
    if not model.trainable_variables:
        message = (
            f"the model {model.name!r} has no trainable weights, so there is nothing to fit. "
            "At least one is needed. Set trainable=True on a layer."
        )
        raise UnsupportedError(message)
    single = batches.num_batches == 1
    plan = _CACHE.plan(model, settings, single=single)
    if plan is None:
        plan = make_plan(model, first, single=single, training=settings.training)
    entry = _CACHE.get(model, settings, plan)
    objective = ModelObjective(
        entry.program,
        batches,
        FrozenNoise.draw(model),
        bounds=model_bounds(bounds, entry.program.layout),
        constraints=constraints,
        numerics=Numerics(hvp=hvp, precision=_precision(model, loss_dtype), jit=jit),
    )
    return objective, entry.statistics


def _precision(model: keras.Model, loss_dtype: str) -> str:
    """Return the narrowest floating dtype that takes part."""
    taking_part = {loss_dtype, *compute_dtypes(model)}
    floating = [dtype for dtype in EPSILON if dtype in taking_part]
    return floating[-1] if floating else "float32"  # EPSILON goes from wide to narrow


def _build_variables(model: keras.Model, first: Batch) -> str:
    """Create the variables of model, losses and metrics, outside of any trace.

    Returns
    -------
    str
        Dtype of the loss.
    """
    try:
        loss = _evaluate_once(model, first)
    except KormosError:
        raise
    except Exception as error:
        raise _unusable(model, first, error) from error
    dtypes = {keras.backend.standardize_dtype(loss.dtype)}
    dtypes |= {own.dtype for own in keras.tree.flatten(model.loss) if hasattr(own, "dtype")}
    dtype = min(dtypes)  # the narrowest: "float32" comes before "float64"
    if float_dtype(model) == "float64" and dtype != "float64":
        message = (
            f"the loss of the float64 model {model.name!r} is computed in {dtype}, so that "
            "no more than its digits are right. Call keras.config.set_floatx('float64') before "
            "making the loss and compiling."
        )
        warnings.warn(message, PrecisionWarning, stacklevel=2)
    return str(dtype)


def _evaluate_once(model: keras.Model, first: Batch) -> Any:
    arrays = few_samples(model, first) or first.arrays
    x, y, weight = arrays
    y_pred = predict(model, x, training=False)
    overridden = type(model).compute_loss is not keras.Model.compute_loss
    if y is None and model.loss is not None and not overridden:
        message = (
            "there are no targets: y is None, and the loss compares outputs with them. Allowed "
            "is an array of one target for each sample. Pass y."
        )
        raise DataError(message)
    _check_target(model, y, y_pred)
    loss = compute_loss(model, arrays, y_pred, training=False)
    model.compute_metrics(x, y, y_pred, weight)
    model.reset_metrics()
    return loss


def _unusable(model: keras.Model, first: Batch, error: Exception) -> UnsupportedError:
    """Say that model and data do not fit, in front of what Keras says."""
    shapes = keras.tree.map_structure(
        lambda leaf: None if leaf is None else f"{leaf.dtype.name}{list(leaf.shape)}", first.arrays
    )
    losses = {own.dtype for own in keras.tree.flatten(model.loss) if hasattr(own, "dtype")}
    cure = "Compare these with the model's summary and its loss."
    if float_dtype(model) == "float64" and losses - {"float64"}:
        cure = (
            "The model is float64 and its loss is not: call keras.config.set_floatx('float64') "
            "before making the loss and compiling."
        )
    lines = (_ANSI.sub("", line).strip() for line in str(error).splitlines())
    told = [line for line in lines if line and not line.startswith("Exception encountered")]
    reason = told[0] if told else "it gives no reason."
    return UnsupportedError(
        f"the model {model.name!r} cannot be evaluated on its data: {type(error).__name__}: "
        f"{reason:.300}. Inputs: {shapes[0]}, targets: {shapes[1]}, sample weights: {shapes[2]}. "
        f"{cure}"
    )


def _check_target(model: keras.Model, y: Any, y_pred: Any) -> None:
    """Refuse flat targets that Keras would pair with every entry of a deep output."""
    loss = model.loss
    own = isinstance(loss, str) or type(loss).__module__.startswith("keras.")
    if not own or y is None or keras.tree.is_nested(y) or keras.tree.is_nested(y_pred):
        return
    if len(y.shape) == 1 and len(y_pred.shape) > 2:
        message = (
            f"targets of shape {tuple(y.shape)} do not fit outputs of shape "
            f"{tuple(y_pred.shape)}: Keras would pair every target with every sample. Allowed "
            "is a target of the output's shape. Reshape it, such as y[:, None]."
        )
        raise DataError(message)
