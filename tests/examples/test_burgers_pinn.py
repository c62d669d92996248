from __future__ import annotations

import keras
import numpy as np
import pytest

SCRIPT = "burgers_pinn.py"


def test_the_solver_gains_more_than_adam_in_as_many_sweeps(run_script):
    small = ("--collocation", "150", "--epochs", "5", "--iterations", "60", "--no-jit")

    ran = run_script(*small, "--adam-alone", "--seeds", "0")

    (run,) = ran.names.runs
    assert run.solver.result.num_iterations == 60
    assert len(run.alone.losses) == run.solver.result.fg_evals
    assert run.solver.result.loss < min(run.alone.losses)
    assert ran.picture.startswith(b"\x89PNG")
    assert "median" in ran.told
    assert "native:lbfgs: MAX_ITER after 60 iterations" in ran.told


def test_the_reference_has_the_published_steepest_slope(script):
    step = 1e-6  # the difference errs by its square times a third derivative of 1e7
    x, t = np.array([-step, step]), np.full(2, 1.6037 / np.pi)

    left, right = script.cole_hopf(x, t)

    # Basdevant et al. 1986: at x = 0 the slope comes to -152.00516 at pi t = 1.6037
    assert (left - right) / (2.0 * step) == pytest.approx(152.00516, abs=5e-6)  # its last digit


@pytest.mark.usefixtures("float64")
def test_derivatives_are_those_of_the_network(script):
    model = script.build_model(0)
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (20, 2))
    x, s, step = np.array([1.0, 0.0]), np.array([0.0, 1.0]), 1e-4

    def u(at):
        return keras.ops.convert_to_numpy(model(at))[:, 0]

    found = script.derivatives(model.layers, keras.ops.convert_to_tensor(points))

    before, here, after = u(points - step * x), u(points), u(points + step * x)
    expected = [
        here,
        (after - before) / (2.0 * step),
        (u(points + step * s) - u(points - step * s)) / (2.0 * step),
        (after - 2.0 * here + before) / step**2,
    ]
    # differences err by step² = 1e-8 and, the second one, by rounding over step², 1e-8 too
    np.testing.assert_allclose(np.stack(found), expected, atol=1e-6)


def test_the_loss_of_the_rows_is_the_sum_of_two_means(script):
    rows = script.draw_rows(0, 150, 10.0)
    known = rows.y[:, 1] == 1.0

    assert np.count_nonzero(known) == 100
    assert rows.sample_weight[known].sum() / len(rows.x) == pytest.approx(10.0)
    assert rows.sample_weight[~known].sum() / len(rows.x) == pytest.approx(1.0)
    assert np.abs(rows.x).max() <= 1.0
