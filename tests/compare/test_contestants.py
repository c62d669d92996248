from __future__ import annotations

import pytest

from kormos_core.compare.contestants import find_contestants, split_names
from kormos_core.errors import OptionError, UnknownSolverError, UnsupportedError


@pytest.mark.parametrize(
    ("name", "full"),
    [("scipy:cg", "scipy:cg"), ("L-BFGS-B", "scipy:l-bfgs-b"), ("scipy", "scipy:l-bfgs-b")],
)
def test_a_solver_is_found_by_full_name_alias_and_namespace(name, full):
    (contestant,) = find_contestants([name])

    assert contestant.name == full
    assert contestant.registered is not None


@pytest.mark.parametrize("name", ["adam", "Adam", "sgd", "rmsprop"])
def test_a_name_that_keras_knows_stays_kerass(name):
    (contestant,) = find_contestants([name])

    assert contestant.name == name.lower()
    assert contestant.registered is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scipy:lbfgs", "unknown solver 'scipy:lbfgs'. Did you mean 'scipy:l-bfgs-b'"),
        ("newtoncg", "Did you mean 'newton-cg'|Did you mean 'scipy:newton-cg'"),
        ("adm", "Keras's own optimizers may stand in the list too. Did you mean 'adam'"),
        ("optax:l-bfgs", "pip install kormos-optax"),
        ("lossscaleoptimizer", "unknown solver 'lossscaleoptimizer'"),
    ],
)
def test_an_unknown_solver_is_told_with_the_nearest_names(name, said):
    with pytest.raises(UnknownSolverError, match=said):
        find_contestants(["scipy:cg", name])


def test_a_chain_is_refused():
    with pytest.raises(UnsupportedError, match="is a chain, and one solver is needed here"):
        find_contestants(["adam>scipy:cg"])


def test_an_empty_list_is_refused():
    with pytest.raises(UnknownSolverError, match="the list is empty"):
        find_contestants([])


def test_options_stand_in_parentheses_whose_commas_do_not_part_names():
    names = split_names("native:lbfgs(maxcor=5), adam( learning_rate = 0.1, beta_1=0.8 ),sgd")

    lbfgs, adam, sgd = find_contestants(names)

    assert (lbfgs.name, lbfgs.options) == ("native:lbfgs", {"maxcor": 5})
    assert adam.label == "adam(beta_1=0.8, learning_rate=0.1)"
    assert [one.is_tuned for one in (lbfgs, adam, sgd)] == [False, False, True]


def test_a_mapping_has_options_for_its_names():
    adam, newton = find_contestants({"adam": {"learning_rate": 0.1}, "newton-cg": None})

    assert (adam.label, newton.label) == ("adam(learning_rate=0.1)", "scipy:newton-cg")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scipy:cg(gtol=)", r"the solver 'scipy:cg\(gtol=\)' cannot be read. Allowed is a name"),
        ("scipy:cg(1e-3)", "cannot be read"),
        ("scipy:cg(gtol=f())", "cannot be read"),
        ("scipy:cg(gtol=1", "cannot be read"),
        ("scipy:cg(gtl=1)", "unknown option 'gtl'"),
        ("adam(rate=0.1)", "Keras's adam does not take the options"),
    ],
)
def test_options_that_are_not_taken_are_told(name, said):
    with pytest.raises(OptionError, match=said):
        find_contestants([name])
