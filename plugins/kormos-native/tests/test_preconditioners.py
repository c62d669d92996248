"""Preconditioners against the matrices that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from native_graphs import Matrix, tensor

from kormos_native.preconditioners import Diagonal, Identity, random_signs

N = 40
SCALES = np.geomspace(0.03, 30, N)


def empty(preconditioner, n):
    return {name: ops.convert_to_tensor(part) for name, part in preconditioner.empty(n).items()}


def correlated(scales):
    """A Hessian of features whose scales are far apart: diagonal `scales` squared."""
    X = np.random.default_rng(0).normal(size=(200, N))
    correlation = X.T @ X / 200
    root = np.sqrt(np.diag(correlation))
    return correlation * np.outer(scales / root, scales / root)


def estimate(H, runs, **keywords):
    product, diagonal = Matrix(H, **keywords), Diagonal()
    memory = empty(diagonal, len(H))
    for _ in range(runs):
        memory, num_products = diagonal.prepare(memory, product)
    return diagonal, memory, product, int(num_products)


def test_no_preconditioning_changes_nothing():
    product, r = Matrix(np.eye(3)), tensor([1.0, 2.0, 3.0])

    assert Identity().apply({}, r) is r
    assert Identity().prepare({}, product) == ({}, 0)
    assert product.count == 0


@pytest.mark.parametrize("entries", [[1.0, 1e-3, 1e3, 2.0], [3.0, -5.0, 1e-3, -1e3]])
def test_the_diagonal_of_a_diagonal_matrix_is_exact(entries):
    diagonal, memory, _, _ = estimate(np.diag(entries), 1)

    # a mean of eight that are exact but for rounding; the first one weighs next to nothing
    np.testing.assert_allclose(memory["diagonal"], entries, rtol=1e-9)
    # negative entries count by their size
    z = diagonal.apply(memory, tensor(np.ones(4)))
    np.testing.assert_allclose(z, 1 / np.abs(entries), rtol=1e-6)


def test_products_for_probes_are_counted():
    _, memory, product, first = estimate(np.eye(N), 1)
    assert (first, product.count, int(memory["num_probes"])) == (8, 8, 8)

    _, memory, product, later = estimate(np.eye(N), 3)
    assert (later, product.count, int(memory["num_probes"])) == (4, 16, 16)


def test_the_estimate_is_good_at_every_scale():
    H = correlated(SCALES)

    diagonal, memory, _, _ = estimate(H, 10)

    # scaled to ones on the diagonal, a row's rest has the length sqrt(40 / 200), and the mean
    # is worth 19 probes: a standard error of 0.1; four of them are allowed
    ratio = np.array(memory["diagonal"]) / np.diag(H)
    assert np.abs(ratio - 1).max() < 0.4
    z = np.array(diagonal.apply(memory, tensor(np.ones(N))))
    assert np.abs(z * np.diag(H) - 1).max() < 0.7
    assert np.linalg.cond(H) > 1e6
    assert np.linalg.cond(H * np.sqrt(np.outer(z, z))) < 10


def test_estimates_are_lifted_where_the_rest_of_the_row_hides_the_diagonal():
    H = np.ones((N, N)) - np.eye(N)

    diagonal, memory, _, _ = estimate(H, 5)

    # the diagonal is 0: the mean may be small by chance, the divisor is not
    divisor = 1 / np.array(diagonal.apply(memory, tensor(np.ones(N))))
    assert np.abs(memory["diagonal"]).min() < 0.3
    assert divisor.min() > 1


def test_rows_of_zeros_do_no_harm():
    diagonal, memory, _, _ = estimate(np.diag([1.0, 0.0, 2.0]), 2)

    z = np.array(diagonal.apply(memory, tensor([1.0, 0.0, 1.0])))

    np.testing.assert_allclose(z, [1.0, 0.0, 0.5], rtol=1e-12)


def test_products_that_are_not_finite_teach_nothing():
    _, memory, product, _ = estimate(correlated(SCALES), 1, breaks_at=0)

    assert product.count == 8
    np.testing.assert_array_equal(memory["diagonal"], np.ones(N))


def test_signs_are_as_good_as_drawn():
    signs = np.stack([np.array(random_signs(2000, seed)) for seed in range(40)])

    assert set(np.unique(signs)) == {-1.0, 1.0}
    # means of 2000 signs, and products of different draws: 5 standard errors
    assert np.abs(signs.mean(axis=1)).max() < 5 / np.sqrt(2000)
    across = (signs @ signs.T - 2000 * np.eye(40)) / 2000
    assert np.abs(across).max() < 5 / np.sqrt(2000)
    # neighbors, over all draws
    assert abs((signs[:, 1:] * signs[:, :-1]).mean()) < 5 / np.sqrt(2000 * 40)


def test_signs_are_the_same_for_the_same_seed():
    first, again = random_signs(50, 7), random_signs(50, tensor(7))

    np.testing.assert_array_equal(first, again)
