"""A solver that is checked."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

from kormos_core.registry import installed
from kormos_core.testing.problem import BENT_BOX, BOX, QUADRATIC, ROSENBROCK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kormos_core.capabilities import SolverSpec
    from kormos_core.protocols import BatchOptimizer
    from kormos_core.registry import Registered
    from kormos_core.testing.fitting import Fitting
    from kormos_core.testing.problem import Problem
    from kormos_core.testing.trial import Bench, Trial

__all__ = ["MAXITER", "Case"]

MAXITER: Final = 500
"""Iterations in which a solver is to end by itself."""


@final
class Case:
    """A solver that is checked, and what is shared by its checks.

    Parameters
    ----------
    registered : Registered
        Its entry in the registry.
    options : mapping of str to object, optional
        Its options; what is left out has its default.
    constraint : object
        ``x[0] + x[1] <= 1`` in the form of the solver's library; SciPy's mapping where it is
        left out.
    """

    def __init__(
        self,
        registered: Registered,
        options: Mapping[str, Any] | None = None,
        constraint: Any = None,
    ) -> None:
        self.registered = registered
        self.options = dict(options or {})
        self.constraint = constraint

    @classmethod
    def of(cls, solver: str, options: Mapping[str, Any] | None = None) -> Case:
        """Find a solver by its name.

        Parameters
        ----------
        solver : str
            Name or alias.
        options : mapping of str to object, optional
            Its options.

        Returns
        -------
        Case
            The solver with what is installed here.

        Raises
        ------
        UnknownSolverError
            If no installed plugin has it.
        """
        return cls(installed().resolve(solver), options)

    @property
    def name(self) -> str:
        """Full name of the solver."""
        return self.registered.name

    @property
    def spec(self) -> SolverSpec:
        """What the solver declares."""
        return self.registered.spec

    @property
    def takes_residuals(self) -> bool:
        """Whether it declares that it needs residuals."""
        return "residuals" in self.spec.needs

    @property
    def in_graph(self) -> bool:
        """Whether it declares that it runs in the graph."""
        return "in-graph" in self.spec.supports

    @cached_property
    def option_names(self) -> tuple[str, ...]:
        """Names of its options."""
        fields = dataclasses.fields(self.registered.load())
        return tuple(field.name for field in fields if field.init)

    def create(self, **options: Any) -> BatchOptimizer:
        """Make the solver.

        Parameters
        ----------
        **options : object
            Options that take precedence over those of the case.

        Returns
        -------
        BatchOptimizer
            The solver.

        Raises
        ------
        OptionError
            When it does not take the options.
        """
        return self.registered.create({**self.options, **options})

    def solve(
        self,
        problem: Problem,
        *,
        precision: str = "float64",
        options: Mapping[str, Any] | None = None,
        **demands: Any,
    ) -> Trial:
        """Solve a small problem under watch.

        Parameters
        ----------
        problem : Problem
            The problem.
        precision : {"float64", "float32"}
            What its function is computed in.
        options : mapping of str to object, optional
            Options that take precedence over those of the case.
        **demands : object
            Fields of `kormos_core.testing.trial.Demands`.

        Returns
        -------
        Trial
            What was seen.
        """
        from kormos_core.testing.trial import Demands

        asked = Demands(**({"maxiter": MAXITER} | demands))
        if self.spec.requires_bounds:
            problem = problem.within_box()
        return self._bench(precision).solve(self.create(**(options or {})), problem, asked)

    def _bench(self, precision: str) -> Bench:
        return self._single if precision == "float32" else self._double

    @cached_property
    def _double(self) -> Bench:
        return self._make_bench("float64")

    @cached_property
    def _single(self) -> Bench:
        return self._make_bench("float32")

    def _make_bench(self, precision: str) -> Bench:
        from kormos_core.testing.trial import Bench

        return Bench(self.registered, precision)

    @cached_property
    def whole(self) -> Trial:
        """A solve of Rosenbrock's function to its end."""
        return self.solve(ROSENBROCK)

    @cached_property
    def quadratic(self) -> Trial:
        """A solve of the quadratic to its end."""
        return self.solve(QUADRATIC)

    @cached_property
    def boxed(self) -> tuple[Trial, ...]:
        """Solves within boxes to their ends."""
        return tuple(self.solve(problem) for problem in (BOX, BENT_BOX))

    @cached_property
    def fitting(self) -> Fitting:
        """A compiled model with its data, for the solver to fit."""
        from kormos_core.testing.fitting import Fitting

        return Fitting(self)
