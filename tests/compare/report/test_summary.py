from __future__ import annotations

import math

import numpy as np
import pytest

from kormos_core.compare.report import (
    EmptyStudyError,
    Measure,
    ToleranceError,
    measure_costs,
    outcomes,
    ranks,
    read_study,
    solved,
    summarize,
)

INF = math.inf


def at(study, problem):
    return next(instance for instance in study.instances if instance.problem == problem)


@pytest.mark.parametrize(
    ("tau", "measure", "expected"),
    [
        # bowl to 10, valley to 3: a needs one iteration of each; b one of bowl
        (0.1, Measure.EVALUATIONS, [[5, 11, INF], [5, INF, INF]]),
        (0.1, Measure.SECONDS, [[0.5, 0.25, INF], [0.5, INF, INF]]),
        # bowl to 0.1, valley to 2.01
        (0.001, Measure.EVALUATIONS, [[13, 21, INF], [9, INF, INF]]),
        (0.001, Measure.ITERATIONS, [[3, 2, INF], [2, INF, INF]]),
        # bowl to 1e-3: b stands just there
        (1e-5, Measure.EVALUATIONS, [[13, 21, INF], [9, INF, INF]]),
        # bowl to 1e-5: nobody
        (1e-7, Measure.EVALUATIONS, [[INF, INF, INF], [9, INF, INF]]),
    ],
)
def test_costs_are_those_of_the_first_iterate_that_passes(store, tau, measure, expected):
    costs = measure_costs(read_study(store), measure=measure, tau=tau)

    assert costs.solvers == ("a", "b", "adam")
    np.testing.assert_array_equal(costs.values, expected)


def test_a_worse_local_minimum_is_no_solution_whatever_the_solver_says(store):
    study = read_study(store)
    valley = at(study, "valley")

    assert study.runs[valley, "b"].record.status == "GRAD_TOL"
    assert solved(study, valley, "b", tau=0.1) is False
    assert study.targets[valley].source == "a"


def test_the_least_loss_counts_though_its_solver_is_not_shown(store):
    study = read_study(store, solvers=["b"])

    assert study.solvers == ("b",)
    assert study.targets[at(study, "valley")].f_best == 2.0


def test_the_least_loss_is_that_over_all_seeds_and_starts(empty, fill, make):
    runs = [
        (make("valley", "a", run_id=str(start), seed=seed, start=start, loss=loss), (12.0, loss))
        for seed, start, loss in ((0, 0, 7.0), (1, 1, 2.0))
    ]

    study = read_study(fill(empty, *runs))

    assert [solved(study, at_, "a", tau=0.1) for at_ in study.instances] == [False, True]


def test_the_least_loss_is_one_for_each_dtype(empty, fill, make):
    runs = [
        (make("valley", "a", run_id=dtype, dtype=dtype, loss=loss), (12.0, loss))
        for dtype, loss in (("float32", 2.001), ("float64", 2.0))
    ]

    study = read_study(fill(empty, *runs))

    assert [study.targets[instance].f_best for instance in study.instances] == [2.001, 2.0]


def test_what_a_failed_run_had_reached_is_not_solved_but_counts_for_the_least_loss(
    empty, fill, make
):
    crashed = make("valley", "b", status="CRASHED", loss=None)
    study = read_study(
        fill(empty, (make("valley", "a"), (12.0, 2.5, 2.0)), (crashed, (12.0, 1.0)))
    )
    valley = at(study, "valley")

    assert study.targets[valley].f_best == 1.0
    assert solved(study, valley, "b", tau=0.1) is False
    assert solved(study, valley, "a", tau=0.1) is True


@pytest.mark.parametrize(("limit", "stands"), [(0.2, False), (0.25, True), (None, True)])
def test_what_a_killed_run_had_reached_within_its_time_stands(empty, fill, make, limit, stands):
    # it came to 2 after 0.25 seconds
    killed = make("valley", "b", status="TIMEOUT", loss=None, budget={"time_s": limit})

    study = read_study(fill(empty, (killed, (12.0, 2.0))))

    assert solved(study, at(study, "valley"), "b", tau=0.1) is stands


def test_a_declared_minimum_that_is_beaten_gives_way_and_is_told(empty, fill, make):
    study = read_study(fill(empty, (make("bowl", "a", f_min=5.0), (100.0, 1.0))))

    assert study.targets[at(study, "bowl")].f_best == 0.0001
    assert [note for note in study.notes if "below 5, which is declared" in note]


def test_an_iterate_that_rises_again_keeps_what_was_reached(empty, fill, make):
    study = read_study(fill(empty, (make("bowl", "a", loss=50.0), (100.0, 1.0, math.nan, 50.0))))

    assert study.runs[at(study, "bowl"), "a"].trajectory.best.tolist() == [100, 1, 1, 1, 1]


def test_tau_is_never_finer_than_rounding(empty, fill, make):
    close = 2.0 + 4 * 2.0**-52  # f_0 - f_L is 1e-9, and 1e-7 of it is lost beside 2
    runs = [
        (make("flat", "a", loss=2.0, start_loss=2.0 + 1e-9), (2.0 + 1e-9, 2.0)),
        (make("flat", "b", loss=close, start_loss=2.0 + 1e-9), (2.0 + 1e-9, close)),
    ]

    study = read_study(fill(empty, *runs))

    assert solved(study, at(study, "flat"), "b", tau=1e-7) is True


