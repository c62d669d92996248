"""The Keras optimizer that carries a solver's name and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, final

import keras
import numpy as np

from kormos_core.errors import BoundsError, KormosError, UnsupportedError
from kormos_core.objective import HVP_KINDS, check_kind
from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.protocols import BatchOptimizer as Solver
    from kormos_core.registry import Registered
    from kormos_core.result import Result

__all__ = ["BatchOptimizer", "SolverRequest", "get"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SolverRequest:
    """What a user asks of a solver.

    Attributes
    ----------
    solver : str
        Name or alias of the solver.
    options : mapping of str to object
        The solver's options; ``maxiter`` among them is the iteration limit.
    bounds : object
        Bounds on the weights, in any form that `kormos_core.objective.model_bounds`
        takes, or None.
    constraints : tuple
        General constraints on the flat vector, in the solver library's form.
    tol : float or None
        The solver's general tolerance.
    epochs : int or None
        Iteration limit; None runs until the solver converges.
    pretrain_fn : callable or None
        Called with the model before the fit; it may change it.
    batch_size : int or None
        Samples swept at a time where `fit` is given none.
    hvp : str
        Kind of Hessian product to start with.
    training : bool
        Mode of the forward pass; False fits with dropout off and moving statistics.
    """

    solver: str = "scipy"
    options: Mapping[str, Any] = field(default_factory=dict)
    bounds: Any = None
    constraints: tuple[Any, ...] = ()
    tol: float | None = None
    epochs: int | None = None
    pretrain_fn: Callable[[Any], Any] | None = None
    batch_size: int | None = None
    hvp: str = HVP_KINDS[0]
    training: bool = True

    @property
    def registered(self) -> Registered:
        """The solver's entry in the registry."""
        return installed().resolve(self.solver)

    @property
    def maxiter(self) -> int | None:
        """Iteration limit of the request, from `epochs` or the option ``maxiter``."""
        option = self.options.get("maxiter")
        if self.epochs is not None and option is not None and option != self.epochs:
            message = (
                f"two iteration limits: epochs={self.epochs!r} and "
                f"options={{'maxiter': {option!r}}}. Allowed is one. Drop the option."
            )
            raise UnsupportedError(message)
        limit = option if self.epochs is None else self.epochs
        if limit is not None and not _is_positive_whole(limit):
            message = (
                f"the iteration limit (epochs, or the option maxiter) is not usable: {limit!r}. "
                "Allowed is a positive integer, or None to run until the solver converges. "
                "Pass one of them."
            )
            raise UnsupportedError(message)
        return None if limit is None else int(limit)

    def check_steps(self, steps_per_execution: int) -> None:
        """Refuse several iterations a call from a solver that does not run in the graph.

        Parameters
        ----------
        steps_per_execution : int
            As the model was compiled with.

        Raises
        ------
        UnsupportedError
            If the solver cannot honor it.
        """
        registered = self.registered
        if steps_per_execution == 1 or "chunk" in registered.spec.supports:
            return
        message = (
            f"{registered.name} cannot honor steps_per_execution={steps_per_execution!r}: it does "
            "not run in the graph, and returns to Python after every evaluation. Allowed is 1. "
            "Leave it out of compile()."
        )
        raise UnsupportedError(message)

    def create(self) -> Solver:
        """Make the solver with its options.

        Returns
        -------
        kormos_core.BatchOptimizer
            The solver.

        Raises
        ------
        UnknownSolverError
            If no plugin has the solver.
        UnknownOptionError
            If the solver lacks an option.
        """
        options = {name: value for name, value in self.options.items() if name != "maxiter"}
        if self.tol is not None:
            options["tol"] = self.tol
        return self.registered.create(options)


