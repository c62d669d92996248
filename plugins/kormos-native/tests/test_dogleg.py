"""Shortened steps, against the dense quadratic model."""

from __future__ import annotations

import numpy as np
import pytest
from native_graphs import Matrix, tensor

from kormos_native.conjugate_gradients import Equation, conjugate_gradients
from kormos_native.dogleg import Path, dogleg

N = 6
G = np.array([1.0, -2.0, 0.5, 3.0, -1.0, 0.1])
ROTATION, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))
SHARES = np.linspace(0.02, 0.99, 25)

# eigenvalues and first radius: the last step inside, at the edge, along negative curvature
# after some directions, and along the first one
CASES = {
    "inside": (np.geomspace(0.1, 50, N), 1000.0),
    "edge": (np.geomspace(0.1, 50, N), 2.0),
    "curved": (np.array([-0.5, 0.1, 1, 5, 20, 50]), 30.0),
    "downhill": (-np.ones(N), 5.0),
    "short": (np.geomspace(0.1, 50, N), 0.01),
}


@pytest.fixture(params=CASES)
def case(request):
    eigenvalues, radius = CASES[request.param]
    H = ROTATION * eigenvalues @ ROTATION.T
    H = (H + H.T) / 2
    equation = Equation(tensor(G), tensor(1e-8), 100, 2.2e-16, tensor(radius))
    found = conjugate_gradients(Matrix(H), equation)
    path = Path(tensor(G), found.step, found.residual, found.curvature)
    return H, path, float(np.linalg.norm(found.step))


def decrease(H, s):
    return -(G @ s + 0.5 * s @ H @ s)


def test_the_last_step_is_kept_where_it_is_inside(case):
    H, path, length = case

    step, promised = dogleg(path, tensor(1.01 * length))

    np.testing.assert_array_equal(step, path.s)
    assert float(promised) == pytest.approx(decrease(H, np.array(step)), rel=1e-10)


def test_a_smaller_region_is_left_at_its_edge_with_a_known_decrease(case):
    H, path, length = case

    for share in SHARES:
        step, promised = dogleg(path, tensor(share * length))

        assert np.linalg.norm(step) == pytest.approx(share * length, rel=1e-10)
        # the residual of the recursion is good to 1e-12 of the products
        assert float(promised) == pytest.approx(decrease(H, np.array(step)), rel=1e-9)


def test_the_model_falls_all_the_way(case):
    _, path, length = case

    promised = [float(dogleg(path, tensor(share * length))[1]) for share in SHARES]

    assert (np.diff([0.0, *promised]) > 0).all()


def test_a_step_gains_as_much_as_the_cauchy_point(case):
    H, path, length = case

    for share in SHARES:
        radius = share * length
        _, promised = dogleg(path, tensor(radius))

        curvature = G @ H @ G
        t = min(radius / np.linalg.norm(G), (G @ G) / curvature if curvature > 0 else np.inf)
        assert float(promised) >= decrease(H, -t * G) * (1 - 1e-12)


def test_before_the_first_solution_there_is_no_step():
    none = np.zeros(N)

    step, promised = dogleg(Path(*map(tensor, (none, none, none, 0.0))), tensor(1.0))

    np.testing.assert_array_equal(step, none)
    assert float(promised) == 0.0