@pytest.mark.parametrize("start_loss", [2.0, None, math.inf])
def test_an_instance_without_anything_to_gain_is_left_out(empty, fill, make, start_loss):
    run = make("flat", "a", start_loss=start_loss, loss=2.0, num_iterations=0)
    study = read_study(fill(empty, (run, (2.0,))))

    costs = measure_costs(study, measure=Measure.SECONDS, tau=0.1)

    assert solved(study, at(study, "flat"), "a", tau=0.1) is None
    assert costs.unjudged == study.instances
    assert costs.values.shape == (0, 1)
    assert outcomes(study, study.instances, tau=0.1)[0].num_judged == 0


def test_an_instance_that_a_solver_did_not_run_on_is_left_out(empty, fill, make):
    runs = [
        (make("bowl", "a"), (100.0, 0.0001)),
        (make("bowl", "b"), (100.0, 0.001)),
        (make("valley", "a"), (12.0, 2.0)),
    ]
    study = read_study(fill(empty, *runs))

    costs = measure_costs(study, measure=Measure.EVALUATIONS, tau=0.1)

    assert costs.instances == (at(study, "bowl"),)
    assert costs.incomplete == (at(study, "valley"),)
    assert study.missing() == ((at(study, "valley"), "b"),)


def test_instances_that_nobody_solved_are_named(store):
    study = read_study(store)

    costs = measure_costs(study, measure=Measure.EVALUATIONS, tau=1e-7)

    assert costs.unsolved == (at(study, "bowl"),)


def test_equal_costs_share_the_mean_of_their_ranks():
    costs = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, INF], [5.0, INF, INF]])

    np.testing.assert_array_equal(ranks(costs), [[1, 2, 3], [1.5, 1.5, 3], [1, 2.5, 2.5]])


def test_the_summary_is_the_one_computed_by_hand(store):
    a, b, adam = summarize(read_study(store), tau=0.1)

    assert (a.num_solved, b.num_solved, adam.num_solved) == (2, 1, 0)
    assert {line.num_instances for line in (a, b, adam)} == {2}
    assert (a.evaluations_ratio, a.seconds_ratio) == (1.0, 2.0)  # of seconds 2 and 1
    assert b.evaluations_ratio == INF  # of 2.2 and none the greater
    assert (a.mean_rank, b.mean_rank, adam.mean_rank) == (1.0, 2.25, 2.75)


def test_outcomes_are_those_computed_by_hand(store):
    study = read_study(store)

    a, b, adam = outcomes(study, [at(study, "bowl")], tau=0.001)

    assert (a.num_solved, a.num_judged, a.evaluations, a.seconds) == (1, 1, 13, 1.5)
    assert (b.gap, b.loss, b.reason) == (pytest.approx(1e-5), 0.001, "GRAD_TOL")
    assert (adam.num_solved, adam.evaluations, adam.gap) == (0, INF, 0.125)


def test_a_solver_with_several_budgets_is_several_contestants(empty, fill, make):
    runs = [
        (make("bowl", "a", run_id=str(n), budget={"iterations": n}), (100.0, 1.0)) for n in (5, 10)
    ]

    study = read_study(fill(empty, *runs))

    assert study.solvers == ("a [iterations=5]", "a [iterations=10]")
    assert "more than one budget; each counts" in study.notes[0]


def test_options_that_differ_between_problems_alone_make_no_contestants(empty, fill, make):
    runs = [
        (make("bowl", "adam", options={"learning_rate": 0.1}), (100.0, 1.0)),
        (make("valley", "adam", options={"learning_rate": 0.01}), (12.0, 2.0)),
    ]

    assert read_study(fill(empty, *runs)).solvers == ("adam",)


def test_of_repeated_runs_the_last_one_is_shown_and_the_others_are_told(empty, fill, make):
    runs = [
        (make("bowl", "a", run_id=when, finished_at=when, loss=loss), (100.0, loss))
        for when, loss in (("2026-01-02", 1.0), ("2026-01-01", 2.0))
    ]

    study = read_study(fill(empty, *runs))

    assert [run.record.loss for run in study.runs.values()] == [1.0]
    assert "made again with the same options and budget: 1." in study.notes[0]


def test_starts_that_differ_between_solvers_are_told(empty, fill, make):
    runs = [
        (make("bowl", "a"), (100.0, 1.0)),
        (make("bowl", "b", start_loss=90.0), (90.0, 1.0)),
    ]

    study = read_study(fill(empty, *runs))

    assert "did not start at one point" in study.notes[0]
    assert study.targets[study.instances[0]].f_start == 100.0


def test_an_empty_store_is_told(empty):
    with pytest.raises(EmptyStudyError, match=r"the store holds no runs.*kormos compare"):
        read_study(empty)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"problems": ["bowel"]}, "no run of the problem 'bowel'. Allowed: bowl, valley"),
        ({"solvers": ["c"]}, "no run of the solver 'c'. Allowed: a, adam, b"),
    ],
)
def test_names_that_did_not_run_are_refused(store, names, match):
    with pytest.raises(EmptyStudyError, match=match):
        read_study(store, **names)


@pytest.mark.parametrize("tau", [0.0, 1.0, -1e-3, math.nan])
def test_a_tolerance_out_of_range_is_refused(store, tau):
    with pytest.raises(ToleranceError, match=r"tau is .*between 0 and 1"):
        summarize(read_study(store), tau=tau)
