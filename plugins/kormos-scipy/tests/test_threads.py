"""BLAS is held to one thread during a solve, and restored whatever ends it."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from kormos_core import Status, StopSolve


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this machine's BLAS runs one thread only")
        yield


@pytest.mark.usefixtures("two_threads")
def test_blas_runs_one_thread_during_a_solve(build, solve):
    objective = build("round")
    f, seen = objective.f, set()

    def watched(x):
        seen.update(blas_threads())
        return f(x)

    objective.f = watched
    solve("l-bfgs-b", objective)

    assert seen == {1}
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_blas_is_restored_after_a_stop(build, solve):
    def stop(_x):
        raise StopSolve(Status.STOPPED_BY_CALLBACK)

    with pytest.raises(StopSolve, match="asked to stop"):
        solve("l-bfgs-b", build("round"), callback=stop)

    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_blas_runs_one_thread_during_a_fit_to_residuals(sum_of_squares, solve):
    objective = sum_of_squares("decay")
    r, seen = objective.r, set()

    def watched(x):
        seen.update(blas_threads())
        return r(x)

    objective.r = watched
    solve("least-squares-trf", objective)

    assert seen == {1}
    assert blas_threads() == {2}
