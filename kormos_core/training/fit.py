"""Fit a compiled Keras model with a batch solver."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kormos_core.chain import Chain
from kormos_core.data import is_positive_whole
from kormos_core.errors import NotCompiledError, UnsupportedError
from kormos_core.optimizer import BatchOptimizer, get
from kormos_core.request import as_constraints, overridden
from kormos_core.training.chain import ChainFit
from kormos_core.training.feed import Feed
from kormos_core.training.progress import verbosity
from kormos_core.training.replaced import is_replaced, through_replacement
from kormos_core.training.resume import check_resume
from kormos_core.training.single import SingleFit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras

__all__ = ["fit"]


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int | Sequence[int | None] | None = None,
    verbose: str | int = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,  # noqa: FBT001, FBT002 - Keras's signature
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int | Sequence[int] = 1,
    *,
    solver: str | BatchOptimizer | Chain | Sequence[Any] | None = None,
    options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
    bounds: Any = None,
    constraints: Any = None,
    tol: float | None = None,
    pretrain_fn: Callable[[Any], Any] | Sequence[Callable[[Any], Any] | None] | None = None,
    resume: str | bool = "auto",
) -> keras.callbacks.History:
    """Fit a compiled model with a batch solver.

    Parameters
    ----------
    model : keras.Model
        Any compiled Keras model; it ends at the best point found.
    x, y, sample_weight, class_weight : object
        Training data as in `keras.Model.fit`: arrays, tensors, pandas objects or
        structures of them; or a tf.data.Dataset, PyDataset or generator as `x` alone.
    batch_size : int or None
        Samples swept at a time, for memory only: the result does not depend on it
        (batch normalization aside). None takes all, in slices of at most 32,768.
    epochs : int, sequence of int, or None
        Iteration limit, counted from `initial_epoch`'s zero; None runs until the solver
        converges, at most 15,000 iterations. With a chain, of each stage; a sequence has
        one for each.
    verbose : {"auto", 0, 1, 2}
        0 silent, 1 one line kept up to date, 2 a line for each iteration.
    callbacks : list of keras.callbacks.Callback
        To them an iteration is an epoch of one batch.
    validation_split, validation_data, validation_steps, validation_batch_size, \
