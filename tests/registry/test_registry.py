from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kormos_core.capabilities import SolverSpec
from kormos_core.errors import (
    AmbiguousNameError,
    PluginError,
    UnknownSolverError,
    UnsupportedError,
)
from kormos_core.registry import Plugin, Registry

if TYPE_CHECKING:
    from kormos_core.errors import (
        KormosError,
    )


def spec(name: str, *aliases: str, **declared: Any) -> SolverSpec:
    return SolverSpec(name=name, factory="nowhere:X", aliases=aliases, **declared)


def plugin(namespace: str, *solvers: SolverSpec, **fields: Any) -> Plugin:
    distribution = fields.pop("distribution", f"kormos-{namespace}")
    return Plugin(
        namespace=namespace,
        distribution=distribution,
        version="1.0",
        target="x",
        solvers=solvers,
        **fields,
    )


REGISTRY = Registry(
    [
        plugin("a", spec("one", "uno", "both"), spec("two"), distribution="dist-a"),
        plugin("b", spec("one", "BOTH"), distribution="dist-b"),
        plugin("bad", status="broken", reason="ImportError: no.", traceback="Traceback of bad"),
        plugin("native", status="disabled", reason="disabled by KORMOS_DISABLE_PLUGINS"),
        plugin("new", skipped=(spec("x", "soon", api_version=9),)),
        plugin(
            "scipy", spec("l-bfgs-b", "L-BFGS-B", default=True), spec("bfgs"), spec("newton-cg")
        ),
        plugin("shared", spec("x", "ours"), distribution="s1", status="conflict", reason="twice"),
        plugin("shared", spec("x"), distribution="s2", status="conflict", reason="twice"),
    ]
)
INSTALLED = r"Installed: a \(2\), b \(1\), new \(0\), scipy \(3\)\."
NOT_USABLE = r"Not usable: bad \(kormos-bad 1\.0\), shared \(s1 1\.0\), shared \(s2 1\.0\); "


