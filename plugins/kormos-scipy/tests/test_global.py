"""Global optimizers: minima that local methods miss, SciPy's own bits, and honest ends.

Symbols: ``x`` parameters (n,).
"""

from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest
import scipy.optimize

from kormos_core import Bounds, Counts, Status, StopSolve
from kormos_core.errors import BoundsError
from kormos_scipy.global_specs import GLOBAL
from kormos_scipy.threads import single_blas_thread

NAMES = list(GLOBAL)
BOXED = [name for name in NAMES if GLOBAL[name].requires_bounds]
RANDOM = ["dual-annealing", "differential-evolution", "basinhopping"]
# enough of each for two parameters
OPTIONS = {
    "dual-annealing": {"num_steps": 60},
    "differential-evolution": {"popsize": 25},
    "basinhopping": {"niter": 60, "stepsize": 1.5},
    "shgo": {"n": 200, "iters": 1, "sampling_method": "sobol"},
    "direct": {},
    "brute": {"Ns": 33},
}


def rastrigin(x):
    return 10.0 * x.size + float(np.sum(x**2 - 10.0 * np.cos(2 * np.pi * x)))


def rastrigin_slope(x):
    return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)


def ackley(x):
    root, mean = np.sqrt(np.mean(x**2)), np.mean(np.cos(2 * np.pi * x))
    return float(20 + np.e - 20 * np.exp(-0.2 * root) - np.exp(mean))


def ackley_slope(x):
    root, mean = np.sqrt(np.mean(x**2)), np.mean(np.cos(2 * np.pi * x))
    steep = 4 * np.exp(-0.2 * root) * x / (x.size * max(root, 1e-300))
    return steep + np.exp(mean) * 2 * np.pi * np.sin(2 * np.pi * x) / x.size


def styblinski_tang(x):
    return float(np.sum(x**4 - 16 * x**2 + 5 * x)) / 2


def styblinski_tang_slope(x):
    return 2 * x**3 - 16 * x + 2.5


