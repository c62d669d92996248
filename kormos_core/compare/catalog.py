"""Problems by their names, and by the names of their sets."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

from kormos_core.compare import core_problems, synthetic, user
from kormos_core.compare.problem import Problem, UnknownProblemError
from kormos_core.errors import PluginError, nearest
from kormos_core.registry import installed
from kormos_core.registry.loader import collect

if TYPE_CHECKING:
    from kormos_core.capabilities import ProblemSpec

__all__ = [
    "Listed",
    "Outline",
    "check_name",
    "find_outline",
    "find_problem",
    "find_set",
    "list_problems",
    "list_sets",
]

_LIST: Final = "`kormos compare --list` lists them."


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A problem that somebody declares.

    Attributes
    ----------
    name : str
        What a user calls it: the declared name, after the namespace of a plugin.
    spec : ProblemSpec
        The declaration.
    label : str
        Who declares it: ``"kormos-uci 1.0"``.
    """

    name: str
    spec: ProblemSpec
    label: str


class Outline(NamedTuple):
    """What a plan needs of a problem.

    Attributes
    ----------
    name : str
        Its name.
    home : str
        The first of its sets; "" for none.
    num_starts : int or None
        Number of its starting points, where there is a limit.
    """

    name: str
    home: str
    num_starts: int | None


def list_problems() -> tuple[Listed, ...]:
    """Return all declared problems: the core's, then those of plugins.

    Returns
    -------
    tuple of Listed
        Nothing of them is imported yet. Synthetic ones of other sizes have names too.
    """
    own = [
        Listed(name=spec.name, spec=spec, label="kormos")
        for spec in collect(core_problems).problems
    ]
    return (
        *own,
        *(
            Listed(name=f"{plugin.namespace}:{spec.name}", spec=spec, label=plugin.label)
            for plugin in installed().plugins()
            if plugin.status == "loaded"
            for spec in plugin.problems
        ),
    )


def list_sets() -> dict[str, tuple[str, ...]]:
    """Return the names of all sets, each with the names of its problems.

    Returns
    -------
    dict of str to tuple of str
        In the order in which they are declared; ``classic`` in its own.
    """
    sets: dict[str, tuple[str, ...]] = {"classic": core_problems.CLASSIC_SET}
    for listed in list_problems():
        for name in listed.spec.sets:
            if listed.name not in sets.get(name, ()):
                sets[name] = (*sets.get(name, ()), listed.name)
    return sets


def find_set(name: str) -> tuple[str, ...]:
    """Return the names of the problems of a set.

    Parameters
    ----------
    name : str
        The set's name, in any case.

    Returns
    -------
    tuple of str
        Names for `find_problem`.

    Raises
    ------
    UnknownProblemError
        If there is none of that name.
    """
    sets = list_sets()
    if name.lower() in sets:
        return sets[name.lower()]
    message = (
        f"unknown set of problems {name!r}.{nearest(name, list(sets))} Allowed: "
        f"{', '.join(sets)}. Name one of them."
    )
    raise UnknownProblemError(message)


def check_name(name: str) -> None:
    """See that a problem may have a name; nothing is imported for it.

    Parameters
    ----------
    name : str
        As `find_problem` takes it.

    Raises
    ------
    UnknownProblemError
        If nobody declares it, and it is neither a synthetic one's nor ``module:function``.
    """
    _look_up(name)


def find_problem(name: str) -> Problem:
    """Find the problem of a name.

    Parameters
    ----------
    name : str
        A declared name, in any case; a synthetic one's; or ``module:function`` for a user's
        own, which is called.

    Returns
    -------
    Problem
        The problem; nothing of it is loaded yet.

    Raises
    ------
    UnknownProblemError
        If there is none of that name.
    PluginError
        If the plugin that declares it cannot make it.
    """
    found = _look_up(name)
    if isinstance(found, Listed):
        return _made(found)
    return found or user.make_problem(name)


def find_outline(name: str) -> Outline:
    """Find what a plan needs of a problem; a user's own function is not called.

    Parameters
    ----------
    name : str
        As `find_problem` takes it.

    Returns
    -------
    Outline
        The outline.

    Raises
    ------
    UnknownProblemError
        If there is none of that name.
    PluginError
        If the plugin that declares it cannot make it.
    """
    found = _look_up(name)
    if found is None:
        own = user.find(name)
        if not isinstance(own, Problem):
            return Outline(name, "", None)
        found = own.renamed(name, own.sets)
    problem = _made(found) if isinstance(found, Listed) else found
    return Outline(problem.name, next(iter(problem.sets), ""), problem.num_starts)


def _look_up(name: str) -> Listed | Problem | None:
    """Return the declaration or the synthetic problem of a name, None for a user's own."""
    wanted, listed = name.lower(), list_problems()
    for one in listed:
        if one.name == wanted:
            return one
    if synthetic.is_synthetic(wanted):
        return synthetic.make_problem(wanted)
    namespaces = {one.name.partition(":")[0] for one in listed if ":" in one.name}
    if ":" in name and wanted.partition(":")[0] not in namespaces:
        return None
    message = (
        f"unknown problem {name!r}.{nearest(wanted, [one.name for one in listed])} Allowed are "
        f"the problems of the sets {', '.join(list_sets())}, synthetic ones of any size such as "
        f"logistic-500x20, and a function of your own as module:function. {_LIST}"
    )
    raise UnknownProblemError(message)


def _made(listed: Listed) -> Problem:
    """Call the factory of a declaration."""
    module, _, attribute = listed.spec.factory.partition(":")
    try:
        problem = getattr(importlib.import_module(module), attribute)(listed.spec.name)
    except Exception as error:
        message = (
            f"problem {listed.name!r} ({listed.label}) cannot be made by {listed.spec.factory!r}: "
            f"{type(error).__name__}: {error}. Tell the authors of {listed.label}."
        )
        raise PluginError(message) from error
    if not isinstance(problem, Problem):
        message = (
            f"problem {listed.name!r} ({listed.label}) is not usable: {listed.spec.factory!r} "
            f"gave {problem!r:.80}. Allowed is a kormos_core.compare.Problem. Tell the authors of "
            f"{listed.label}."
        )
        raise PluginError(message)
    return problem.renamed(listed.name, listed.spec.sets)
