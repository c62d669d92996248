"""What each stage of a chain is given, and what can be known of it before the first one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from kormos_core.backends import current_backend
from kormos_core.check import check_request
from kormos_core.data import is_arrays
from kormos_core.data.batches import is_positive_whole
from kormos_core.errors import DataError, OptionError
from kormos_core.objective import float_dtype
from kormos_core.request import overridden
from kormos_core.training.callbacks import refuse_rate_callbacks
from kormos_core.training.solve import iteration_limit, refuse_replicas

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras

    from kormos_core.chain import Chain
    from kormos_core.request import SolverRequest
    from kormos_core.stage import Stage

__all__ = ["CURE", "check_for_solvers", "check_stage", "given_to", "num_epochs", "request_of"]

CURE: Final = "Put it among the callbacks of a stage that one of Keras's optimizers does."
_FOR_EACH: Final = ("epochs", "options", "pretrain_fn")


def given_to(number: int, chain: Chain, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one stage is given.

    Parameters
    ----------
    number : int
        Number of the stage, from 0.
    chain : Chain
        The chain.
    given : mapping of str to object
        Arguments of the fit, for all stages or sequences with one for each.

    Returns
    -------
    dict of str to object
        The stage's.

    Raises
    ------
    OptionError
        If there is not one for each stage, or the stage has no such thing.
    """
    own = dict(given)
    stage, num_stages = chain.stages[number], len(chain.stages)
    for name in _FOR_EACH:
        value = given[name]
        if isinstance(value, (list, tuple)):
            if len(value) != num_stages:
                message = (
                    f"{name} has {len(value)} values for {num_stages} stages: {value!r:.80}. "
                    "Allowed is one for each stage, or one for all. Pass as many."
                )
                raise OptionError(message)
            own[name] = value[number]
    if not stage.is_batch and isinstance(given["options"], (list, tuple)) and own["options"]:
        message = (
            f"options for the stage {stage.name!r} cannot be honored: {own['options']!r:.80}. "
            "Allowed are None or {} for an optimizer of Keras's. Set them where it is made."
        )
        raise OptionError(message)
    return own


def check_for_solvers(chain: Chain, given: Mapping[str, Any]) -> None:
    """Refuse arguments for solvers where none would honor them to the end.

    Parameters
    ----------
    chain : Chain
        The chain.
    given : mapping of str to object
        Arguments of the fit.

    Raises
    ------
    OptionError
        If there is no solver, or steps that know no bounds come after the last one.
    """
    names = [
        name for name in ("options", "bounds", "constraints", "tol") if _is_given(given[name])
    ]
    if names and not any(stage.is_batch for stage in chain.stages):
        message = (
            f"{names[0]}={given[names[0]]!r:.80} cannot be honored: no stage of the chain is a "
            "solver. Allowed are chains with one. Leave it out, or name a solver."
        )
        raise OptionError(message)
    last = chain.stages[-1]
    limits = [name for name in names if name in ("bounds", "constraints")]
    if limits and not last.is_batch:
        message = (
            f"{limits[0]}={given[limits[0]]!r:.80} cannot be honored: the last stage "
            f"{last.name!r} knows none, and would leave them. Allowed are chains that end with a "
            "solver. Put one at the end."
        )
        raise OptionError(message)


def check_stage(model: keras.Model, stage: Stage, own: Mapping[str, Any], x: Any) -> None:
    """Refuse what a stage cannot honor, before the first one has changed anything.

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    stage : Stage
        The stage.
    own : mapping of str to object
        What it is given.
    x : object
        The training data.

    Raises
    ------
    KormosError
        If it cannot be done.
    """
    batch_size = stage.arguments.get("batch_size")
    if batch_size is not None and not is_arrays(x):
        message = (
            f"batch_size={batch_size!r} of the stage {stage.name!r} cannot be honored beside a "
            f"{type(x).__name__}, which makes its own batches. Allowed is None. Leave it out."
        )
        raise DataError(message)
    if stage.is_batch:
        _check_solver(model, stage, own)
    else:
        _check_epochs(stage, own)


def request_of(stage: Stage, own: Mapping[str, Any]) -> SolverRequest:
    """Return what is asked of the solver of a `stage`, which is given `own`."""
    return overridden(stage.request, **own)


def num_epochs(stage: Stage, own: Mapping[str, Any]) -> int:
    """Return the epochs of a `stage` of Keras's, which is given `own`."""
    epochs = own["epochs"] if own["epochs"] is not None else stage.arguments["epochs"]
    return int(epochs)


def _check_solver(model: keras.Model, stage: Stage, own: Mapping[str, Any]) -> None:
    refuse_replicas(model)
    request = request_of(stage, own)
    request.check_steps(getattr(model, "steps_per_execution", 1))
    request.create()
    iteration_limit(request, 0)
    refuse_rate_callbacks(stage.arguments.get("callbacks"), CURE)
    check_request(
        request.registered,
        backend=current_backend().name,
        size=_least_size(model, request),
        dtype=float_dtype(model),
        has_bounds=request.bounds is not None,
        has_constraints=bool(request.constraints),
    )


def _least_size(model: keras.Model, request: SolverRequest) -> int:
    """Return the number of parameters, or less where it is not known yet."""
    if request.pretrain_fn is not None or not model.built:
        return 1  # it may freeze layers
    sizes = [int(math.prod(variable.shape)) for variable in model.trainable_variables]
    return max(1, sum(sizes))


def _check_epochs(stage: Stage, own: Mapping[str, Any]) -> None:
    epochs = own["epochs"] if own["epochs"] is not None else stage.arguments.get("epochs")
    if is_positive_whole(epochs):
        return
    message = (
        f"the stage {stage.name!r} of a chain has no usable number of epochs: {epochs!r}. Allowed "
        "is a positive integer: minibatch steps do not tell when they have converged. Pass "
        f"epochs to fit(), or make the stage ({stage.name!r}, {{'epochs': 100}})."
    )
    raise OptionError(message)


def _is_given(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict)):
        return any(entry is not None and entry != {} for entry in value) if value else False
    return value is not None
