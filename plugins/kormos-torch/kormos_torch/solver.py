"""The solver that a `SolverOptimizer` runs, checked before any closure is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.box import tell_unbounded
from kormos_core.check import check_request
from kormos_core.errors import UnsupportedError
from kormos_core.options import optional, whole
from kormos_core.registry import installed
from kormos_core.request import DEFAULT_MAXITER, as_constraints
from kormos_torch.objective import kinds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kormos_core import BatchOptimizer, Bounds
    from kormos_core.registry import Registered
    from kormos_torch.layout import Layout

__all__ = ["Solver"]

_BACKEND: Final = "torch"
_LIMIT: Final = optional(whole(1))
_ON_THE_HOST: Final = "scipy:l-bfgs-b or another that runs on the host"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """What is asked of a solver.

    Attributes
    ----------
    name : str
        As the user wrote it.
    registered : Registered
        The solver's entry in the registry.
    method : kormos_core.BatchOptimizer
        The solver with its options.
    maxiter : int
        Iteration limit.
    hvp : str
        Kind of Hessian products.
    constraints : tuple
        General constraints on the flat vector.
    """

    name: str
    registered: Registered
    method: BatchOptimizer
    maxiter: int
    hvp: str
    constraints: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        name: str,
        *,
        options: Mapping[str, Any] | None,
        maxiter: int | None,
        tol: float | None,
        hvp: str,
        constraints: Any,
    ) -> Solver:
        """Find and make a solver.

        Parameters
        ----------
        name : str
            Name or alias.
        options : mapping of str to object, or None
            The solver's options; ``maxiter`` among them is the iteration limit.
        maxiter : int or None
            Iteration limit.
        tol : float or None
            The solver's general tolerance.
        hvp : str
            Kind of Hessian products.
        constraints : object
            General constraints.

        Returns
        -------
        Solver
            The solver.

        Raises
        ------
        KormosError
            If there is no such solver, it lacks an option, or cannot run on a torch module.
        """
        registered = installed().resolve(name)
        _check_runs(registered)
        kinds_of(hvp)
        given = dict(options or {})
        limit = _limit(maxiter, given.pop("maxiter", None))
        if tol is not None:
            given["tol"] = tol
        return cls(
            name=name,
            registered=registered,
            method=registered.create(given),
            maxiter=DEFAULT_MAXITER if limit is None else limit,
            hvp=hvp,
            constraints=as_constraints(constraints),
        )

    @property
    def takes_products(self) -> bool:
        """Whether it asks for Hessian products, or for a Hessian made of them."""
        return bool(self.registered.spec.needs & {"hvp", "hessian"})

    def check(self, layout: Layout, bounds: Bounds | None) -> None:
        """Check that the solver can do what is asked of it.

        Parameters
        ----------
        layout : Layout
            The parameters.
        bounds : Bounds or None
            Box on them.

        Raises
        ------
        UnsupportedError
            If it cannot.
        """
        check_request(
            self.registered,
            backend=_BACKEND,
            size=layout.size,
            dtype=layout.dtype,
            has_bounds=bounds is not None,
            unbounded=tell_unbounded(bounds),
            has_constraints=bool(self.constraints),
        )


def _limit(maxiter: Any, option: Any) -> int | None:
    if maxiter is not None and option is not None and maxiter != option:
        message = (
            f"two iteration limits: maxiter={maxiter!r} and options={{'maxiter': {option!r}}}. "
            "Allowed is one. Drop the option."
        )
        raise UnsupportedError(message)
    limit = option if maxiter is None else maxiter
    if not _LIMIT.accepts(limit):
        message = (
            f"maxiter={limit!r} is not usable. Allowed: {_LIMIT.allowed} to run until the solver "
            "converges. Pass one of them."
        )
        raise UnsupportedError(message)
    return None if limit is None else int(limit)


def _check_runs(registered: Registered) -> None:
    """Refuse what a torch module cannot give, before anything of the solver is imported."""
    spec, name = registered.spec, registered.name
    if "residuals" in spec.needs:
        message = (
            f"{name} needs residuals, and a closure returns a loss. Allowed are solvers of one, "
            f"such as {_ON_THE_HOST}. For residuals use kormos.least_squares or a Keras model."
        )
        raise UnsupportedError(message)
    if spec.backends and _BACKEND not in spec.backends:
        message = (
            f"{name} runs on {', '.join(sorted(spec.backends))} alone, and a torch module does "
            f"not. Allowed are solvers without a backend of their own. Use {_ON_THE_HOST}."
        )
        raise UnsupportedError(message)
    if "in-graph" in spec.supports and (backend := _keras_backend()) != _BACKEND:
        message = (
            f"{name} is written for Keras's backend, which is {backend!r}, and runs on a torch "
            "module where that is torch. Set the environment variable KERAS_BACKEND=torch before "
            f"Keras is imported, or use {_ON_THE_HOST}."
        )
        raise UnsupportedError(message)


def _keras_backend() -> str:
    import keras

    return str(keras.config.backend())