def camel(x):
    a, b = x
    return float((4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2)


def camel_slope(x):
    a, b = x
    return np.array([8 * a - 8.4 * a**3 + 2 * a**5 + b, a + 16 * b**3 - 8 * b])


# loss, slope, start in a poor basin, box, least loss: minima of the literature
PROBLEMS = {
    "rastrigin": (rastrigin, rastrigin_slope, [3.1, -2.2], (-5.12, 4.0), 0.0),
    "ackley": (ackley, ackley_slope, [9.3, -7.2], (-10.0, 12.0), 0.0),
    "styblinski-tang": (styblinski_tang, styblinski_tang_slope, [2.7, 2.7], (-5, 5), -78.3323314),
    "camel": (camel, camel_slope, [-1.6, -0.6], (-3.0, 2.5), -1.0316284535),
}


class Landscape:
    """A loss in a box, whose evaluations are counted and kept inside."""

    def __init__(self, name, *, size=2, lower=None, upper=None, hole=None):
        self.f, self.g, start, (low, high), least = PROBLEMS[name]
        self.x0 = np.resize(np.array(start, dtype=float), size)
        self.least = least * size / 2 if name == "styblinski-tang" else least
        self.bounds = Bounds(
            np.full(size, low) if lower is None else np.array(lower, dtype=float),
            np.full(size, high) if upper is None else np.array(upper, dtype=float),
        )
        self.size, self.constraints, self.counts = size, (), Counts()
        self.hole, self.iterates, self.losses = hole, [], []

    def value(self, x):
        self.counts.value += 1
        return self._look(x)

    def value_and_grad(self, x):
        self.counts.value_and_grad += 1
        return self._look(x), self.g(x)

    def _look(self, x):
        if self.bounds is not None:
            assert ((self.bounds.lower <= x) & (x <= self.bounds.upper)).all(), f"outside: {x}"
        if self.hole is not None and self.counts.fg == self.hole[0]:
            if isinstance(self.hole[1], BaseException):
                raise self.hole[1]
            return self.hole[1]
        return self.f(x)

    @property
    def pairs(self):
        return list(zip(self.bounds.lower, self.bounds.upper, strict=True))


def make(name, **options):
    module, cls = GLOBAL[name].factory.split(":")
    return getattr(importlib.import_module(module), cls)(**options)


def solve(name, landscape, *, maxiter=2000, act=None, **options):
    def callback(x):
        landscape.iterates.append(x.copy())
        landscape.losses.append(landscape.f(x))
        if act is not None:
            act(len(landscape.iterates))

    solver = make(name, **{**OPTIONS[name], **options})
    return solver.minimize(landscape, landscape.x0, maxiter=maxiter, callback=callback)


# --- minima ----------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_local_method_ends_in_the_basin_it_starts_in(problem):
    landscape = Landscape(problem)

    found = scipy.optimize.minimize(
        landscape.f, landscape.x0, jac=landscape.g, method="L-BFGS-B", bounds=landscape.pairs
    )

    assert found.fun > landscape.least + 0.5


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", NAMES)
def test_the_global_minimum_is_found(name, problem):
    landscape = Landscape(problem)
    hops = {"niter": 150, "T": 3.0, "stepsize": 3.0, "rng": 1} if name == "basinhopping" else {}

    result = solve(name, landscape, **hops)

    # direct has no local search: its rectangles are small to 1e-6 of the box
    assert result.loss - landscape.least < (2e-3 if name == "direct" else 1e-7)
    assert result.loss == landscape.f(result.x)


@pytest.mark.parametrize("name", ["dual-annealing", "differential-evolution"])
def test_five_parameters_are_searched_too(name):
    landscape = Landscape("rastrigin", size=5)

    result = solve(name, landscape, **({"num_steps": 150} if name == "dual-annealing" else {}))

    assert result.loss < 1e-7


# --- SciPy's own -----------------------------------------------------------------------------


def by_hand(name, landscape):
    """Call SciPy as its documentation has it, with the options above."""
    f, g, pairs = landscape.f, landscape.g, landscape.pairs
    local = {"method": "L-BFGS-B", "jac": g, "bounds": pairs}
    if name == "dual-annealing":
        local["options"] = {"maxiter": 100}
        return scipy.optimize.dual_annealing(
            f, pairs, maxiter=60, rng=0, x0=landscape.x0, minimizer_kwargs=local
        )
    if name == "differential-evolution":
        polish = partial(scipy.optimize.minimize, method="L-BFGS-B", jac=g)
        return scipy.optimize.differential_evolution(
            f, pairs, popsize=25, rng=0, x0=landscape.x0, polish=polish
        )
    if name == "basinhopping":
        return scipy.optimize.basinhopping(
            f, landscape.x0, niter=60, stepsize=1.5, rng=0, minimizer_kwargs=local
        )
    if name == "shgo":
        local = {"method": "SLSQP", "jac": g, "options": {"ftol": 1e-12}}
        return scipy.optimize.shgo(
            f, pairs, n=200, sampling_method="sobol", minimizer_kwargs=local
        )
    if name == "direct":
        return scipy.optimize.direct(f, pairs)
    x = scipy.optimize.brute(
        f, pairs, Ns=33, finish=lambda f, x, args: scipy.optimize.minimize(f, x, args, **local)
    )
    return scipy.optimize.OptimizeResult(x=x, fun=f(x))


@pytest.mark.parametrize("problem", ["styblinski-tang", "camel"])
@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_that_of_scipy_called_by_hand(name, problem):
    landscape = Landscape(problem)

    result = solve(name, landscape)

    with single_blas_thread():  # or BLAS's threads take a hundred times as long
        alone = by_hand(name, landscape)
    np.testing.assert_allclose(result.x, alone.x, rtol=1e-12, atol=1e-12)
    assert result.loss <= alone.fun


@pytest.mark.parametrize("name", RANDOM)
def test_a_search_is_the_same_twice_and_another_with_another_seed(name):
    one, same, other = (Landscape("rastrigin") for _ in range(3))

    x = solve(name, one).x
    y = solve(name, same).x
    solve(name, other, rng=7)

    assert x.tobytes() == y.tobytes()
    assert np.array_equal(one.iterates, same.iterates)
    assert not np.array_equal(one.iterates[:3], other.iterates[:3])


# --- iterations ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_rows_tell_the_best_point_so_far(name):
    landscape = Landscape("rastrigin")

    result = solve(name, landscape)

    assert len(landscape.iterates) == result.num_iterations > 1
    assert (np.diff(landscape.losses) <= 0).all()
    assert landscape.losses[-1] == result.loss


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dual-annealing", {}, lambda raw: raw.nit),
        ("differential-evolution", {"polish": False}, lambda raw: raw.nit),
        ("basinhopping", {}, lambda raw: raw.nit + 1),  # the search from the start is the first
        ("brute", {}, lambda raw: len(raw[3])),  # slices of the grid
    ],
)
def test_an_iteration_is_one_of_scipys(name, options, expected):
    landscape = Landscape("rastrigin")

    result = solve(name, landscape, **options)

    assert result.num_iterations == expected(result.raw)


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_iteration_limit_is_kept_and_told(name, limit):
    landscape = Landscape("rastrigin")

    result = solve(name, landscape, maxiter=limit)

    assert len(landscape.iterates) == limit
    assert result.status is Status.MAX_ITER
    assert f"maxiter={limit}" in result.message


