"""Options and ends of global optimizers.

Symbols: ``x`` parameters (n,).
"""

from __future__ import annotations

import importlib
from dataclasses import fields
from functools import partial

import numpy as np
import pytest

from kormos_core import Bounds, Counts, Status
from kormos_core.errors import UnsupportedError
from kormos_scipy.global_specs import GLOBAL

NAMES = list(GLOBAL)


class Bowl:
    """A bowl of several dimensions in a box."""

    def __init__(self, size=2, center=0.3, bounds=(-1.0, 2.0)):
        self.size, self.center, self.constraints = size, center, ()
        self.bounds = None if bounds is None else Bounds(*(np.full(size, b) for b in bounds))
        self.counts = Counts()

    def value(self, x):
        self.counts.value += 1
        return float(np.sum((x - self.center) ** 2))

    def value_and_grad(self, x):
        self.counts.value_and_grad += 1
        return float(np.sum((x - self.center) ** 2)), 2 * (x - self.center)


def make(name, **options):
    module, cls = GLOBAL[name].factory.split(":")
    return getattr(importlib.import_module(module), cls)(**options)


def solve(name, objective=None, *, maxiter=500, **options):
    objective = objective or Bowl()
    x0 = np.full(objective.size, 1.1)
    solver = make(name, **options)
    return solver.minimize(objective, x0, maxiter=maxiter, callback=lambda x: None)


@pytest.mark.parametrize("name", NAMES)
def test_every_spec_is_complete(name):
    spec = GLOBAL[name]

    assert spec.kind == "global"
    assert spec.supports == {"stop", "bounds"}
    assert spec.tolerates_nonfinite
    assert spec.requires_bounds is (name != "basinhopping")
    assert "doi:10." in spec.citation


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dual-annealing", {"num_steps": 0}),
        ("dual-annealing", {"initial_temp": 0.01}),
        ("dual-annealing", {"initial_temp": 60_000}),
        ("dual-annealing", {"restart_temp_ratio": 1.0}),
        ("dual-annealing", {"visit": 3.0}),
        ("dual-annealing", {"accept": -4.9}),
        ("dual-annealing", {"maxfun": 0}),
        ("dual-annealing", {"no_local_search": 1}),
        ("dual-annealing", {"local_method": "bfgs"}),
        ("dual-annealing", {"rng": None}),
        ("dual-annealing", {"rng": -1}),
        ("differential-evolution", {"strategy": "best3bin"}),
        ("differential-evolution", {"max_generations": 0}),
        ("differential-evolution", {"popsize": 0.5}),
        ("differential-evolution", {"mutation": 2.0}),
        ("differential-evolution", {"mutation": (1.0, 0.5)}),
        ("differential-evolution", {"mutation": "much"}),
        ("differential-evolution", {"recombination": 1.1}),
        ("differential-evolution", {"init": "sobel"}),
        ("differential-evolution", {"init": np.zeros((4, 2))}),
        ("differential-evolution", {"updating": "late"}),
        ("differential-evolution", {"polish": "yes"}),
        ("differential-evolution", {"tol": -1.0}),
        ("basinhopping", {"niter": -1}),
        ("basinhopping", {"T": -1.0}),
        ("basinhopping", {"stepsize": 0.0}),
        ("basinhopping", {"target_accept_rate": 1.0}),
        ("basinhopping", {"local_method": "newton-cg"}),
        ("basinhopping", {"local_options": "gtol"}),
        ("shgo", {"n": 0}),
        ("shgo", {"iters": 0}),
        ("shgo", {"sampling_method": "grid"}),
        ("shgo", {"local_iter": True}),
        ("shgo", {"local_method": "nelder-mead"}),
        ("shgo", {"symmetry": [0, 0]}),
        ("direct", {"vol_tol": 1.5}),
        ("direct", {"locally_biased": None}),
        ("direct", {"maxfun": 0}),
        ("brute", {"Ns": 1}),
        ("brute", {"Ns": (5, 1)}),
        ("brute", {"max_points": 0}),
    ],
)
def test_values_that_an_option_cannot_take_are_refused(name, options):
    (option,) = options

    with pytest.raises(UnsupportedError, match=rf"(?s)option {option}=.* not usable\. Allowed: "):
        make(name, **options)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "direct"])
