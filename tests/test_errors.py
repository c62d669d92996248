from __future__ import annotations

import pytest

from kormos_core import errors

BUILTINS = {
    "UnknownSolverError": LookupError,
    "AmbiguousNameError": LookupError,
    "PluginError": ImportError,
    "OptionError": ValueError,
    "UnknownOptionError": TypeError,
    "SettingError": ValueError,
    "UnsupportedError": ValueError,
    "MemoryLimitError": MemoryError,
}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_each_error_is_kormoss_own_and_the_builtin_it_refines(
    name: str, builtin: type[Exception]
) -> None:
    error = getattr(errors, name)

    assert issubclass(error, errors.KormosError)
    assert issubclass(error, builtin)


@pytest.mark.parametrize(
    ("name", "candidates", "phrase"),
    [
        ("scipy:lbfgs", ["scipy:bfgs", "scipy:l-bfgs-b"], " Did you mean 'scipy:l-bfgs-b'?"),
        ("NEWTONCG", ["newton-cg", "cg"], " Did you mean 'newton-cg'?"),
        ("maxcors", ["maxcor", "maxiter"], " Did you mean 'maxcor'?"),
        ("qqqq", ["maxcor"], ""),
        ("", ["maxcor"], ""),
        ("maxcor", [], ""),
    ],
)
def test_the_nearest_name_is_asked_for(name: str, candidates: list[str], phrase: str) -> None:
    assert errors.nearest(name, candidates) == phrase
