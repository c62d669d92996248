from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from kormos_core.capabilities import API_VERSION, SolverSpec

SOUND: dict[str, Any] = {"name": "l-bfgs-b", "factory": "package.module:Class"}


def test_what_is_not_declared_is_not_there() -> None:
    spec = SolverSpec(**SOUND)

    assert spec.supports == frozenset()
    assert spec.needs == {"value"}
    assert spec.dtypes == {"float64"}
    assert (spec.kind, spec.api_version) == ("batch", API_VERSION)
    assert not spec.default
    assert not spec.tolerates_nonfinite


def test_a_declaration_cannot_be_changed() -> None:
    spec: Any = SolverSpec(**SOUND)

    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        spec.name = "other"


@pytest.mark.parametrize(
    ("declared", "error", "message"),
    [
        ({"name": "L-BFGS-B"}, ValueError, r"'L-BFGS-B' is not usable\. A name is in lower case"),
        ({"name": ""}, ValueError, r"solver name '' is not usable"),
        (
            {"name": "a:b"},
            ValueError,
            r"no blank, colon, comma or '>'; the namespace is the entry",
        ),
        ({"name": "a>b"}, ValueError, r"solver name 'a>b' is not usable"),
        ({"name": "a,b"}, ValueError, r"solver name 'a,b' is not usable"),
        ({"name": "a b"}, ValueError, r"solver name 'a b' is not usable"),
        ({"factory": "package.module"}, ValueError, r"It has the form 'package\.module:Class'"),
        ({"factory": "a:b:c"}, ValueError, r"factory 'a:b:c' of solver 'l-bfgs-b'"),
        ({"factory": ":Class"}, ValueError, r"factory ':Class'"),
        ({"aliases": "lbfgs"}, TypeError, r"aliases 'lbfgs' .* They are a tuple of strings"),
        ({"aliases": ("a:b",)}, ValueError, r"alias of solver 'l-bfgs-b': 'a:b' is not usable"),
        ({"kind": "magic"}, ValueError, r"unknown kind \['magic'\].*Allowed: batch, least-sq"),
        ({"needs": frozenset({"luck"})}, ValueError, r"unknown needs \['luck'\] of solver"),
        ({"requires_bounds": True}, ValueError, r"requires bounds .* Add 'bounds' to supports"),
        ({"supports": frozenset({"bound"})}, ValueError, r"Allowed: bounds, constraints, stop"),
    ],
)
def test_a_declaration_that_could_not_be_honored_is_refused(
    declared: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SolverSpec(**SOUND | declared)


def test_the_words_of_a_later_interface_are_not_judged() -> None:
    spec = SolverSpec(**SOUND | {"kind": "quantum", "api_version": API_VERSION + 1})

    assert spec.api_version > API_VERSION