def test_local_options_are_checked_by_the_local_method(name):
    refused = partial(make, name, local_method="l-bfgs-b")

    with pytest.raises(UnsupportedError, match=r"'gtoll', which|'gtoll': 0.001"):
        refused(local_options={"gtoll": 1e-3})
    with pytest.raises(UnsupportedError, match=r"option ftol=-1 of LBFGSB is not usable"):
        refused(local_options={"ftol": -1})


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(UnsupportedError, match=r"SciPy takes n=100 for its default"):
        make("shgo", n=100)
    with pytest.raises(UnsupportedError, match=r"hands local_method='cobyqa' none"):
        make("shgo", local_method="cobyqa", local_options={"ftol": 1e-3})
    with pytest.raises(UnsupportedError, match=r"local_method is None"):
        make("brute", local_method=None, local_options={"ftol": 1e-3})


@pytest.mark.parametrize("name", NAMES)
def test_solvers_with_the_same_options_are_equal_and_hashable(name):
    options = {}
    names = {field.name for field in fields(make(name))}
    if "local_options" in names:
        options["local_options"] = {"ftol": 1e-5}
    if "init" in names:
        options["init"] = np.arange(10.0).reshape(5, 2)
    if "Ns" in names:
        options["Ns"] = [4, 5]

    assert make(name, **options) == make(name, **options)
    assert len({make(name, **options), make(name, **options)}) == 1


def test_an_iteration_limit_is_refused_by_a_local_method_without_one():
    with pytest.raises(UnsupportedError, match=r"have 'maxiter', which scipy:tnc does not take"):
        make("dual-annealing", local_method="tnc", local_options={"maxiter": 5})


@pytest.mark.filterwarnings("error")
def test_local_options_reach_the_local_method():
    free = solve("brute", Ns=4)
    short = solve("brute", Ns=4, local_options={"maxiter": 1})
    none = solve("brute", Ns=4, local_method=None)

    assert free.loss < 1e-12
    assert none.loss > short.loss > free.loss
    assert none.status is Status.MAX_ITER
    assert "all 16 points" in none.message


def test_a_local_method_that_keeps_no_bounds_is_refused_within_bounds():
    with pytest.raises(UnsupportedError, match=r"local_method='cg' does not honor bounds"):
        solve("basinhopping", local_method="cg")


def test_array_options_of_the_local_method_must_fit():
    with pytest.raises(UnsupportedError, match=r"hess_inv0 of shape \(3, 3\) does not fit"):
        solve(
            "basinhopping",
            Bowl(bounds=None),
            local_method="bfgs",
            local_options={"hess_inv0": np.eye(3).tolist()},
        )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["nelder-mead", "powell", "tnc", "slsqp", "cobyqa", "cobyla"])
def test_every_local_method_that_keeps_bounds_serves(method):
    result = solve("dual-annealing", num_steps=5, local_method=method)

    np.testing.assert_allclose(result.x, 0.3, atol=1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["l-bfgs-b", "tnc", "slsqp", "cobyqa"])
def test_every_local_method_that_shgo_gives_bounds_serves(method):
    result = solve("shgo", local_method=method)

    np.testing.assert_allclose(result.x, 0.3, atol=1e-4)


# --- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_parameter_is_searched(name):
    result = solve(name, Bowl(1))

    np.testing.assert_allclose(result.x, [0.3], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["lower", "upper"])