@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ("scipy:l-bfgs-b", "scipy:l-bfgs-b"),
        ("SciPy:L-BFGS-B", "scipy:l-bfgs-b"),
        ("l-bfgs-b", "scipy:l-bfgs-b"),
        ("L-bfgs-B", "scipy:l-bfgs-b"),
        ("scipy", "scipy:l-bfgs-b"),
        ("SCIPY", "scipy:l-bfgs-b"),
        ("uno", "a:one"),
        ("a:one", "a:one"),
        ("b:one", "b:one"),
    ],
)
def test_a_solver_is_found_by_full_name_alias_or_namespace_in_any_case(
    name: str, full_name: str
) -> None:
    assert REGISTRY.resolve(name).name == full_name


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "scipy:lbfgs",
            UnknownSolverError,
            r"^unknown solver 'scipy:lbfgs'\. Did you mean 'scipy:l-bfgs-b'\? "
            + INSTALLED
            + " "
            + NOT_USABLE,
        ),
        ("lbfgsb", UnknownSolverError, r"Did you mean 'L-BFGS-B'\?"),
        ("scipy:newtoncg", UnknownSolverError, r"Did you mean 'scipy:newton-cg'\?"),
        ("scipy:", UnknownSolverError, r"unknown solver 'scipy:'\."),
        (":bfgs", UnknownSolverError, r"unknown solver ':bfgs'\."),
        ("", UnknownSolverError, r"^unknown solver ''\. Installed"),
        ("qqqq", UnknownSolverError, r"^unknown solver 'qqqq'\. Installed"),
        ("a", UnknownSolverError, r"dist-a 1\.0 has no default solver\. .*: a:one, a:two\."),
        ("tfp:l-bfgs", UnknownSolverError, r"not installed: pip install kormos-tfp brings 'tfp'"),
        ("TFP-LBFGS", UnknownSolverError, r"'TFP-LBFGS'\. .* pip install kormos-tfp brings"),
        ("tfp", UnknownSolverError, r"pip install kormos-tfp brings 'tfp'"),
        ("optax:lbfgs", UnknownSolverError, r"pip install kormos-optax brings 'optax'"),
        (
            "both",
            AmbiguousNameError,
            r"claimed by a:one \(dist-a 1\.0\) and b:one \(dist-b 1\.0\)",
        ),
        ("both", AmbiguousNameError, r"Use a full name: 'a:one' or 'b:one'\.$"),
        ("shared:x", AmbiguousNameError, r"'shared' is claimed by s1 1\.0 and s2 1\.0\."),
        ("shared:x", AmbiguousNameError, r"set KORMOS_DISABLE_PLUGINS=s2$"),
        ("shared", AmbiguousNameError, r"'shared' is claimed by s1 1\.0 and s2 1\.0\."),
        ("ours", AmbiguousNameError, r"name 'ours' is ambiguous: the namespace 'shared'"),
        ("bad:x", PluginError, r"bad \(kormos-bad 1\.0\) is broken: ImportError: no\. Repair it"),
        ("bad", PluginError, r"is broken: ImportError: no"),
        ("native:newton-cg", PluginError, r"is disabled by KORMOS_DISABLE_PLUGINS\. Change"),
        ("native-cg", PluginError, r"is disabled by KORMOS_DISABLE_PLUGINS\. Change"),
        ("new:x", PluginError, r"'new:x' of kormos-new 1\.0 .* interface 9\. .* speaks 1\. Upgr"),
        ("soon", PluginError, r"'soon' of kormos-new 1\.0 is written for plugin interface 9"),
        ("adam>bfgs", UnsupportedError, r"'adam>bfgs' is a chain, and one solver is needed"),
        (3, UnknownSolverError, r"named by a string\. Received: 3 of <class 'int'>"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_the_reason(
    name: str, error: type[KormosError], message: str
) -> None:
    with pytest.raises(error, match=message):
        REGISTRY.resolve(name)


def test_using_a_broken_plugin_shows_its_traceback() -> None:
    with pytest.raises(PluginError, match="is broken") as caught:
        REGISTRY.resolve("bad:anything")

    assert caught.value.__notes__ == ["Traceback of bad"]


def test_a_default_that_is_too_new_is_named() -> None:
    registry = Registry([plugin("new", skipped=(spec("x", default=True, api_version=9),))])

    with pytest.raises(PluginError, match=r"'new' of kormos-new 1\.0 .* interface 9"):
        registry.resolve("new")


def test_an_alias_that_is_another_plugins_namespace_is_ambiguous() -> None:
    registry = Registry([plugin("a", spec("x", default=True)), plugin("b", spec("y", "A"))])

    with pytest.raises(AmbiguousNameError, match=r"'a:x' or 'b:y'"):
        registry.resolve("a")


def test_without_any_plugin_the_error_says_what_to_install() -> None:
    with pytest.raises(UnknownSolverError, match=r"Installed: none\. Install one: pip install ko"):
        Registry([]).resolve("bfgs")


def test_a_plain_unknown_name_reads_as_promised() -> None:
    registry = Registry([plugin("scipy", spec("l-bfgs-b"), spec("bfgs"))])
    message = (
        "unknown solver 'scipy:lbfgs'. Did you mean 'scipy:l-bfgs-b'? "
        "Installed: scipy (2). `kormos solvers` lists them."
    )

    with pytest.raises(UnknownSolverError, match="unknown solver") as caught:
        registry.resolve("scipy:lbfgs")

    assert str(caught.value) == message


def test_only_usable_solvers_are_listed() -> None:
    names = [solver.name for solver in REGISTRY.solvers()]

    assert names == ["a:one", "a:two", "b:one", "scipy:l-bfgs-b", "scipy:bfgs", "scipy:newton-cg"]
    assert len(REGISTRY.plugins()) == 8


def test_an_alias_of_two_solvers_is_reported() -> None:
    claims = REGISTRY.ambiguous_aliases()

    assert {alias: [c.name for c in claims[alias]] for alias in claims} == {
        "both": ["a:one", "b:one"]
    }
