from __future__ import annotations

import numpy as np
import pytest

from kormos_core.compare.report import (
    CostError,
    data_profiles,
    performance_profiles,
    performance_ratios,
)

INF = np.inf
# four instances, three solvers: a tie, a solver that never solves, an instance nobody solved
COSTS = np.array([[1.0, 2.0, INF], [3.0, 3.0, INF], [8.0, 2.0, INF], [INF, INF, INF]])
SOLVERS = ("a", "b", "never")


def naive_share(costs, column, limit):
    """Count as the definition says, an instance at a time."""
    solved = 0
    for row in costs:
        best = min(row)
        if np.isfinite(row[column]) and row[column] / best <= limit:
            solved += 1
    return solved / len(costs)


def random_costs():
    random = np.random.default_rng(0)
    costs = random.integers(1, 50, size=(40, 5)).astype(float)
    costs[random.uniform(size=costs.shape) < 0.2] = INF
    return costs


def test_ratios_are_those_computed_by_hand():
    ratios = performance_ratios(COSTS)

    np.testing.assert_array_equal(
        ratios, [[1.0, 2.0, INF], [1.0, 1.0, INF], [4.0, 1.0, INF], [INF, INF, INF]]
    )


def test_performance_profiles_are_those_computed_by_hand():
    a, b, never = performance_profiles(COSTS, SOLVERS)

    assert [a.at(x) for x in (1.0, 2.0, 3.99, 4.0)] == [0.5, 0.5, 0.5, 0.75]
    assert [b.at(x) for x in (1.0, 1.99, 2.0, 100.0)] == [0.5, 0.5, 0.75, 0.75]
    assert never.at(1e9) == never.solved == 0.0
    assert (a.solver, a.solved) == ("a", 0.75)


def test_data_profiles_are_those_computed_by_hand():
    a, b, _ = data_profiles(COSTS, SOLVERS)

    assert [a.at(x) for x in (0.5, 1.0, 3.0, 7.9, 8.0)] == [0.0, 0.25, 0.5, 0.5, 0.75]
    np.testing.assert_array_equal(b.x, [2.0, 3.0])
    np.testing.assert_array_equal(b.share, [0.5, 0.75])


def test_data_profiles_count_simplex_gradients_where_sizes_are_given():
    (a, _, _) = data_profiles(COSTS, SOLVERS, num_parameters=[1, 2, 3, 4])

    # 1 / 2, 3 / 3 and 8 / 4
    np.testing.assert_array_equal(a.x, [0.5, 1.0, 2.0])


@pytest.mark.parametrize("limit", [1.0, 1.5, 2.0, 7.0, 49.0])
def test_performance_profiles_agree_with_the_definition(limit):
    costs = random_costs()

    profiles = performance_profiles(costs, "abcde")

    for column, profile in enumerate(profiles):
        assert profile.at(limit) == pytest.approx(naive_share(costs, column, limit), abs=1e-12)


@pytest.mark.parametrize("make", [performance_profiles, data_profiles])
def test_profiles_rise_from_nothing_to_at_most_all(make):
    for profile in make(random_costs(), "abcde"):
        assert (np.diff(profile.x) > 0).all()
        assert (np.diff(profile.share) > 0).all()
        assert profile.at(0.99 * profile.x[0]) == 0.0
        assert 0.0 < profile.share[0] <= profile.share[-1] <= 1.0


def test_the_value_at_ratio_one_is_the_share_of_wins_with_ties_counted_for_all():
    costs = random_costs()
    best = costs.min(axis=1, keepdims=True)
    wins = ((costs == best) & np.isfinite(costs)).mean(axis=0)

    values = [profile.at(1.0) for profile in performance_profiles(costs, "abcde")]

    np.testing.assert_allclose(values, wins, atol=1e-12)
    assert sum(values) > 1.0 - np.isinf(best).mean()  # there are ties


def test_no_instances_make_profiles_of_nothing():
    (profile,) = performance_profiles(np.empty((0, 1)), ["a"])

    assert profile.x.size == 0
    assert profile.solved == 0.0


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_a_cost_that_is_none_is_refused(bad):
    with pytest.raises(CostError, match=r"cost of instance 1, solver 0 is .*positive numbers"):
        performance_profiles([[1.0, 2.0], [bad, 3.0]], "ab")


def test_costs_of_another_shape_are_refused():
    with pytest.raises(CostError, match=r"shape \(3,\)\. Allowed is \(instances, solvers\)"):
        performance_ratios([1.0, 2.0, 3.0])


def test_costs_and_names_must_fit():
    with pytest.raises(CostError, match=r"shape \(4, 3\) for 2 solvers"):
        performance_profiles(COSTS, "ab")


@pytest.mark.parametrize("sizes", [[1, 2], [1, 2, 3, 0]])
def test_sizes_must_be_positive_and_one_for_each_instance(sizes):
    with pytest.raises(CostError, match="a positive number for each of the 4 instances"):
        data_profiles(COSTS, SOLVERS, num_parameters=sizes)
