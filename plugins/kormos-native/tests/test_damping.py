"""Damped steps against those of NumPy's singular values."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.optimize
from native_graphs import tensor
from native_squares import make_matrix

from kormos_native.damping import by_cholesky, by_triangle, damped_step

ops = keras.ops

FIT = 0.1  # of the radius, that a length may be off


def with_zero_columns():
    J = make_matrix(9, 6, 10.0)
    J[:, [1, 4]] = 0.0
    return J


def dependent():
    """Seven columns of rank 4."""
    return make_matrix(9, 4, 10.0) @ np.random.default_rng(3).normal(size=(4, 7))


MATRICES = {
    "round": make_matrix(9, 6, 10.0),
    "long": make_matrix(9, 6, 1e4),
    "one": make_matrix(5, 1, 1.0),
    "wide": make_matrix(3, 6, 10.0),
    "dependent": dependent(),
    "zero columns": with_zero_columns(),
}
every_matrix = pytest.mark.parametrize("J", MATRICES.values(), ids=MATRICES)
RESIDUALS = np.cos(1.0 + np.arange(9.0))


def triangle_of(J, r):
    """Return a triangular factor, (n, n), and the residuals in its basis, (n,)."""
    n = J.shape[1]
    both = np.concatenate([np.column_stack([J, r[: len(J)]]), np.zeros((n + 1, n + 1))])
    R = np.linalg.qr(both, mode="r")
    return R[:n, :n], R[:n, n]


def by(name, J, r=RESIDUALS, **options):
    """Return the model of a Jacobian and residuals."""
    if name == "triangle":
        factor, z = triangle_of(J, r)
        return by_triangle(tensor(factor), tensor(z), **options)
    return by_cholesky(tensor(J.T @ J), tensor(J.T @ r[: len(J)]))


class Reference:
    """The same steps from singular values; those that are rounding errors are none."""

    def __init__(self, J, r=RESIDUALS):
        U, self.values, self.basis = np.linalg.svd(J, full_matrices=False)
        self.told = self.values > 1e-13 * self.values[0]
        self.right = -U.T @ r[: len(J)]

    def step(self, damping):
        bottom = np.where(self.told, self.values**2 + damping, 1.0)
        return self.basis.T @ np.where(self.told, self.values * self.right / bottom, 0.0)

    def length(self, damping):
        return np.linalg.norm(self.step(damping))

    def damping(self, length):
        """Find the damping of a step by halving intervals: no derivative, no bound."""
        logarithm = scipy.optimize.brentq(
            lambda t: np.log(self.length(np.exp(t)) / length), -60.0, 60.0, xtol=1e-12
        )
        return np.exp(logarithm)


@pytest.mark.parametrize("guess", [0.0, 1.0, 1e12])
@pytest.mark.parametrize("share", [0.85, 1e-2, 1e-8])
@every_matrix
@pytest.mark.parametrize("name", ["triangle", "cholesky"])
def test_a_step_is_as_long_as_the_region(name, J, share, guess):
    reference = Reference(J)
    radius = share * reference.length(0.0)

    step, damping = damped_step(by(name, J), tensor(radius), tensor(guess))

    assert np.linalg.norm(step) == pytest.approx(radius, rel=FIT)
    longest, shortest = (reference.damping(k * radius) for k in (1.0 + FIT, 1.0 - FIT))
    assert longest * (1 - 1e-6) <= float(damping) <= shortest * (1 + 1e-6)
    # it is the step of this damping, and of no other
    np.testing.assert_allclose(step, reference.step(float(damping)), rtol=1e-6, atol=1e-6 * radius)


@pytest.mark.parametrize(("share", "guess"), [(0.92, 1.0), (1.0, 0.0), (1e6, 1.0)])
@every_matrix
@pytest.mark.parametrize("name", ["triangle", "cholesky"])
def test_a_step_that_fits_is_not_damped(name, J, share, guess):
    reference = Reference(J)
    radius = share * reference.length(0.0)

    step, damping = damped_step(by(name, J), tensor(radius), tensor(guess))

    assert float(damping) == 0.0
    # of its least damping, which Cholesky needs for dependent columns, rounding errors are no
    # small part
    tolerance = 0.1 if name == "cholesky" else 1e-9
    error = np.linalg.norm(step - reference.step(0.0))
    assert error <= tolerance * reference.length(0.0)


@pytest.mark.parametrize("damping", [1e-8, 1.0, 1e6])
@every_matrix
def test_both_factorizations_give_the_same(J, damping):
    triangle, cholesky = by("triangle", J), by("cholesky", J)

    p, square = triangle.solve(tensor(damping))
    other_p, other_square = cholesky.solve(tensor(damping))

    np.testing.assert_allclose(triangle.g, cholesky.g, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(p, other_p, rtol=1e-6, atol=1e-9)
    assert float(square) == pytest.approx(float(other_square), rel=1e-6)
    assert float(triangle.bend(p)) == pytest.approx(float(cholesky.bend(p)), rel=1e-9)
    assert float(triangle.bend(p)) == pytest.approx(np.sum((J @ np.array(p)) ** 2), rel=1e-9)


@pytest.mark.parametrize("damping", [1e-6, 1e-2, 10.0])
@every_matrix
@pytest.mark.parametrize("name", ["triangle", "cholesky"])
def test_the_square_tells_how_the_length_changes(name, J, damping):
    reference = Reference(J)

    p, square = by(name, J).solve(tensor(damping))

    h = 1e-4 * damping
    slope = (reference.length(damping + h) - reference.length(damping - h)) / (2.0 * h)
    assert -float(square) / np.linalg.norm(p) == pytest.approx(slope, rel=1e-5, abs=1e-12)


def test_columns_that_depend_on_each_other_share_the_shortest_step():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        J = make_matrix(9, 3, 10.0, seed) @ rng.normal(size=(3, 7))
        model = by("triangle", J)

        step, _ = model.solve(model.least)

        # rounding errors in place of zeros would let it go on for ever
        shortest = -np.linalg.pinv(J, 1e-12) @ RESIDUALS
        np.testing.assert_allclose(step, shortest, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("angle", [1e-4, 1e-8, 1e-12])
def test_columns_that_are_told_apart_are_not_taken_for_one(angle):
    J = np.column_stack([np.eye(3)[0], np.eye(3)[0] + angle * np.eye(3)[1]])
    model = by("triangle", J, np.array([1.0, 2.0, 3.0]))

    step, _ = model.solve(model.least)

    # the condition of the matrix times the rounding errors of its entries
    np.testing.assert_allclose(step, [2.0 / angle - 1.0, -2.0 / angle], rtol=1e-15 / angle)


def test_rounding_errors_of_the_jacobian_tell_nothing_apart():
    errors = 6e-8 * np.random.default_rng(0).uniform(-1.0, 1.0, 9)
    J = make_matrix(9, 3, 2.0)
    J = np.column_stack([J, J[:, 0] * (1.0 + errors)])
    coarse, fine = by("triangle", J, epsilon=1.2e-7), by("triangle", J)

    lengths = [np.linalg.norm(model.solve(model.least)[0]) for model in (coarse, fine)]

    assert lengths[0] < 5.0
    assert lengths[1] > 1e5


def test_a_step_whose_length_is_no_number_is_damped():
    model = by("triangle", 1e-150 * np.eye(2), 1e6 * RESIDUALS)

    step, damping = damped_step(model, tensor(1e150), tensor(0.0))

    # that of Gauss and Newton is as long as 1e156
    assert float(damping) > 0.0
    assert np.isfinite(np.sum(np.square(step)))
    assert (np.array(step) * RESIDUALS[:2] < 0.0).all()


@pytest.mark.parametrize("name", ["triangle", "cholesky"])
def test_a_matrix_of_zeros_has_no_step(name):
    step, damping = damped_step(by(name, np.zeros((4, 3))), tensor(1.0), tensor(2.0))

    np.testing.assert_array_equal(step, np.zeros(3))
    assert float(damping) == 0.0


@pytest.mark.parametrize("share", [0.5, 1e-2, 1e-6])
@every_matrix
def test_a_few_factorizations_are_enough(J, share):
    model, seen = by("triangle", J), []

    def solve(damping):
        seen.append(float(damping))
        return model.solve(damping)

    radius = share * Reference(J).length(0.0)
    _, first = damped_step(model, tensor(radius), tensor(0.0))
    damped_step(model._replace(solve=solve), tensor(0.7 * radius), first)

    # the undamped one, that of the last step, and three more
    assert len(seen) <= 5
    assert seen[0] == float(model.least)
    assert seen[1] == pytest.approx(float(first))


@pytest.mark.parametrize("columns", [2, 20, 60])
@pytest.mark.parametrize("rows", [100, 3000])
def test_normal_equations_of_dependent_columns_are_solved(rows, columns):
    rng = np.random.default_rng(columns)
    J = rng.normal(size=(rows, columns)) + 10.0
    J = np.column_stack([J, J[:, 0] + J[:, 1], J[:, 0]])
    J /= np.linalg.norm(J, axis=0)
    r = rng.normal(size=rows)
    model = by("cholesky", J, r)

    step, _ = model.solve(model.least)

    # the least damping is above what rounding makes of the smallest eigenvalue: no failure
    best = np.linalg.lstsq(J, -r)[0]
    assert np.linalg.norm(r + J @ np.array(step)) <= np.linalg.norm(r + J @ best) * (1 + 1e-6)