def test_a_start_on_the_bounds_is_taken(name, side):
    # of these some come out beyond, by rounding, once they are scaled to 0 to 1
    objective, rng = Bowl(7), np.random.default_rng(5)
    lower = rng.normal(size=7)
    objective.bounds = Bounds(lower, lower + rng.uniform(0.1, 2.0, size=7))
    start = getattr(objective.bounds, side)
    quick = {"brute": {"Ns": 2}, "shgo": {"iters": 1}, "dual-annealing": {"num_steps": 3}}
    solver = make(name, **quick.get(name, {}))

    result = solver.minimize(objective, start, maxiter=3, callback=lambda x: None)

    assert result.loss <= objective.value(start)


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (5, {}, r"Ns=20 has 3,200,000 points for 5 parameters.*max_points=1,000,000"),
        (2, {"max_points": 399}, r"has 400 points .* max_points=399"),
        (3, {"Ns": (200, 100, 51)}, r"has 1,020,000 points for 3 parameters"),
    ],
)
def test_a_grid_of_too_many_points_is_refused_before_the_first(size, options, message):
    objective = Bowl(size)

    with pytest.raises(UnsupportedError, match=message):
        solve("brute", objective, **options)
    assert objective.counts.fg == 1  # of the start


def test_points_along_each_parameter_must_fit():
    with pytest.raises(UnsupportedError, match=r"Ns=\(4, 5, 6\) does not fit 2 parameters"):
        solve("brute", Ns=(4, 5, 6))


def test_a_population_must_fit():
    with pytest.raises(UnsupportedError, match=r"init of shape \(5, 3\) does not fit 2 param"):
        solve("differential-evolution", init=np.zeros((5, 3)))


def test_a_population_that_is_given_is_where_the_search_begins():
    members = np.tile([0.3, 0.3], (5, 1))

    result = solve("differential-evolution", init=members, maxiter=1, polish=False)

    np.testing.assert_allclose(result.x, 0.3, atol=1e-15)


@pytest.mark.parametrize("sampling", ["sobol", "halton"])
def test_a_triangulation_that_would_take_minutes_is_refused(sampling):
    with pytest.raises(UnsupportedError, match=r"takes at most 6 parameters .* There are 7"):
        solve("shgo", Bowl(7), sampling_method=sampling)


def test_general_constraints_are_refused():
    objective = Bowl()
    objective.constraints = ({"type": "ineq", "fun": lambda x: x[0]},)

    with pytest.raises(UnsupportedError, match=r"dual-annealing does not honor constraints"):
        solve("dual-annealing", objective)


# --- ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "status", "message"),
    [
        ("dual-annealing", {"num_steps": 4}, Status.MAX_ITER, "num_steps=4"),
        ("dual-annealing", {"maxfun": 9}, Status.MAX_EVALS, "maxfun=9"),
        ("differential-evolution", {}, Status.F_TOL, "the population differ by atol"),
        ("differential-evolution", {"max_generations": 2}, Status.MAX_ITER, "max_generations=2"),
        ("basinhopping", {"niter": 3}, Status.MAX_ITER, "niter=3"),
        ("basinhopping", {"niter_success": 2}, Status.F_TOL, "niter_success=2"),
        ("shgo", {}, Status.MAX_ITER, "iters=3, and 1 local minima"),
        ("shgo", {"maxfev": 7}, Status.MAX_EVALS, "limit of evaluations=7"),
        ("shgo", {"f_min": 0.0, "iters": 50}, Status.F_TOL, "of f_min=0.0"),
        ("shgo", {"minhgrd": 0, "iters": 50}, Status.F_TOL, "minhgrd=0"),
        ("shgo", {"maxev": 12, "iters": 50}, Status.MAX_EVALS, "maxev=12"),
        ("shgo", {"maxtime": 1e-9, "iters": 50}, Status.MAX_TIME, "maxtime=1e-09"),
        ("direct", {}, Status.X_TOL, "len_tol"),
        ("direct", {"maxfun": 50}, Status.MAX_EVALS, "maxfun=50"),
        ("direct", {"f_min": 1e-3, "f_min_rtol": 0.5}, Status.F_TOL, "optimum f_min"),
        ("direct", {"vol_tol": 1e-8, "len_tol": 0.0}, Status.X_TOL, "volume"),
        ("direct", {"vol_tol": 1e-3, "len_tol": 0.0}, Status.STAGNATED, "sides are 0.03 of the"),
        ("brute", {"Ns": 5}, Status.F_TOL, "from the best of 25 points"),
    ],
)
def test_an_end_is_told_for_what_it_is(name, options, status, message):
    result = solve(name, **options)

    assert result.status is status
    assert message in result.message