@keras.saving.register_keras_serializable(package="kormos")
class BatchOptimizer(keras.optimizers.Optimizer):
    """Name a solver, with its options, where Keras wants an optimizer.

    It holds what the user asked for and takes part in Keras's compiling and saving; the
    solving is done by `kormos.fit` and by models with `kormos.BatchOptimizedMixin`.

    Parameters
    ----------
    solver : str
        Name or alias, such as ``"scipy:l-bfgs-b"``.
    options : mapping of str to object, or None
        The solver's options by its own names.
    bounds : object
        Bounds: ``(lower, upper)`` for all weights, a pair for each parameter,
        `scipy.optimize.Bounds`, or a mapping from weight paths or layer names to pairs.
    constraints : object
        One general constraint on the flat vector or a sequence of them, in the solver
        library's form; only for solvers that support them.
    tol : float or None
        The solver's general tolerance.
    epochs : int or None
        Iteration limit where `fit` is given none.
    pretrain_fn : callable or None
        Called with the model before the fit.
    batch_size : int or None
        Samples swept at a time where `fit` is given none.
    hvp : {"forward-over-reverse", "reverse-over-reverse", "finite-difference"}
        Kind of Hessian product to start with.
    training : bool
        Whether the model is fitted in training mode: dropout frozen but on, batch
        statistics in normalization.
    name : str or None
        Keras's name of the optimizer.

    Attributes
    ----------
    request : SolverRequest
        All of the above.
    results : list of Result
        One result for each fit, the latest last.

    Raises
    ------
    UnknownSolverError
        If no installed plugin has the solver.
    UnknownOptionError
        If the solver lacks an option.

    Examples
    --------
    >>> import kormos
    >>> optimizer = kormos.BatchOptimizer("scipy:l-bfgs-b", options={"maxcor": 20})
    >>> optimizer.request.solver
    'scipy:l-bfgs-b'
    """

    def __init__(
        self,
        solver: str = "scipy",
        *,
        options: Mapping[str, Any] | None = None,
        bounds: Any = None,
        constraints: Any = (),
        tol: float | None = None,
        epochs: int | None = None,
        pretrain_fn: Callable[[Any], Any] | None = None,
        batch_size: int | None = None,
        hvp: str = HVP_KINDS[0],
        training: bool = True,
        name: str | None = None,
    ) -> None:
        request = SolverRequest(
            solver=solver,
            options=dict(options or {}),
            bounds=bounds,
            constraints=as_constraints(constraints),
            tol=tol,
            epochs=epochs,
            pretrain_fn=pretrain_fn,
            batch_size=batch_size,
            hvp=hvp,
            training=training,
        )
        if not isinstance(solver, str):
            message = (
                f"not a solver's name: {solver!r:.80}. Allowed is one string; a list of methods "
                "would be a chain, which is not available yet. Fit once for each method."
            )
            raise UnsupportedError(message)
        check_kind(hvp)
        request.create()  # a wrong name or option is told here, not at the first fit
        _ = request.maxiter
        super().__init__(learning_rate=1.0, name=name or _identifier(solver))
        self.request = request
        self._results: tuple[Result, ...] = ()

    @property
    def results(self) -> list[Result]:
        """One result for each fit, the latest last."""
        return list(self._results)

    def add_result(self, result: Result) -> None:
        """Keep the `result` of a fit."""
        self._results = (*self._results, result)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Refuse to step `variable` by `gradient` and `learning_rate`, as minibatches do."""
        del gradient, variable, learning_rate
        message = (
            f"{self.request.solver!r} is a batch solver: it cannot take the minibatch steps of "
            "keras.Model.fit. Allowed are kormos.fit(model, ...) and the fit of a "
            "kormos.BatchOptimizedModel. Use one of them."
        )
        raise UnsupportedError(message)

    def get_config(self) -> dict[str, Any]:
        """Return what `.keras` files keep.

        Returns
        -------
        dict
            Arguments for the constructor, of JSON's types.

        Raises
        ------
        UnsupportedError
            If constraints or `pretrain_fn` hold Python functions, which cannot be saved.
        """
        request = self.request
        if request.constraints or request.pretrain_fn is not None:
            what = "constraints" if request.constraints else "pretrain_fn"
            message = (
                f"{what} hold Python objects that a saved model cannot keep. Allowed are solver, "
                "options, bounds, tol and limits. Compile without them before saving, and pass "
                "them to fit()."
            )
            raise UnsupportedError(message)
        return {
            "solver": request.solver,
            "options": {name: _plain(value) for name, value in request.options.items()},
            "bounds": _plain_bounds(request.bounds),
            "tol": request.tol,
            "epochs": request.epochs,
            "batch_size": request.batch_size,
            "hvp": request.hvp,
            "training": request.training,
            "name": self.name,
        }


def as_constraints(constraints: Any) -> tuple[Any, ...]:
    """Take one constraint or a sequence of them as a tuple.

    Parameters
    ----------
    constraints : object, sequence of objects, or None
        Constraints in the solver library's form; a mapping is one constraint.

    Returns
    -------
    tuple
        All of them.
    """
    if constraints is None:
        return ()
    if isinstance(constraints, (list, tuple)):
        return tuple(constraints)
    return (constraints,)


def get(identifier: Any) -> BatchOptimizer:
    """Return the carrier that an identifier means.

    Parameters
    ----------
    identifier : str or BatchOptimizer
        Name or alias of a solver, in any case, or an instance, which is returned.

    Returns
    -------
    BatchOptimizer
        The carrier.

    Raises
    ------
    UnknownSolverError
        If no installed plugin has the solver.
    UnsupportedError
        If the identifier is neither a name nor an instance.
    """
    if isinstance(identifier, BatchOptimizer):
        return identifier
    if isinstance(identifier, str):
        return BatchOptimizer(identifier)
    message = (
        f"not a solver: {identifier!r:.80}. Allowed are the name of a solver and a "
        "kormos.BatchOptimizer. `kormos solvers` lists the names."
    )
    raise UnsupportedError(message)


def overridden(request: SolverRequest, **given: Any) -> SolverRequest:
    """Let the arguments of `fit` take precedence over the constructor's.

    Parameters
    ----------
    request : SolverRequest
        The constructor's.
    **given : object
        Fields of `SolverRequest`; None leaves a field as it is, options are merged.

    Returns
    -------
    SolverRequest
        What holds for this fit.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    own = dict(changes.get("options", {}))
    kept = dict(request.options)
    if "epochs" in changes:  # both are the iteration limit: the constructor's gives way
        kept.pop("maxiter", None)
    elif own.get("maxiter") is not None:
        changes["epochs"] = None
    changes["options"] = {**kept, **own}
    return replace(request, **changes)


def _is_positive_whole(limit: Any) -> bool:
    number = isinstance(limit, Real) and not isinstance(limit, bool)
    return number and limit >= 1 and limit % 1 == 0


def _identifier(solver: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in solver.lower())


def _plain(value: Any) -> Any:
    """Turn NumPy values into JSON's types; anything else passes or is refused by Keras."""
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _plain_bounds(bounds: Any) -> Any:
    if bounds is None:
        return None
    if isinstance(bounds, Mapping):
        return {name: _plain(list(pair)) for name, pair in bounds.items()}
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        pairs = zip(*np.broadcast_arrays(np.atleast_1d(bounds.lb), bounds.ub), strict=True)
        listed = [[float(low), float(high)] for low, high in pairs]
        return listed if len(listed) > 1 else listed[0]
    try:
        return [_plain(entry) for entry in bounds]
    except (TypeError, KormosError) as error:
        message = f"bounds cannot be saved: {bounds!r:.120}. Use pairs or a mapping to pairs."
        raise BoundsError(message) from error
