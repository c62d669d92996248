"""L-BFGS of conjugate directions, against the recursion on dense matrices."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from keras import ops
from native_graphs import Matrix, tensor

from kormos_native.conjugate_gradients import Equation, conjugate_gradients
from kormos_native.conjugate_pairs import ConjugatePairs

N = 20
G = np.cos(np.arange(N))


def empty(preconditioner, n):
    return {name: ops.convert_to_tensor(part) for name, part in preconditioner.empty(n).items()}


def rotated(eigenvalues):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))
    matrix = rotation * eigenvalues @ rotation.T
    return (matrix + matrix.T) / 2


SPD = rotated(np.geomspace(0.1, 100, N))


def learned(pairs, H, limit, memory=None, tolerance=0.0):
    """Run conjugate gradients and learn from them; gives the memory and the count."""
    memory = empty(pairs, N) if memory is None else memory
    gathering = pairs.gathering(memory)
    found = conjugate_gradients(
        Matrix(H),
        Equation(tensor(G), tensor(tolerance), limit, 2.2e-16),
        partial(pairs.apply, memory),
        gathering,
    )
    return gathering.learn(found.gathered), int(found.num_products)


def kept(memory):
    curvatures = np.array(memory["curvatures"])
    p, q = np.array(memory["pairs"])
    return p[curvatures > 0], q[curvatures > 0], curvatures[curvatures > 0]


def dense(pairs, memory):
    return np.stack([np.array(pairs.apply(memory, tensor(unit))) for unit in np.eye(N)], axis=1)


def bfgs(p, q, gamma):
    """Update a multiple of the identity by the inverse BFGS formula, pair by pair."""
    inverse = gamma * np.eye(N)
    for s, y in zip(p, q, strict=True):
        left = np.eye(N) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    return inverse


def test_before_the_first_run_it_is_the_identity():
    pairs = ConjugatePairs()

    np.testing.assert_array_equal(dense(pairs, empty(pairs, N)), np.eye(N))


@pytest.mark.parametrize("limit", [1, 3, 6])
def test_it_is_the_bfgs_matrix_of_all_directions(limit):
    pairs = ConjugatePairs(m=6)

    memory, _ = learned(pairs, SPD, limit)

    p, q, curvatures = kept(memory)
    assert len(p) == limit
    np.testing.assert_allclose(q, p @ SPD, rtol=1e-10, atol=1e-10)
    expected = bfgs(p, q, (curvatures / (q * q).sum(axis=1)).max())
    # the directions are conjugate to about 1e-12
    np.testing.assert_allclose(dense(pairs, memory), expected, rtol=1e-8, atol=1e-10)


def test_it_inverts_the_hessian_along_the_pairs():
    pairs = ConjugatePairs(m=5)

    memory, _ = learned(pairs, SPD, 5)

    p, q, _ = kept(memory)
    for s, y in zip(p, q, strict=True):
        np.testing.assert_allclose(pairs.apply(memory, tensor(y)), s, rtol=1e-7, atol=1e-10)


def test_it_is_symmetric_and_positive_definite():
    pairs = ConjugatePairs(m=4)

    matrix = dense(pairs, learned(pairs, SPD, 15)[0])

    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize(
    ("limit", "numbers"),
    [(4, [0, 1, 2, 3]), (5, [0, 2, 3, 4]), (7, [0, 2, 4, 6]), (13, [0, 4, 8, 12])],
)
def test_pairs_are_taken_from_all_of_the_run(limit, numbers):
    pairs, product = ConjugatePairs(m=4), Matrix(SPD)
    memory = empty(pairs, N)
    gathering = pairs.gathering(memory)

    equation = Equation(tensor(G), tensor(0.0), limit, 2.2e-16)
    found = conjugate_gradients(product, equation, gathering=gathering)

    p, _, _ = kept(gathering.learn(found.gathered))
    which = sorted(int(np.argmin(np.abs(product.seen - s).sum(axis=1))) for s in p)
    assert which == numbers


def test_a_second_run_takes_fewer_products():
    pairs = ConjugatePairs(m=12)
    H = rotated(np.array([1.0 + 0.001 * j for j in range(12)] + [50.0 * 2**j for j in range(8)]))
    memory, first = learned(pairs, H, 100, tolerance=1e-3)

    _, second = learned(pairs, H, 100, memory, tolerance=1e-3)

    # the pairs know the eight large eigenvalues; the others are nearly one
    assert first >= 8
    assert second <= 2


def test_a_run_shorter_than_the_memory_changes_nothing():
    pairs = ConjugatePairs(m=4)
    memory, _ = learned(pairs, SPD, 10)

    after, _ = learned(pairs, SPD, 2, memory)

    np.testing.assert_array_equal(after["pairs"], memory["pairs"])


def test_negative_curvature_is_not_kept():
    pairs = ConjugatePairs()

    memory, count = learned(pairs, rotated(np.array([-1.0, *np.geomspace(0.1, 9, N - 1)])), 100)

    _, _, curvatures = kept(memory)
    assert len(curvatures) == min(count - 1, 8)
    assert np.isfinite(dense(pairs, memory)).all()
