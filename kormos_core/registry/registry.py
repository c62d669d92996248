"""Solvers by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from kormos_core.errors import UnknownSolverError, UnsupportedError
from kormos_core.registry import messages
from kormos_core.registry.registered import Registered, RegisteredHVP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kormos_core.capabilities import SolverSpec
    from kormos_core.protocols import BatchOptimizer
    from kormos_core.registry.plugin import Plugin

__all__ = ["Registry"]


@final
class Registry:
    """The solvers of a set of plugins, found by name in any case.

    A full name ``namespace:method`` always works; an alias or a namespace alone works
    where exactly one solver claims it. Nothing is chosen silently.

    Parameters
    ----------
    plugins : iterable of Plugin
        What was found, faulty ones included.
    """

    __slots__ = ("_plugins",)

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._plugins = tuple(plugins)

    def plugins(self) -> tuple[Plugin, ...]:
        """Return every plugin that was found, faulty ones included.

        Returns
        -------
        tuple of Plugin
            Sorted by namespace and distribution.
        """
        return self._plugins

    def solvers(self) -> tuple[Registered, ...]:
        """Return every solver that can be used.

        Returns
        -------
        tuple of Registered
            Sorted by namespace, then in the plugin's own order.
        """
        loaded = (plugin for plugin in self._plugins if plugin.status == "loaded")
        return tuple(_registered(plugin, spec) for plugin in loaded for spec in plugin.solvers)

    def hvps(self) -> tuple[RegisteredHVP, ...]:
        """Return every kind of Hessian product that plugins bring.

        Returns
        -------
        tuple of RegisteredHVP
            Sorted by namespace, then in the plugin's own order.
        """
        return tuple(
            RegisteredHVP(
                namespace=plugin.namespace,
                spec=spec,
                distribution=plugin.distribution,
                version=plugin.version,
            )
            for plugin in self._plugins
            if plugin.status == "loaded"
            for spec in plugin.hvps
        )

    def hvp(self, name: str) -> RegisteredHVP:
        """Find a plugin's kind of Hessian product.

        Parameters
        ----------
        name : str
            ``"namespace:kind"``.

        Returns
        -------
        RegisteredHVP
            The kind.

        Raises
        ------
        UnsupportedError
            When there is none of that name.
        """
        for found in self.hvps():
            if found.name == name:
                return found
        known = ", ".join(found.name for found in self.hvps()) or "none"
        message = f"unknown kind of Hessian product: {name!r}. Brought by plugins: {known}."
        raise UnsupportedError(message)

    def ambiguous_aliases(self) -> dict[str, tuple[Registered, ...]]:
        """Return the short names that more than one usable solver claims.

        Returns
        -------
        dict of str to tuple of Registered
            The name in lower case, and its claimants.
        """
        names = {alias.lower() for solver in self.solvers() for alias in solver.spec.aliases}
        claims = {name: self._claims(name) for name in sorted(names)}
        return {name: found for name, found in claims.items() if len(found) > 1}

    def resolve(self, name: str) -> Registered:
        """Find the solver of a name.

        Parameters
        ----------
        name : str
            ``"namespace:method"``, an alias, or a namespace alone for its default; in
            any case.

        Returns
        -------
        Registered
            The one solver that the name means.

        Raises
        ------
        UnknownSolverError
            When there is none.
        AmbiguousNameError
            When two plugins claim the namespace, or two solvers the alias.
        PluginError
            When its plugin is broken or disabled, or the solver is too new.
        UnsupportedError
            When the name is a chain.
        """
        if not isinstance(name, str):
            message = f"a solver is named by a string. Received: {name!r} of {type(name)}."
            raise UnknownSolverError(message)
        if ">" in name:
            message = (
                f"solver name {name!r} is a chain, and one solver is needed here. Allowed is a "
                "single name; `kormos solvers` lists them. Chains are for models: kormos.Chain."
            )
            raise UnsupportedError(message)
        namespace, colon, method = name.lower().partition(":")
        if colon:
            return self._in_namespace(name, namespace, method)
        return self._by_short_name(name)

    def create(self, name: str, options: Mapping[str, Any] | None = None) -> BatchOptimizer:
        """Make the solver of a name with its options.

        Parameters
        ----------
        name : str
            As `resolve` takes it.
        options : mapping of str to object, optional
            The solver's options; what is left out has its default.

        Returns
        -------
        BatchOptimizer
            The immutable solver.

        Raises
        ------
        UnknownSolverError
            When there is none of that name.
        AmbiguousNameError
            When the name means more than one.
        PluginError
            When it cannot be used.
        UnsupportedError
            When the name is a chain.
        OptionError
            When it does not take the options.
        """
        return self.resolve(name).create(options)

    def _in_namespace(self, name: str, namespace: str, method: str) -> Registered:
        owner = self._owner(name, namespace)
        if owner is None:
            raise messages.unknown_solver(name, self._names(), self._plugins)
        for spec in owner.solvers:
            if spec.name == method:
                return _registered(owner, spec)
        for spec in owner.skipped:
            if spec.name == method:
                raise messages.too_new(name, owner, spec)
        raise messages.unknown_solver(name, self._names(), self._plugins)

    def _by_short_name(self, name: str) -> Registered:
        wanted = name.lower()
        owner = self._owner(name, wanted)
        claims = self._claims(wanted)
        if len(claims) > 1:
            raise messages.alias_conflict(name, claims)
        if claims:
            return claims[0]
        for plugin in self._plugins:
            if plugin.status == "conflict" and _by_name(wanted, plugin, plugin.solvers):
                self._owner(name, plugin.namespace)
            if skipped := _by_name(wanted, plugin, plugin.skipped):
                raise messages.too_new(name, plugin, skipped[0])
        if owner is not None:
            raise messages.no_default(name, owner)
        self._owner(name, messages.official_namespace(wanted))
        raise messages.unknown_solver(name, self._names(), self._plugins)

    def _owner(self, name: str, namespace: str) -> Plugin | None:
        """Return the one usable plugin of a namespace; raise where it is not usable."""
        owners = [plugin for plugin in self._plugins if plugin.namespace == namespace]
        if not namespace or not owners:
            return None
        able = [owner for owner in owners if owner.status != "disabled"]
        if len(able) > 1:
            raise messages.namespace_conflict(name, able)
        owner = (able or owners)[0]
        if owner.status != "loaded":
            raise messages.unusable(owner)
        return owner

    def _claims(self, wanted: str) -> tuple[Registered, ...]:
        return tuple(
            _registered(plugin, spec)
            for plugin in self._plugins
            if plugin.status == "loaded"
            for spec in _by_name(wanted, plugin, plugin.solvers)
        )

    def _names(self) -> list[str]:
        solvers = self.solvers()
        aliases = [alias for solver in solvers for alias in solver.spec.aliases]
        defaults = [solver.namespace for solver in solvers if solver.spec.default]
        return [*(solver.name for solver in solvers), *aliases, *defaults]


def _registered(plugin: Plugin, spec: SolverSpec) -> Registered:
    return Registered(
        namespace=plugin.namespace,
        spec=spec,
        distribution=plugin.distribution,
        version=plugin.version,
    )


def _by_name(wanted: str, plugin: Plugin, specs: Iterable[SolverSpec]) -> list[SolverSpec]:
    """Find what a name without a colon means within one plugin."""
    return [
        spec
        for spec in specs
        if (spec.default and plugin.namespace == wanted)
        or wanted in (alias.lower() for alias in spec.aliases)
    ]
