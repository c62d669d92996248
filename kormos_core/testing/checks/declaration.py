"""The declaration is documented, cheap to read, and its options are checked."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from kormos_core.errors import KormosError, UnknownOptionError
from kormos_core.registry import installed
from kormos_core.testing.check import Check
from kormos_core.testing.law import demand

if TYPE_CHECKING:
    from kormos_core.testing.case import Case

__all__ = ["DECLARATION"]

_HEAVY: Final = (
    *("keras", "tensorflow", "jax", "torch", "tensorflow_probability"),
    *("numpy", "scipy", "sklearn", "pandas", "matplotlib", "numba"),
)
_NOBODYS: Final = "no_such_option"
_YEAR: Final = re.compile(r"\b(1[6-9]|20)\d\d\b")

_LIST_SOLVERS: Final = """
import importlib, json, sys
from kormos_core.registry import hookspecs
target, _, attribute = sys.argv[1].partition(":")
plugin = importlib.import_module(target)
for name in filter(None, attribute.split(".")):
    plugin = getattr(plugin, name)
list(plugin.kormos_solvers())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def check_documentation(case: Case) -> None:
    """Check that `case` says what it is, whose algorithm it is, and what its options do."""
    spec, cls = case.spec, case.registered.load()
    do = "Complete the SolverSpec and the docstring of its class."
    demand(
        spec.summary.strip() and "\n" not in spec.summary,
        "The declaration has a summary of one line.",
        seen=f"{spec.summary!r}",
        do=do,
    )
    demand(
        _YEAR.search(spec.citation),
        "The declaration cites the source of the algorithm: authors, title, year, DOI.",
        seen=f"{spec.citation!r}",
        do=do,
    )
    text = (vars(cls).get("__doc__") or "").strip()
    generated = text.startswith(f"{cls.__name__}(")  # what dataclass makes where there is none
    demand(
        text and not generated,
        "The solver's class has a docstring.",
        seen=f"{text[:60]!r}",
        do=do,
    )
    missing = [name for name in case.option_names if not re.search(rf"\b{name}\b", text)]
    demand(
        not missing,
        "The docstring of the class tells every option.",
        seen=f"nothing of {', '.join(missing)}",
        do=do,
    )


def check_immutable(case: Case) -> None:
    """Check that `case` is an immutable dataclass, and that equal ones are equal."""
    one, other = case.create(), case.create()
    do = "Write @dataclass(frozen=True), with fields whose values have an equality and a repr."
    demand(
        one == other and repr(one) == repr(other),
        "Solvers with equal options are equal, in == and in repr.",
        seen=f"{one!r} and {other!r}",
        do=do,
    )
    name = case.option_names[0] if case.option_names else "option"
    try:
        setattr(one, name, None)
    except (dataclasses.FrozenInstanceError, AttributeError, TypeError):
        return
    demand(holds=False, law="A solver is immutable.", seen=f"{name} was set on an instance", do=do)


def check_unknown_option(case: Case) -> None:
    """Check that `case` refuses an option that it does not have."""
    law = "An unknown option is refused, by its name, before anything is evaluated."
    do = (
        "Let every option be a field of the dataclass of its own name; take no mapping of further "
        "ones and no **kwargs."
    )
    try:
        case.registered.create({**case.options, _NOBODYS: 1})
    except UnknownOptionError as error:
        demand(_NOBODYS in str(error), law, seen=str(error), do=do)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is told
        demand(holds=False, law=law, seen=f"{type(error).__name__}: {error}", do=do)
    else:
        demand(holds=False, law=law, seen=f"{_NOBODYS}=1 was taken", do=do)
    for name in case.option_names:
        if _takes_unknown(case, name):
            demand(holds=False, law=law, seen=f"{name}={{'{_NOBODYS}': 1}} was taken", do=do)


def check_light_import(case: Case) -> None:
    """Check that the plugin of `case` can be listed without a backend or numerical library."""
    targets = [
        plugin.target
        for plugin in installed().plugins()
        if plugin.namespace == case.registered.namespace and plugin.status == "loaded"
    ]
    process = _listed(targets[0], os.pathsep.join(path for path in sys.path if path))
    law = "Declaring solvers imports no backend and no numerical library."
    do = "Import them in the module that the factory names, which is loaded at first use."
    demand(not process.returncode, law, seen=process.stderr[-400:], do=do)
    loaded = set(json.loads(process.stdout.splitlines()[-1])) & set(_HEAVY)
    demand(not loaded, law, seen=f"{', '.join(sorted(loaded))} loaded by {targets[0]}", do=do)


@functools.cache  # the solvers of a plugin are declared together
def _listed(target: str, search: str) -> subprocess.CompletedProcess[str]:
    """List the solvers of a plugin in a process of its own, and tell what that has loaded."""
    return subprocess.run(  # noqa: S603 - the plugin that is installed here
        [sys.executable, "-c", _LIST_SOLVERS, target],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )


def _takes_unknown(case: Case, name: str) -> bool:
    """Tell whether an option is a mapping that takes any name."""
    default: Any = getattr(case.create(), name)
    if not hasattr(default, "keys"):
        return False
    try:
        case.create(**{name: {_NOBODYS: 1}})
    except (KormosError, TypeError, ValueError):
        return False
    return True


DECLARATION: Final = (
    Check(
        name="documentation",
        law="The solver is documented and cited.",
        run=check_documentation,
        solves=False,
    ),
    Check(
        name="immutable",
        law="A solver is an immutable dataclass.",
        run=check_immutable,
        solves=False,
    ),
    Check(
        name="unknown_option",
        law="An unknown option is refused.",
        run=check_unknown_option,
        solves=False,
    ),
    Check(
        name="light_import",
        law="Listing solvers loads no backend and no numerical library.",
        run=check_light_import,
        solves=False,
    ),
)
"""Checks of the declaration."""