validation_freq : object
        As in `keras.Model.fit`.
    shuffle : bool
        For the stages of a chain that Keras's optimizers do; a sum over all samples has no
        order.
    initial_epoch : int
        Number of the first iteration.
    steps_per_epoch : int or None
        Batches that make one sweep over the data.
    solver : str, BatchOptimizer, Chain, sequence or None
        Solver to use; a sequence is a chain; None takes the one that the model was compiled
        with.
    options, bounds, constraints, tol, pretrain_fn : object
        As of `kormos.BatchOptimizer`; they take precedence over its own. With a chain they
        are for each of its solvers; sequences of `options` or `pretrain_fn` have one for
        each stage.
    resume : {"auto", True, False}
        Whether to go on where the latest fit stood, which a model file keeps: True must,
        ``"auto"`` does where `initial_epoch` is above 0 or a callback has loaded a backup.
        Solvers without such a state start afresh from the weights, and say so.

    Returns
    -------
    keras.callbacks.History
        `history` has one row for each iteration: ``loss``, ``grad``, ``fg_evals``,
        ``hessp_evals``, the metrics, and ``val_*``; `result` is the `Result`. With a chain
        ``solver`` names who made the row, what it does not tell is NaN, and `results` has a
        `Result` for each stage, None for Keras's.

    Raises
    ------
    KormosError
        If model, data, solver and options do not fit together; nothing has been changed.
    KeyboardInterrupt
        On a second Ctrl-C; the model is at the best point.
    """
    level = verbosity(verbose)
    check_resume(resume)
    _check_arguments(options, pretrain_fn, initial_epoch)
    carrier = _carrier(model, solver)
    data = {
        "x": x,
        "y": y,
        "sample_weight": sample_weight,
        "batch_size": batch_size,
        "class_weight": class_weight,
        "steps_per_epoch": steps_per_epoch,
        "validation_split": validation_split,
        "validation_data": validation_data,
        "validation_steps": validation_steps,
        "validation_batch_size": validation_batch_size,
        "validation_freq": validation_freq,
    }
    feed = Feed.of(**data)
    given = {
        "epochs": epochs,
        "options": options,
        "bounds": bounds,
        "constraints": None if constraints is None else as_constraints(constraints),
        "tol": tol,
        "pretrain_fn": pretrain_fn,
    }
    made: ChainFit | SingleFit
    if isinstance(carrier, Chain):
        made = ChainFit(model, carrier, feed, given, shuffle=shuffle)
    else:
        name = solver if isinstance(solver, str) else None
        request = overridden(carrier.request, solver=name, **_single(given))
        made = SingleFit(model, carrier, request, feed)
    work = functools.partial(made.run, level=level, initial_epoch=initial_epoch, resume=resume)
    if not is_replaced():
        return work(callbacks)
    seen = {"epochs": epochs, "callbacks": callbacks, "initial_epoch": initial_epoch}
    return through_replacement(model, carrier, work, data | seen | {"shuffle": shuffle})


def _single(given: dict[str, Any]) -> dict[str, Any]:
    """Refuse a value for each stage where there is one solver."""
    for name in ("epochs", "options", "pretrain_fn"):
        if isinstance(given[name], (list, tuple)):
            message = (
                f"{name} has a value for each stage of a chain, and there is one solver: "
                f"{given[name]!r:.80}. Allowed is one value. Pass it, or a kormos.Chain."
            )
            raise UnsupportedError(message)
    return given


def _check_arguments(options: Any, pretrain_fn: Any, initial_epoch: Any) -> None:
    """Refuse what would only fail, or be misread, much later."""
    many = isinstance(options, (list, tuple))
    for own in options if many else [options]:
        if own is not None and not isinstance(own, Mapping):
            message = (
                f"options are not usable: {own!r:.80}. Allowed is a mapping from names to "
                "values. Write options={'name': value}."
            )
            raise UnsupportedError(message)
    many = isinstance(pretrain_fn, (list, tuple))
    for function in pretrain_fn if many else [pretrain_fn]:
        if function is not None and not callable(function):
            message = (
                f"pretrain_fn is not usable: {function!r:.80}. Allowed is a function of the "
                "model. Pass one, or leave it out."
            )
            raise UnsupportedError(message)
    if initial_epoch != 0 and not is_positive_whole(initial_epoch):
        message = (
            f"initial_epoch is not usable: {initial_epoch!r:.80}. Allowed is a whole number from "
            "0: that of the first iteration. Pass one."
        )
        raise UnsupportedError(message)


def _carrier(model: keras.Model, solver: Any) -> BatchOptimizer | Chain:
    if not model.compiled:
        message = (
            f"the model {model.name!r} is not compiled. A solver needs its loss. "
            "Call compile() before fit()."
        )
        raise NotCompiledError(message)
    if isinstance(solver, (BatchOptimizer, Chain)):
        return solver
    if isinstance(solver, (list, tuple)) or (isinstance(solver, str) and ">" in solver):
        return Chain(solver)
    if solver is not None and not isinstance(solver, str):
        return get(solver)  # which refuses it
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(optimizer, BatchOptimizer) or (isinstance(optimizer, Chain) and solver is None):
        return optimizer
    if solver is not None:
        return get(solver)
    named = type(optimizer).__name__ if optimizer is not None else None
    message = (
        f"the model {model.name!r} has no batch solver: its optimizer is {named}. "
        "Allowed is a solver's name or a kormos.BatchOptimizer. Pass solver= to fit(), or "
        "compile with optimizer=kormos.BatchOptimizer(...)."
    )
    raise NotCompiledError(message)
