"""Truncated conjugate gradients, against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from native_graphs import Matrix, tensor

from kormos_native.conjugate_gradients import (
    BOUNDARY,
    CONVERGED,
    CURVED,
    LIMITED,
    Equation,
    conjugate_gradients,
)

N = 8
G = np.cos(np.arange(N))
EIGENVALUES = np.geomspace(0.1, 100, N)


def rotated(eigenvalues):
    n = len(eigenvalues)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    matrix = rotation * eigenvalues @ rotation.T
    return (matrix + matrix.T) / 2


SPD = rotated(EIGENVALUES)


def solve(H, g=G, *, tolerance=0.0, limit=100, epsilon=2.2e-16, radius=None, **keywords):
    product = Matrix(H, breaks_at=keywords.pop("breaks_at", np.inf))
    radius = None if radius is None else tensor(radius)
    equation = Equation(tensor(g), tensor(tolerance), limit, epsilon, radius)
    found = conjugate_gradients(product, equation, **keywords)
    assert int(found.num_products) == product.count
    return found


def model(H, s, g=G):
    s = np.array(s)
    return g @ s + 0.5 * s @ H @ s


def krylov_minimizer(k):
    """Minimize the model over span{g, H g, ..., H^(k-1) g}."""
    basis, _ = np.linalg.qr(np.stack([np.linalg.matrix_power(SPD, j) @ G for j in range(k)], 1))
    return -basis @ np.linalg.solve(basis.T @ SPD @ basis, basis.T @ G)


def test_the_equation_is_solved_in_as_many_products_as_there_are_parameters():
    found = solve(SPD, tolerance=1e-9)

    assert int(found.outcome) == CONVERGED
    assert int(found.num_products) <= N + 2  # rounding costs a few at a condition of 1000
    np.testing.assert_allclose(found.step, np.linalg.solve(SPD, -G), rtol=1e-8)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_each_step_minimizes_the_model_over_the_krylov_space(k):
    found = solve(SPD, limit=k)

    assert (int(found.outcome), int(found.num_products)) == (LIMITED, k)
    np.testing.assert_allclose(found.step, krylov_minimizer(k), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("tolerance", [1.0, 0.1, 1e-4])
def test_it_ends_with_the_first_residual_that_is_small_enough(tolerance):
    found = solve(SPD, tolerance=tolerance)
    before = solve(SPD, limit=int(found.num_products) - 1)

    residual = SPD @ np.array(found.step) + G
    np.testing.assert_allclose(found.residual, residual, atol=1e-12)
    assert np.linalg.norm(residual) <= tolerance < np.linalg.norm(before.residual)


def test_without_a_product_there_is_no_step():
    found = solve(SPD, limit=0)

    assert int(found.num_products) == 0
    np.testing.assert_array_equal(found.step, np.zeros(N))


def test_the_curvature_of_the_first_direction_is_told():
    assert float(solve(SPD).curvature) == pytest.approx(G @ SPD @ G, rel=1e-12)


# --- negative curvature ------------------------------------------------------------------


def test_negative_curvature_at_once_is_followed_as_far_as_positive_would_be():
    found = solve(-SPD)

    assert (int(found.outcome), int(found.num_products)) == (CURVED, 1)
    np.testing.assert_allclose(found.step, -G * (G @ G) / (G @ SPD @ G), rtol=1e-12)


def test_negative_curvature_that_is_nearly_none_is_not_followed_far():
    g = np.array([1.0, 1.001])

    found = solve(np.diag([1.0, -1.0]), g)

    # a curvature of -0.002 alone would lead 1000 gradients away
    np.testing.assert_allclose(np.linalg.norm(found.step), 10 * np.linalg.norm(g), rtol=1e-2)


@pytest.mark.parametrize("radius", [None, 50.0])
def test_negative_curvature_later_on_leads_farther_down(radius):
    H = rotated(np.array([-0.1, *EIGENVALUES[1:]]))

    found = solve(H, radius=radius)
    before = solve(H, limit=int(found.num_products) - 1)

    assert int(found.outcome) == CURVED
    assert int(found.num_products) > 1
    assert model(H, found.step) < model(H, before.step) < 0
    assert G @ np.array(found.step) < G @ np.array(before.step) < 0


@pytest.mark.parametrize(("sign", "length"), [(1, 5e8), (-1, 10.0)])
def test_curvature_below_the_precision_of_products_counts_as_none(sign, length):
    # of 2e-9 along the first direction, where the product has length 1
    H, g = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, sign * 1e-9])

    coarse = solve(H, g, epsilon=1e-7)
    fine = solve(H, g, limit=1)

    assert int(coarse.outcome) == CURVED
    np.testing.assert_array_equal(coarse.step, np.zeros(2))
    assert np.linalg.norm(fine.step) == pytest.approx(length, rel=1e-6)


# --- the trust region --------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1e-3, 0.1, 1.0, 1.5])
def test_the_edge_of_the_region_is_met_exactly(radius):
    found = solve(SPD, radius=radius)

    cauchy = -G * min(radius / np.linalg.norm(G), (G @ G) / (G @ SPD @ G))
    assert int(found.outcome) == BOUNDARY
    assert np.linalg.norm(found.step) == pytest.approx(radius, rel=1e-12)
    assert model(SPD, found.step) <= model(SPD, cauchy) * (1 - 1e-12)
    np.testing.assert_allclose(found.residual, SPD @ np.array(found.step) + G, atol=1e-12)


def test_a_region_around_the_solution_makes_no_difference():
    solution = np.linalg.solve(SPD, -G)

    found = solve(SPD, tolerance=1e-9, radius=1.01 * np.linalg.norm(solution))

    assert int(found.outcome) == CONVERGED
    np.testing.assert_allclose(found.step, solution, rtol=1e-8)


def test_negative_curvature_leads_to_the_edge():
    found = solve(-SPD, radius=3.0)

    assert int(found.outcome) == CURVED
    np.testing.assert_allclose(found.step, -3.0 * G / np.linalg.norm(G), rtol=1e-12)


# --- products that are not finite --------------------------------------------------------


def test_a_first_product_that_is_not_finite_gives_no_step():
    found = solve(SPD, breaks_at=0)

    assert (int(found.outcome), int(found.num_products)) == (CURVED, 1)
    np.testing.assert_array_equal(found.step, np.zeros(N))
    np.testing.assert_array_equal(found.residual, G)


def test_a_later_product_that_is_not_finite_gives_the_step_so_far():
    found, before = solve(SPD, breaks_at=3), solve(SPD, limit=3)

    assert (int(found.outcome), int(found.num_products)) == (CURVED, 4)
    np.testing.assert_array_equal(found.step, before.step)


def test_a_product_that_is_not_finite_counts_as_no_curvature_in_a_region():
    found = solve(SPD, breaks_at=0, radius=2.0)

    np.testing.assert_allclose(found.step, -2.0 * G / np.linalg.norm(G), rtol=1e-12)
    assert float(found.curvature) == 0.0


# --- preconditioning ---------------------------------------------------------------------


def test_the_inverse_as_preconditioner_needs_one_product():
    inverse = tensor(np.linalg.inv(SPD))

    found = solve(SPD, tolerance=1e-9, precondition=lambda r: ops.matmul(inverse, r))

    assert int(found.num_products) == 1


def test_preconditioning_is_the_iteration_in_scaled_parameters():
    scale = np.geomspace(1, 100, N)
    inverse = tensor(1 / scale)
    root = np.sqrt(scale)

    found = solve(SPD, limit=3, precondition=lambda r: r * inverse)
    scaled = solve(SPD / np.outer(root, root), G / root, limit=3)

    np.testing.assert_allclose(found.step, np.array(scaled.step) / root, rtol=1e-9)
