"""What a user asks of a solver."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.curvature import AUTO
from kormos_core.errors import UnsupportedError
from kormos_core.registry import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kormos_core.protocols import BatchOptimizer
    from kormos_core.registry import Registered

__all__ = ["DEFAULT_MAXITER", "SolverRequest", "as_constraints", "check_jit", "overridden"]

DEFAULT_MAXITER: Final = 15_000
"""Iterations after which a solve without a limit ends; SciPy's own for L-BFGS-B."""


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
    jit_compile : {"auto", True, False, None}
        Whether XLA compiles in-graph solvers; None as the model was compiled.
    """

    solver: str = "scipy"
    options: Mapping[str, Any] = field(default_factory=dict)
    bounds: Any = None
    constraints: tuple[Any, ...] = ()
    tol: float | None = None
    epochs: int | None = None
    pretrain_fn: Callable[[Any], Any] | None = None
    batch_size: int | None = None
    hvp: str = AUTO
    training: bool = True
    jit_compile: str | bool | None = None

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
            If the solver cannot honor it, or it is no positive integer.
        """
        if not _is_positive_whole(steps_per_execution):
            message = (
                f"steps_per_execution is not usable: {steps_per_execution!r}. Allowed is a "
                "positive integer. Pass one, or leave it out."
            )
            raise UnsupportedError(message)
        registered = self.registered
        if steps_per_execution == 1 or "chunk" in registered.spec.supports:
            return
        message = (
            f"{registered.name} cannot honor steps_per_execution={steps_per_execution!r}: it does "
            "not run in the graph, and returns to Python after every evaluation. Allowed is 1. "
            "Leave it out of compile()."
        )
        raise UnsupportedError(message)

    def create(self) -> BatchOptimizer:
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


def check_jit(jit_compile: Any) -> None:
    """Refuse what does not say whether XLA is to be used.

    Parameters
    ----------
    jit_compile : object
        What a user passed.

    Raises
    ------
    UnsupportedError
        If it is none of "auto", True, False and None.
    """
    if jit_compile not in ("auto", True, False, None):
        message = (
            f"jit_compile is not usable: {jit_compile!r}. Allowed are 'auto', True, False, "
            "and None to do as the model was compiled. Pass one of them."
        )
        raise UnsupportedError(message)


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
