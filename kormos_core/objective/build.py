"""From a compiled model and its data to an objective."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

import keras

from kormos_core.backends import current_backend
from kormos_core.errors import (
    DataError,
    KormosError,
    NotCompiledError,
    PrecisionWarning,
    UnsupportedError,
)
from kormos_core.objective.bounds import model_bounds
from kormos_core.objective.faults import unusable
from kormos_core.objective.forward import compute_loss, predict
from kormos_core.objective.graph import EPSILON
from kormos_core.objective.kinds import AUTO
from kormos_core.objective.layers import compute_dtypes, sublayers
from kormos_core.objective.noise import FrozenNoise
from kormos_core.objective.numerics import Numerics
from kormos_core.objective.objective import ModelObjective
from kormos_core.objective.precision import float_dtype, floatx_scope, warn_of_half
from kormos_core.objective.probes import few_samples
from kormos_core.objective.program import Program
from kormos_core.objective.shapes import check_inputs, check_scalar, check_targets
from kormos_core.objective.statistics import Statistics
from kormos_core.objective.terms import make_plan

if TYPE_CHECKING:
    from kormos_core.data import Batch, Batches
    from kormos_core.objective.program import Settings
    from kormos_core.objective.terms import Plan

__all__ = ["ProgramCache", "build_objective", "forget_programs"]

Ranks: TypeAlias = tuple[int, ...]


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
        set of trainable variables are the same objects, and for data of the same ranks:
        a trace for any number of samples is not one for any number of axes.
    """

    entries: weakref.WeakKeyDictionary[Any, dict[tuple[Settings, Ranks, Plan], _Entry]] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def get(self, model: keras.Model, settings: Settings, ranks: Ranks, plan: Plan) -> _Entry:
        """Return the model's program, a new one where anything has changed.

        Parameters
        ----------
        model : keras.Model
            A built and compiled model.
        settings : Settings
            How it is evaluated.
        ranks : tuple of int
            Number of axes of each array.
        plan : Plan
            How batches add up.

        Returns
        -------
        _Entry
            The program and its statistics.
        """
        entries = self.entries.setdefault(model, {})
        identity = _identity(model)
        entry = entries.get((settings, ranks, plan))
        if entry is None or not _same(entry.identity, identity):
            program = Program(model, plan, settings)
            entry = _Entry(identity, program, Statistics(program))
            entries[settings, ranks, plan] = entry
        return entry

    def plan(
        self, model: keras.Model, settings: Settings, ranks: Ranks, *, single: bool
    ) -> Plan | None:
        """Return the plan of a program that is still good, which spares the trials.

        Parameters
        ----------
        model : keras.Model
            A built and compiled model.
        settings : Settings
            How it is evaluated.
        ranks : tuple of int
            Number of axes of each array.
        single : bool
            Whether the data is one batch.

        Returns
        -------
        Plan or None
            The plan; None where there is no such program.
        """
        identity = _identity(model)
        for (*known, plan), entry in self.entries.get(model, {}).items():
            alike = known == [settings, ranks] and (plan.kind == "whole") == single
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
    ranks = _ranks(first)
    plan = _CACHE.plan(model, settings, ranks, single=single)
    if plan is None:
        plan = make_plan(model, first, single=single, training=settings.training)
    entry = _CACHE.get(model, settings, ranks, plan)
    rounds = settings.eager and current_backend().rounds_float64
    precision = "float32" if rounds else _precision(model, loss_dtype)
    warn_of_half(model, precision)
    objective = ModelObjective(
        entry.program,
        batches,
        FrozenNoise.draw(model),
        bounds=model_bounds(bounds, entry.program.layout),
        constraints=constraints,
        numerics=Numerics(hvp=hvp, precision=precision, jit=jit),
    )
    return objective, entry.statistics


def _ranks(first: Batch) -> Ranks:
    """Count the axes of each array; -1 for what is missing."""
    leaves = keras.tree.flatten(first.arrays)
    return tuple(-1 if leaf is None else len(leaf.shape) for leaf in leaves)


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
        raise unusable(model, first.arrays, error) from error
    mended = current_backend().rounds_float64 and compute_dtypes(model) == {"float64"}
    dtypes = {"float64" if mended else keras.backend.standardize_dtype(loss.dtype)}
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
    check_inputs(model, x)
    y_pred = predict(model, x, training=False)
    overridden = type(model).compute_loss is not keras.Model.compute_loss
    if y is None and model.loss is not None and not overridden:
        message = (
            "there are no targets: y is None, and the loss compares outputs with them. Allowed "
            "is an array of one target for each sample. Pass y."
        )
        raise DataError(message)
    check_targets(model, y, y_pred)
    loss = compute_loss(model, arrays, y_pred, training=False)
    check_scalar(model, y_pred, loss)
    model.compute_metrics(x, y, y_pred, weight)
    model.reset_metrics()
    return loss
