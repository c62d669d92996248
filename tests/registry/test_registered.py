from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kormos_core.capabilities import SolverSpec
from kormos_core.errors import (
    OptionError,
    PluginError,
    UnknownOptionError,
    UnsupportedError,
)
from kormos_core.registry import Plugin, Registered, Registry

if TYPE_CHECKING:
    from kormos_core.errors import (
        KormosError,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steep:
    maxcor: int = 10
    gtol: float = 1e-5

    def __post_init__(self) -> None:
        if self.maxcor < 1:
            message = f"maxcor is {self.maxcor}. It is at least 1."
            raise ValueError(message)
        if self.gtol > 1:
            message = "gtol is too large"
            raise UnsupportedError(message)

    def minimize(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demanding:
    rate: float

    def minimize(self) -> None:
        """Do nothing."""


class NoDataclass:
    def minimize(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("some_solvers")
    module.Steep = Steep
    module.Demanding = Demanding
    module.NoDataclass = NoDataclass
    module.NoMinimize = dataclass(type("NoMinimize", (), {}))
    module.NoClass = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "some_solvers", module)


def registered(factory: str) -> Registered:
    spec = SolverSpec(name="steep", factory=factory)
    return Registered(namespace="some", spec=spec, distribution="kormos-some", version="1.0")


def test_the_class_is_imported_on_demand() -> None:
    assert registered("some_solvers:Steep").load() is Steep


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("a_module_that_nobody_has:X", r"some:steep \(kormos-some 1\.0\) cannot be imported"),
        ("a_module_that_nobody_has:X", r"ModuleNotFoundError: No module named 'a_module_that_no"),
        ("a_module_that_nobody_has:X", r"pip install --upgrade kormos-some$"),
        ("some_solvers:Absent", r"AttributeError: .*'Absent'"),
        ("some_solvers:NoDataclass", r"A solver is a dataclass with a method 'minimize'"),
        ("some_solvers:NoMinimize", r"A solver is a dataclass with a method 'minimize'"),
        ("some_solvers:NoClass", r"A solver is a dataclass with a method 'minimize'"),
    ],
)
def test_a_solver_that_cannot_be_imported_names_plugin_cause_and_cure(
    factory: str, message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        registered(factory).load()


def test_a_solver_is_made_with_its_options_and_defaults() -> None:
    solver: object = registered("some_solvers:Steep").create({"maxcor": 20})

    assert solver == Steep(maxcor=20, gtol=1e-5)


@pytest.mark.parametrize(
    ("factory", "options", "error", "message"),
    [
        (
            "Steep",
            {"maxcors": 20},
            UnknownOptionError,
            (
                r"^unknown option 'maxcors' \(value 20\) of solver some:steep\. "
                r"Did you mean 'maxcor'\? Allowed: maxcor, gtol\.$"
            ),
        ),
        ("Steep", {"qqqq": 1}, UnknownOptionError, r"some:steep\. Allowed: maxcor, gtol\.$"),
        ("Steep", {1: 1}, UnknownOptionError, r"unknown option 1"),
        ("Steep", {"maxcor": "a"}, OptionError, r"some:steep does not take .*'maxcor': 'a'.*'<'"),
        ("Steep", {"maxcor": 0}, OptionError, r"maxcor is 0\. It is at least 1\."),
        ("Steep", {"gtol": 2.0}, UnsupportedError, r"^gtol is too large$"),
        ("Demanding", {}, OptionError, r"some:steep needs the options rate"),
    ],
)
def test_options_that_are_not_taken_are_refused(
    factory: str, options: dict[Any, Any], error: type[KormosError], message: str
) -> None:
    with pytest.raises(error, match=message):
        registered(f"some_solvers:{factory}").create(options)


@pytest.mark.parametrize("builtin", [TypeError, ValueError])
def test_an_option_error_is_also_the_builtin_it_refines(builtin: type[Exception]) -> None:
    assert issubclass(UnknownOptionError, builtin)


def test_a_registry_makes_the_solver_of_a_name() -> None:
    plugin = Plugin(
        namespace="some",
        distribution="kormos-some",
        version="1.0",
        target="x",
        solvers=(registered("some_solvers:Steep").spec,),
    )

    solver: object = Registry([plugin]).create("SOME:steep", {"gtol": 0.5})

    assert solver == Steep(gtol=0.5)
