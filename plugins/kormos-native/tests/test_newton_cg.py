"""Truncated Newton with a line search."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from native_graphs import Counting, Graph, run
from native_losses import PROBLEMS, make_logistic, make_quadratic, rosenbrock

from kormos_core import Status
from kormos_core.errors import UnsupportedError
from kormos_core.loop import status_of
from kormos_native.newton_cg import NewtonCG

pytestmark = pytest.mark.backends("tensorflow", "torch")

ops = keras.ops

LOGISTIC = PROBLEMS["logistic"][0]
PRECONDITIONERS = [None, "diagonal", "lbfgs"]


def end_of(state):
    return status_of(state["status"])


def scaled_logistic(x):
    """The logistic regression with features that are up to 1000 times apart."""
    return LOGISTIC(ops.convert_to_tensor(np.geomspace(0.03, 30, 20)) * x)


def test_a_parabola_takes_one_evaluation_an_iteration():
    last = run(NewtonCG(gtol=1e-10), make_quadratic(100), np.full(20, 2.0))[-1]

    assert end_of(last) is Status.GRAD_TOL
    assert last["num_fg"] == last["iteration"] + 1
    np.testing.assert_allclose(last["x"], np.linspace(-1, 1, 20), atol=1e-9)


def test_rosenbrock_s_valley_takes_half_the_products_of_scipy_s():
    last = run(NewtonCG(), rosenbrock, [-1.2, 1.0])[-1]

    # SciPy's Newton-CG: 83 iterations, 105 evaluations, 142 products
    assert last["f"] < 1e-9
    assert last["iteration"] < 45
    assert last["num_fg"] < 70
    assert last["num_hvp"] < 65


@pytest.mark.parametrize("maxcg", [1, 2])
def test_products_are_limited_for_each_direction(maxcg):
    states = run(NewtonCG(maxcg=maxcg), LOGISTIC, np.zeros(20))

    products = np.diff([state["num_hvp"] for state in states])
    assert end_of(states[-1]) is Status.GRAD_TOL
    assert products.max() == maxcg


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_the_minimum_does_not_depend_on_the_preconditioner(preconditioner):
    method = NewtonCG(gtol=1e-9, preconditioner=preconditioner)

    last = run(method, LOGISTIC, np.zeros(20))[-1]

    plain = run(NewtonCG(gtol=1e-9, maxcg=50), LOGISTIC, np.zeros(20))[-1]
    assert end_of(last) is Status.GRAD_TOL
    assert last["f"] == pytest.approx(plain["f"], rel=1e-14)
    np.testing.assert_allclose(last["x"], plain["x"], atol=1e-6)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_all_products_are_counted(preconditioner):
    graph = Counting(make_logistic(n=6))

    last = run(NewtonCG(preconditioner=preconditioner), graph, np.zeros(6))[-1]

    assert last["num_hvp"] == graph.num_hvp
    if preconditioner == "diagonal":
        assert graph.products[0] > 8
        assert min(graph.products[1:]) > 4


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(("preconditioner", "share"), [("diagonal", 0.5), ("lbfgs", 0.9)])
def test_badly_scaled_parameters_take_fewer_products_with_a_preconditioner(preconditioner, share):
    counts = []
    for kind in (None, preconditioner):
        method = NewtonCG(gtol=1e-6, preconditioner=kind)
        last = run(method, scaled_logistic, np.zeros(20))[-1]
        assert end_of(last) is Status.GRAD_TOL
        counts.append(int(last["num_hvp"]))

    assert counts[1] < share * counts[0]


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("preconditioner", ["diagonal", "lbfgs"])
def test_a_preconditioner_compiles_with_xla(preconditioner):
    method = NewtonCG(gtol=1e-9, preconditioner=preconditioner)

    plain = run(method, LOGISTIC, np.zeros(20))[-1]
    jitted = run(method, LOGISTIC, np.zeros(20), jit=True)[-1]

    assert jitted["num_hvp"] == pytest.approx(int(plain["num_hvp"]), rel=0.1)
    np.testing.assert_allclose(jitted["x"], plain["x"], atol=1e-6)


def test_steepest_descent_is_tried_where_the_line_search_fails():
    # curvature a thousandth of what it is: steps a thousand times too long
    bowl = make_quadratic(2, n=3)
    graph = Graph(lambda x: 0.4 * bowl(x), bend=lambda hv: 1e-3 * hv)

    states = run(NewtonCG(maxls=1, gtol=1e-4), graph, np.full(3, 2.0))

    assert any(state["descends"] for state in states)
    assert end_of(states[-1]) is Status.GRAD_TOL
    np.testing.assert_allclose(states[-1]["x"], np.linspace(-1, 1, 3), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maxls": 0}, "option maxls=0 of NewtonCG is not usable"),
        ({"c1": 0.5, "c2": 0.1}, r"c1=0.5, c2=0.1 of NewtonCG contradict.*0 < c1 < c2 < 1"),
        ({"preconditioner": "jacobi"}, r"preconditioner='jacobi' .* one of 'diagonal', 'lbfgs'"),
    ],
)
def test_an_option_that_is_not_usable_is_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        NewtonCG(**options)
