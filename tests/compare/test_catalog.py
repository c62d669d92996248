from __future__ import annotations

import sys
from types import ModuleType

import pytest

from kormos_core.capabilities import ProblemSpec
from kormos_core.compare import catalog
from kormos_core.compare.catalog import find_problem, find_set, list_problems, list_sets
from kormos_core.compare.classic import CLASSIC
from kormos_core.compare.mgh import name_of
from kormos_core.compare.problem import Problem, UnknownProblemError
from kormos_core.errors import PluginError
from kormos_core.registry import Plugin, Registry, hookimpl
from kormos_core.registry.loader import collect


class Plug:
    """A plugin with two problems, one of which cannot be made."""

    @hookimpl
    def kormos_problems(self):
        yield ProblemSpec(name="oil", factory="plug_problems:make", summary="Oil.", sets=("uci",))
        yield ProblemSpec(name="gas", factory="plug_problems:nothing", sets=("uci",))
        yield ProblemSpec(name="air", factory="plug_problems:number", sets=("uci",))


@pytest.fixture
def plugin(monkeypatch):
    module = ModuleType("plug_problems")
    module.make = lambda name: Problem(name=name, summary="Oil.", recipe=None)
    module.number = lambda name: 3
    monkeypatch.setitem(sys.modules, "plug_problems", module)
    found = Plugin(
        namespace="plug",
        distribution="kormos-plug",
        version="1.0",
        target="plug",
        problems=tuple(collect(Plug()).problems),
    )
    monkeypatch.setattr(catalog, "installed", lambda: Registry([found]))


def test_every_listed_problem_is_made_under_its_name_and_in_its_sets():
    for listed in list_problems():
        problem = find_problem(listed.name.upper())

        assert problem.name == listed.name
        assert problem.sets == listed.spec.sets
        assert problem.summary


def test_the_sets_have_as_many_problems_as_their_sources():
    sizes = {name: len(problems) for name, problems in list_sets().items()}

    assert sizes == {"classic": 8, "sklearn": 7, "synthetic": 4, "nist": 27, "mgh": 38}


def test_the_classic_set_takes_from_every_other_one():
    homes = {find_problem(name).sets[0] for name in find_set("Classic")}

    assert homes == {"sklearn", "synthetic", "nist", "mgh"}


def test_the_functions_of_the_paper_are_all_listed_by_their_titles():
    named = [listed.name for listed in list_problems() if "mgh" in listed.spec.sets]

    assert named == [name_of(function.name) for function in CLASSIC]


def test_an_unknown_set_is_told_with_the_nearest_one():
    with pytest.raises(UnknownProblemError, match=r"unknown set of problems 'clasick'. Did you"):
        find_set("clasick")


def test_the_problems_of_a_plugin_have_its_namespace(plugin):
    problem = find_problem("plug:oil")

    assert (problem.name, problem.sets) == ("plug:oil", ("uci",))
    assert find_set("uci") == ("plug:oil", "plug:gas", "plug:air")


def test_a_problem_that_its_plugin_has_not_is_not_taken_for_a_module(plugin):
    with pytest.raises(UnknownProblemError, match=r"unknown problem 'plug:oli'. Did you mean"):
        find_problem("plug:oli")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plug:gas", r"'plug:gas' \(kormos-plug 1.0\) cannot be made by.*AttributeError"),
        ("plug:air", r"'plug:air' .* is not usable: 'plug_problems:number' gave 3"),
    ],
)
def test_a_plugin_that_cannot_make_its_problem_is_named(plugin, name, said):
    with pytest.raises(PluginError, match=said):
        find_problem(name)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "a b"}, "name of a problem 'a b' is not usable"),
        ({"name": "Upper"}, "A name is in lower case"),
        ({"factory": "no-colon"}, "It has the form 'package.module:function'"),
        ({"sets": ("a,b",)}, "set of problem 'a': 'a,b' is not usable"),
    ],
)
def test_a_declaration_that_could_not_be_honored_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ProblemSpec(**({"name": "a", "factory": "a:b"} | fields))


def test_sets_that_are_one_string_are_refused():
    with pytest.raises(TypeError, match="They are a tuple of strings"):
        ProblemSpec(name="a", factory="a:b", sets="uci")
