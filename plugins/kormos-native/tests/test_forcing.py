"""Forcing terms against the formula, term by term."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from native_graphs import Counting, start, tensor

from kormos_native.forcing import newton_equation
from kormos_native.trust_ncg import TrustNCG

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ops = keras.ops

G = np.array([3.0, -4.0])  # of length 5, its largest component 4


def half_square(x):
    return 0.5 * ops.sum(x * x)


def equation(*, norm=0.0, term=0.0, n=2, iteration=0, **options):
    method, graph = TrustNCG(**options), Counting(half_square)
    state = start(method, np.zeros(n))
    g = np.zeros(n)
    g[:2] = G
    state |= {"g": tensor(g), "norm": tensor(norm), "term": tensor(term)}
    state["iteration"] = ops.convert_to_tensor(iteration, "int32")
    return graph, *newton_equation(method, graph, state)


@pytest.mark.parametrize(
    ("norm", "term", "expected"),
    [
        (0.0, 0.0, 0.5),  # the first
        (50.0, 0.1, 0.9 * 0.1**2),  # the gradient has become a tenth
        (50.0, 0.5, 0.9 * 0.5**2),  # held up by the term before, for 0.225 > 0.1
        (50.0, 0.3, 0.9 * 0.1**2),  # not so by 0.081
        (5.0, 0.1, 0.5),  # no progress: the largest one
        (1.0, 0.1, 0.5),  # a step back
    ],
)
def test_the_term_is_that_of_eisenstat_and_walker(norm, term, expected):
    _, _, found, terms = equation(norm=norm, term=term, gtol=0.0)

    assert float(terms["norm"]) == pytest.approx(5.0)
    assert float(terms["term"]) == pytest.approx(expected)
    assert float(found.tolerance) == pytest.approx(5.0 * expected)


@pytest.mark.parametrize("options", [{"gtol": 0.4}, {"tol": 0.4}])
def test_no_more_is_asked_for_than_the_gradient_s_tolerance_needs(options):
    _, _, _, terms = equation(norm=500.0, **options)

    # a tenth of the tolerance over the largest component
    assert float(terms["term"]) == pytest.approx(0.1 * 0.4 / 4.0)


@pytest.mark.parametrize(
    ("n", "maxcg", "limit"), [(2, None, 20), (40, None, 80), (500, None, 200), (500, 3, 3)]
)
def test_products_are_limited(n, maxcg, limit):
    _, _, found, _ = equation(n=n, maxcg=maxcg)

    assert found.limit == limit


def test_products_are_made_of_the_samples_that_are_asked_for():
    graph, product, _, _ = equation(iteration=7, hvp_fraction=0.25)

    np.testing.assert_array_equal(product(tensor([1.0, 2.0])), [1.0, 2.0])
    assert graph.parts == [(0.25, 7)]
