from __future__ import annotations

import pytest

from kormos_core.compare.report import read_study
from kormos_core.compare.report.notes import failures, study_notes, tunings


@pytest.fixture
def tuned(empty, fill, make):
    """Return a study of three tuned runs of half a second, of 1, 2 and 6 seconds of tuning."""
    runs = [
        (
            make(
                "bowl",
                "adam",
                run_id=str(seed),
                seed=seed,
                wall_time_s=0.5,
                tuning_runs=4,
                tuning_s=tuning_s,
            ),
            (100.0, 1.0),
        )
        for seed, tuning_s in enumerate((1.0, 2.0, 6.0))
    ]
    return read_study(fill(empty, *runs))


def test_the_tuning_of_a_problem_is_the_median_of_its_runs(tuned):
    (row,) = tunings(tuned)

    assert (row.group, row.solver) == ("bowl", "adam")
    assert (row.num_runs, row.tuning_s, row.wall_time_s) == (4, 2.0, 0.5)


def test_a_note_tells_all_that_tuning_cost(tuned):
    (note,) = [note for note in study_notes(tuned, tau=0.1) if "was tuned" in note]

    assert "All of them took 9 s, 6.00 times what the runs shown took." in note


def test_failures_are_those_that_did_not_end_by_themselves(empty, fill, make):
    statuses = ("MAX_TIME", "CRASHED", "TIMEOUT", "FAILED", "NONFINITE")
    runs = [
        (make("bowl", "a", run_id=status, seed=seed, status=status), (100.0, 1.0))
        for seed, status in enumerate(statuses)
    ]
    study = read_study(fill(empty, *runs))

    assert [record.status for record in failures(study)] == ["CRASHED", "TIMEOUT", "FAILED"]
    assert study_notes(study, tau=0.1)[:3] == (
        "Ended with an error: a (1).",
        "Crashed: a (1).",
        "Had to be killed: a (1).",
    )


def test_nothing_to_tell_is_no_note(empty, fill, make):
    study = read_study(fill(empty, (make("bowl", "a"), (100.0, 0.0))))

    assert study_notes(study, tau=0.1) == ()


def test_a_tolerance_finer_than_rounding_is_told(empty, fill, make):
    run = make("flat", "a", start_loss=2.0 + 1e-9, loss=2.0)
    study = read_study(fill(empty, (run, (2.0 + 1e-9, 2.0))))

    (note,) = study_notes(study, tau=1e-7)

    assert "tau 1e-07 is finer than rounding on flat (float64, seed 0, start 0)" in note
    assert study_notes(study, tau=1e-3) == ()
