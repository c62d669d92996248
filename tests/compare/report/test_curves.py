from __future__ import annotations

import math

import numpy as np
import pytest

from kormos_core.compare.report import Measure, convergence_curves, read_study


def curves_of(store, problem, measure=Measure.ITERATIONS):
    study = read_study(store)
    instances = [instance for instance in study.instances if instance.problem == problem]
    return {curve.solver: curve for curve in convergence_curves(study, instances, measure=measure)}


def test_a_curve_is_the_gap_after_each_iteration(store):
    curves = curves_of(store, "bowl")

    np.testing.assert_allclose(curves["a"].x, [0, 1, 2, 3])
    np.testing.assert_allclose(curves["a"].gap, [1, 0.1, 0.01, 1e-6], rtol=1e-12)
    assert curves["a"].num_runs == 1


@pytest.mark.parametrize(
    ("measure", "costs"),
    [(Measure.EVALUATIONS, [1, 11, 21]), (Measure.SECONDS, [0, 0.25, 0.5])],
)
def test_a_curve_stands_at_the_costs(store, measure, costs):
    np.testing.assert_allclose(curves_of(store, "bowl", measure)["b"].x, costs)


def test_a_run_without_a_trace_stays_at_the_start(store):
    curve = curves_of(store, "valley")["adam"]

    np.testing.assert_array_equal(curve.gap, [1.0])


def test_a_gap_of_zero_is_drawn_at_the_rounding_of_the_least_loss(store):
    curve = curves_of(store, "valley")["a"]

    assert curve.floor == pytest.approx(4 * 2.0**-52 * 2.0 / 10.0)
    np.testing.assert_allclose(curve.gap, [1.0, 0.05, curve.floor], rtol=1e-12)


def test_a_least_loss_of_zero_has_a_floor_too(empty, fill, make):
    fill(empty, (make("bowl", "a", loss=0.0), (100.0, 0.0)))

    curve = curves_of(empty, "bowl")["a"]

    assert curve.gap[-1] == curve.floor == 1e-16


def test_the_floor_is_that_of_the_dtype(empty, fill, make):
    fill(empty, (make("valley", "a", dtype="float32"), (12.0, 2.0)))

    assert curves_of(empty, "valley")["a"].floor == pytest.approx(4 * 2.0**-23 * 2.0 / 10.0)


def test_of_several_runs_it_is_the_median_between_the_best_and_the_worst(empty, fill, make):
    paths = [(100.0, 10.0, 1.0), (100.0, 50.0, 40.0), (100.0, 30.0)]
    runs = [
        (
            make(
                "bowl",
                "a",
                run_id=str(seed),
                seed=seed,
                loss=path[-1],
                num_iterations=len(path) - 1,
            ),
            path,
        )
        for seed, path in enumerate(paths)
    ]
    fill(empty, *runs)

    curve = curves_of(empty, "bowl")["a"]

    # the third run has ended after one iteration and stays where it was
    np.testing.assert_allclose(curve.x, [0, 1, 2])
    np.testing.assert_allclose(curve.low, [1, 0.1, 0.01])
    np.testing.assert_allclose(curve.gap, [1, 0.3, 0.3])
    np.testing.assert_allclose(curve.high, [1, 0.5, 0.4])


def test_a_curve_of_many_iterations_keeps_its_ends_and_a_hundred_points(empty, fill, make):
    path = tuple(100.0 * 0.99**k for k in range(2001))
    fill(empty, (make("bowl", "a", loss=path[-1], num_iterations=2000), path))

    curve = curves_of(empty, "bowl")["a"]

    assert curve.x.size <= 100
    assert (curve.x[0], curve.x[-1]) == (0, 2000)
    np.testing.assert_allclose(curve.gap, 0.99**curve.x, rtol=1e-9)


def test_curves_never_rise(empty, fill, make):
    random = np.random.default_rng(0)
    for seed in range(4):
        path = tuple(random.uniform(1, 100, size=30))
        run = make("bowl", "a", run_id=str(seed), seed=seed, loss=path[-1], num_iterations=29)
        fill(empty, (run, path))

    curve = curves_of(empty, "bowl")["a"]

    for line in (curve.low, curve.gap, curve.high):
        assert (np.diff(line) <= 0).all()
    assert (curve.low <= curve.gap).all()
    assert (curve.gap <= curve.high).all()


def test_a_problem_without_anything_to_gain_has_no_curves(empty, fill, make):
    fill(empty, (make("flat", "a", start_loss=math.inf, loss=None), ()))

    assert curves_of(empty, "flat") == {}
