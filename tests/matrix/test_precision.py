"""Dtype policies with every family: what is computed, and what a user is told."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
from matrix.families import FAMILIES, Shared, best_line, line, line_data

from kormos_core.errors import PrecisionWarning, UnsupportedError

X, Y = line_data()
MINIMUM = best_line()[1]


@pytest.fixture(autouse=True)
def float64():
    """Leave Keras at its default here: float32."""


POLICIES = ("float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
LINES = {policy: Shared(functools.partial(line, policy)) for policy in POLICIES}


def fit(family, policy, **arguments):
    """Fit a line of a policy, and collect what is told of its precision."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = LINES[policy].fit(family, X, Y, epochs=30, **({"options": None} | arguments))
    told = [str(w.message) for w in caught if issubclass(w.category, PrecisionWarning)]
    return history.model, history.result, told


@pytest.mark.parametrize("policy", ["float32", "float64"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_precisions_of_solvers_are_silent_and_reach_the_minimum(family, policy):
    model, result, told = fit(family, policy)

    # default tolerances; float32 has seven digits
    assert result.loss == pytest.approx(MINIMUM, rel=1e-6)
    assert told == []
    assert {str(weight.dtype) for weight in model.trainable_weights} == {policy}
    assert result.x.dtype == np.float64


# Every family in one of them: how solvers see losses of few digits is the same in both.
HALVES = ["mixed_float16", "mixed_bfloat16"]
MIXED = [*zip(FAMILIES, 3 * HALVES, strict=True)]


@pytest.mark.parametrize(("family", "policy"), MIXED)
def test_mixed_precision_is_trained_and_its_cost_is_told(family, policy):
    half, digits = {"mixed_float16": ("float16", 2e-3), "mixed_bfloat16": ("bfloat16", 2e-2)}[
        policy
    ]
    model, result, told = fit(family, policy)

    assert len(told) == 1
    assert f"computes in {half}, which has" in told[0]
    assert {str(weight.dtype) for weight in model.trainable_weights} == {"float32"}
    # the outputs' own rounding is all that keeps the loss from its minimum
    assert MINIMUM * (1 - digits) < result.loss < MINIMUM * (1 + digits)
    assert result.x.dtype == np.float64


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_in_half_precision_are_refused(family, policy):
    with pytest.raises(
        UnsupportedError,
        match=rf"{family} does not take parameters in {policy}\. It takes float32, float64\.",
    ):
        fit(family, policy)


def test_the_gradient_norm_in_half_precision_is_above_that_of_float32():
    norms = [
        fit("scipy:l-bfgs-b", policy)[1].grad_norm for policy in ("float32", "mixed_bfloat16")
    ]

    assert norms[0] < 1e-4 < norms[1]


ASKED = {
    "scipy:l-bfgs-b": {"tol": 1e-12},
    "scipy:newton-cg": {"tol": 1e-12},
    "native:lbfgs": {"options": {"gtol": 1e-12}},
    "native:newton-cg": {"options": {"gtol": 1e-12}},
    "native:trust-ncg": {"tol": 1e-12},
    "tfp:l-bfgs": {"options": {"tolerance": 1e-12}},
}


@pytest.mark.parametrize(
    ("family", "policy"),
    [
        *((family, "float32") for family in FAMILIES),
        # by the general tolerance and by an option of its own
        ("scipy:l-bfgs-b", "float64"),
        ("tfp:l-bfgs", "float64"),
    ],
)
def test_a_tolerance_beyond_float32_is_told_with_its_cure_and_not_in_float64(family, policy):
    told = fit(family, policy, **ASKED[family])[2]

    if policy == "float64":
        assert told == []
    else:
        assert len(told) == 1
        assert "=1e-12 is out of reach: the loss is computed in float32" in told[0]
        assert "keras.config.set_floatx('float64')" in told[0]
