"""One solver with the plugin that brings it."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from kormos_core.errors import (
    KormosError,
    OptionError,
    PluginError,
    UnknownOptionError,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kormos_core.capabilities import HVPSpec, SolverSpec
    from kormos_core.protocols import BatchOptimizer

__all__ = ["Registered", "RegisteredHVP"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A solver that an installed plugin declares.

    Attributes
    ----------
    namespace : str
        Namespace of the plugin: ``"scipy"``.
    spec : SolverSpec
        What the solver is, needs and supports.
    distribution : str
        Name of the plugin's distribution.
    version : str
        Its version.
    """

    namespace: str
    spec: SolverSpec
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """Full name, which always works: ``"scipy:l-bfgs-b"``."""
        return f"{self.namespace}:{self.spec.name}"

    @property
    def label(self) -> str:
        """Full name and origin: ``"scipy:l-bfgs-b (kormos-scipy 0.2.0)"``."""
        return f"{self.name} ({self.distribution} {self.version})"

    def load(self) -> type[Any]:
        """Import the solver's class.

        Returns
        -------
        type
            A dataclass with a method ``minimize``, as `BatchOptimizer` demands; its
            fields are the solver's options.

        Raises
        ------
        PluginError
            When it cannot be imported or is no such class.
        """
        module, _, attribute = self.spec.factory.partition(":")
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            message = (
                f"solver {self.label} cannot be imported from {self.spec.factory!r}: "
                f"{type(error).__name__}: {error}. "
                f"Repair its installation: pip install --upgrade {self.distribution}"
            )
            raise PluginError(message) from error
        if not (
            isinstance(factory, type)
            and dataclasses.is_dataclass(factory)
            and callable(getattr(factory, "minimize", None))
        ):
            message = (
                f"solver {self.label} is not usable: {self.spec.factory!r} is {factory!r}. "
                "A solver is a dataclass with a method 'minimize'. "
                f"Tell the authors of {self.distribution}."
            )
            raise PluginError(message)
        return factory

    def create(self, options: Mapping[str, Any] | None = None) -> BatchOptimizer:
        """Make the solver with its options.

        Parameters
        ----------
        options : mapping of str to object, optional
            Values of the dataclass's fields; what is left out has its default.

        Returns
        -------
        BatchOptimizer
            The immutable solver.

        Raises
        ------
        UnknownOptionError
            When the solver has no such option.
        OptionError
            When a value is missing or not taken.
        PluginError
            When the solver cannot be imported.
        """
        factory = self.load()
        given = dict(options or {})
        fields = [field for field in dataclasses.fields(factory) if field.init]
        self._check_names(given, [field.name for field in fields])
        missing = [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
            and field.name not in given
        ]
        if missing:
            message = f"solver {self.name} needs the options {', '.join(missing)}. Give them."
            raise OptionError(message)
        try:
            solver: BatchOptimizer = factory(**given)
        except KormosError:
            raise
        except (TypeError, ValueError) as error:
            message = f"solver {self.name} does not take the options {given}: {error}"
            raise OptionError(message) from error
        return solver

    def _check_names(self, given: Mapping[str, Any], allowed: list[str]) -> None:
        for option, value in given.items():
            if option not in allowed:
                message = (
                    f"unknown option {option!r} (value {value!r}) of solver {self.name}."
                    f"{nearest(str(option), allowed)} "
                    f"Allowed: {', '.join(allowed) or 'none'}."
                )
                raise UnknownOptionError(message)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredHVP:
    """A kind of Hessian product that an installed plugin declares.

    Attributes
    ----------
    namespace : str
        Namespace of the plugin.
    spec : HVPSpec
        What the product is.
    distribution : str
        Name of the plugin's distribution.
    version : str
        Its version.
    """

    namespace: str
    spec: HVPSpec
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """Full name: ``"namespace:kind"``."""
        return f"{self.namespace}:{self.spec.name}"

    def load(self) -> Callable[..., Any]:
        """Import the function.

        Returns
        -------
        callable
            Takes a scalar function and a point; gives the function from ``v`` to ``hv``.

        Raises
        ------
        PluginError
            When it cannot be imported.
        """
        module, _, attribute = self.spec.factory.partition(":")
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            message = (
                f"Hessian product {self.name} ({self.distribution} {self.version}) cannot be "
                f"imported from {self.spec.factory!r}: {type(error).__name__}: {error}. "
                f"Repair its installation: pip install --upgrade {self.distribution}"
            )
            raise PluginError(message) from error
        return function