def test_annealing_that_begins_anew_keeps_counting_steps():
    landscape = Landscape("rastrigin")

    # the temperature falls to a hundredth in some 15 steps
    result = solve("dual-annealing", landscape, num_steps=70, restart_temp_ratio=0.01)

    assert result.raw.nit == 70
    assert result.num_iterations == 70


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_of_the_callback_ends_the_search_within_the_iteration(name):
    landscape = Landscape("rastrigin")
    counted = []

    def stop(number):
        if number == 2:
            counted.append(landscape.counts.fg)
            raise StopSolve(Status.STOPPED_BY_CALLBACK)

    with pytest.raises(StopSolve, match="asked to stop"):
        solve(name, landscape, act=stop)

    assert len(landscape.iterates) == 2
    assert counted == [landscape.counts.fg]


@pytest.mark.parametrize("error", [ValueError, AttributeError, StopIteration, StopSolve])
@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_the_loss_passes_untouched(name, error):
    # SciPy takes some of them for its own, or swallows them
    raised = error(Status.INTERRUPTED) if error is StopSolve else error("of the loss")
    landscape = Landscape("rastrigin", hole=(4, raised))

    with pytest.raises(error, match=r"of the loss|The user interrupted") as caught:
        solve(name, landscape)

    assert caught.value is raised
    assert landscape.counts.fg == 4


# --- start, box, NaN -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shgo", "direct", "brute"])
def test_the_result_is_no_worse_than_a_start_that_scipy_does_not_take(name):
    landscape = Landscape("rastrigin")
    landscape.x0 = np.array([0.0, 0.0])  # the minimum, which no sample hits
    poor = {"shgo": {"n": 3, "sampling_method": "halton"}, "direct": {}, "brute": {"Ns": 2}}

    result = solve(name, landscape, **poor[name])

    assert not result.x.any()
    assert result.loss == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_bounds_fix_are_left_out(name):
    landscape = Landscape("styblinski-tang", size=3, lower=[-5, 1, -5], upper=[5, 1, 5])
    landscape.x0 = np.array([2.7, 1.0, 2.7])

    result = solve(name, landscape, **({"stepsize": 4.0} if name == "basinhopping" else {}))

    assert result.x[1] == 1.0
    np.testing.assert_allclose(result.x[[0, 2]], -2.903534, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_box_that_leaves_nothing_free_is_its_only_point(name):
    landscape = Landscape("camel", lower=[1.0, 2.0], upper=[1.0, 2.0])
    landscape.x0 = np.array([1.0, 2.0])

    result = solve(name, landscape)

    assert result.status is Status.GRAD_TOL
    assert landscape.counts.fg == 1


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_is_not_finite_at_a_sample_does_no_harm(name, fault):
    landscape = Landscape("camel", hole=(9, fault))

    result = solve(name, landscape)

    assert abs(result.loss - landscape.least) < 1e-4
    assert result.status is not Status.NONFINITE


@pytest.mark.parametrize("name", NAMES)
def test_a_start_that_is_not_finite_ends_the_search_there(name):
    landscape = Landscape("camel", hole=(1, np.nan))

    result = solve(name, landscape)

    assert result.status is Status.NONFINITE
    assert np.array_equal(result.x, landscape.x0)
    assert landscape.counts.fg == 1


@pytest.mark.parametrize("name", BOXED)
def test_missing_and_infinite_bounds_are_refused(name):
    missing, infinite = Landscape("camel"), Landscape("camel", upper=[2.5, np.inf])
    missing.bounds = None

    with pytest.raises(BoundsError, match=r"needs finite bounds on every .*, and there are none"):
        solve(name, missing)
    with pytest.raises(BoundsError, match=r"1 of 2 .* such as parameter 1 in \[-3\.0, inf"):
        solve(name, infinite)
    assert not missing.counts.fg + infinite.counts.fg


def test_basin_hopping_needs_no_bounds():
    landscape = Landscape("camel")
    landscape.bounds = None

    result = solve("basinhopping", landscape, local_method="bfgs")

    assert abs(result.loss - landscape.least) < 1e-9
