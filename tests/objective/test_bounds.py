from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from kormos_core.errors import BoundsError, UnsupportedError
from kormos_core.objective import (
    Layout,
    flat_bounds,
    model_bounds,
    name_unbounded,
    project,
    projected_gradient,
)
from kormos_core.protocols import Bounds

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

INF = np.inf


@pytest.fixture(scope="module")
def layout():
    """Lay out first/kernel (2, 3), first/bias (3,), second/kernel (3, 1): 12 parameters."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(3, name="first"),
            layers.Dense(1, name="second", use_bias=False),
        ]
    )
    return Layout.of(model.trainable_variables)


def constrained(constraint):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, kernel_constraint=constraint)])
    return Layout.of(model.trainable_variables)


@pytest.mark.parametrize(
    ("bounds", "lower", "upper"),
    [
        pytest.param((0.0, 1.0), [0, 0], [1, 1], id="one pair for all"),
        pytest.param((0, None), [0, 0], [INF, INF], id="no upper limit"),
        pytest.param((None, 1), [-INF, -INF], [1, 1], id="no lower limit"),
        pytest.param([0, None], [0, 0], [INF, INF], id="a list as pair"),
        pytest.param([(0, 1), (2, 3)], [0, 2], [1, 3], id="a pair for each"),
        pytest.param([(0, None), (None, 3)], [0, -INF], [INF, 3], id="pairs without a limit"),
        pytest.param(np.array([[0, 1], [2, 3]]), [0, 2], [1, 3], id="array of pairs"),
        pytest.param(SimpleNamespace(lb=0, ub=[1, 2]), [0, 0], [1, 2], id="lb and ub"),
        pytest.param(SimpleNamespace(lb=-INF, ub=2), [-INF] * 2, [2, 2], id="infinite lb"),
        pytest.param(Bounds(np.zeros(2), np.ones(2)), [0, 0], [1, 1], id="a box"),
        pytest.param((0, 0), [0, 0], [0, 0], id="one point"),
    ],
)
def test_flat_bounds_take_every_form(bounds, lower, upper):
    box = flat_bounds(bounds, 2)

    assert box.lower.tolist() == lower
    assert box.upper.tolist() == upper


@pytest.mark.parametrize("bounds", [None, (None, None), [(None, None)] * 2, (-INF, INF)])
def test_no_limits_are_no_bounds(bounds):
    assert flat_bounds(bounds, 2) is None


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([(0, 1)] * 3, "bounds have 3 pairs for 2 parameters"),
        ([0, 1, 2], "bounds are not usable"),
        ([(0, 1, 2), (0, 1, 2)], "bounds are not usable"),
        ([(1, 0), (0, 1)], "bounds exclude every value of parameter 0: lower 1.0, upper 0.0"),
        ([(0, 1), (np.nan, 1)], "bounds exclude every value of parameter 1: lower nan"),
        (SimpleNamespace(lb=[0, 0, 0], ub=1), "a limit of 'bounds' does not fit"),
        (("a", "b"), "a limit of 'bounds' does not fit: 'a'"),
    ],
)
def test_flat_bounds_that_do_not_fit_are_refused(bounds, message):
    with pytest.raises(BoundsError, match=message):
        flat_bounds(bounds, 2)


@pytest.mark.parametrize(
    ("bounds", "bounded"),
    [
        pytest.param({"first/kernel": (0, None)}, range(6), id="a weight's path"),
        pytest.param({"first/bias": (0, None)}, range(6, 9), id="another path"),
        pytest.param({"first": (0, None)}, range(9), id="a layer's name"),
        pytest.param({"second": (0, None)}, range(9, 12), id="another layer"),
        pytest.param(
            {"second": (0, None), "first/bias": (0, None)}, range(6, 12), id="several names"
        ),
        pytest.param((0, None), range(12), id="flat"),
    ],
)
def test_weights_are_bounded_by_path_or_layer(layout, bounds, bounded):
    box = model_bounds(bounds, layout)

    assert np.flatnonzero(box.lower == 0.0).tolist() == list(bounded)
    assert np.isneginf(np.delete(box.lower, bounded)).all()
    assert np.isposinf(box.upper).all()


def test_a_weight_is_bounded_by_its_full_path(layout):
    path = layout.variables[0].path

    box = model_bounds({path: (0, 1)}, layout)

    assert path.endswith("/first/kernel")
    assert np.flatnonzero(box.lower == 0.0).tolist() == list(range(6))


def test_a_limit_may_have_the_shape_of_its_weight(layout):
    lower = np.arange(6.0).reshape(2, 3)

    box = model_bounds({"first/kernel": (lower, lower + 1.0)}, layout)

    assert box.lower[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert box.upper[:6].tolist() == [1, 2, 3, 4, 5, 6]


def test_names_that_meet_take_the_narrower_limits(layout):
    box = model_bounds({"first": (-1, 5), "first/bias": (-9, 1)}, layout)

    assert box.lower[6:9].tolist() == [-1, -1, -1]
    assert box.upper[6:9].tolist() == [1, 1, 1]
    assert box.upper[:6].tolist() == [5] * 6


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"third": (0, 1)}, "bounds name 'third', which is no trainable weight"),
        ({"dirst/kernel": (0, 1)}, r"'dirst/kernel'.*Did you mean 'first/kernel'"),
        ({"sekond": (0, 1)}, r"'sekond'.*Did you mean 'second'"),
        ({"first": 0}, "the bounds of 'first' are not a pair: 0"),
        ({"first": (0, 1, 2)}, "the bounds of 'first' are not a pair"),
        ({"first/kernel": (np.zeros(5), None)}, r"does not fit.*an array of shape \(2, 3\)"),
        ({"first": (1, 0)}, "bounds exclude every value of parameter 0"),
        ({"first": (2, None), "first/bias": (None, 1)}, "bounds exclude every value of param"),
    ],
)
def test_bounds_by_name_that_do_not_fit_are_refused(layout, bounds, message):
    with pytest.raises(BoundsError, match=message):
        model_bounds(bounds, layout)


def test_a_nonnegative_constraint_becomes_a_bound():
    box = model_bounds(None, constrained("non_neg"))

    assert box.lower.tolist() == [0, 0, -INF]
    assert np.isposinf(box.upper).all()


@pytest.mark.parametrize("bounds", [(-1, 1), SimpleNamespace(lb=-1, ub=1)])
def test_a_nonnegative_constraint_is_met_with_other_bounds(bounds):
    box = model_bounds(bounds, constrained(keras.constraints.NonNeg()))

    assert box.lower.tolist() == [0, 0, -1]
    assert box.upper.tolist() == [1, 1, 1]


@pytest.mark.parametrize("constraint", ["max_norm", "unit_norm", keras.constraints.MinMaxNorm()])
def test_other_constraints_are_refused_with_the_cure(constraint):
    with pytest.raises(UnsupportedError, match=r"which is no box.*NonNeg, which becomes a bound"):
        model_bounds(None, constrained(constraint))


def test_no_bounds_on_a_model_are_none(layout):
    assert model_bounds(None, layout) is None
    assert model_bounds({}, layout) is None


def test_projection_goes_to_the_nearest_point_of_the_box():
    box = Bounds(np.array([0.0, -INF, -1.0]), np.array([1.0, 2.0, INF]))

    assert project(np.array([5.0, 5.0, 5.0]), box).tolist() == [1, 2, 5]
    assert project(np.array([-5.0, -5.0, -5.0]), box).tolist() == [0, -5, -1]


def test_projection_without_a_box_changes_nothing():
    x = np.array([1.0, -2.0])

    assert project(x, None) is x


@pytest.mark.parametrize(
    ("x", "g", "expected"),
    [
        (0.5, 0.1, 0.1),  # inside: the gradient
        (0.0, 2.0, 0.0),  # at the lower limit, pushing out
        (0.0, -0.2, -0.2),  # at the lower limit, pulling in
        (1.0, -3.0, 0.0),  # at the upper limit, pushing out
        (1.0, 0.3, 0.3),  # at the upper limit, pulling in
        (0.5, 9.0, 0.5),  # no farther than the limit
    ],
)
def test_a_projected_gradient_vanishes_where_the_box_holds_the_point(x, g, expected):
    box = Bounds(np.zeros(1), np.ones(1))

    projected = projected_gradient(np.array([x]), np.array([g]), box)

    assert projected == pytest.approx([expected])


def test_a_projected_gradient_without_a_box_is_the_gradient():
    g = np.array([1.0, -2.0])

    assert projected_gradient(np.zeros(2), g, None) is g


def test_parameters_without_a_finite_limit_are_named(layout):
    box = model_bounds({"first": (-1, 1), "second/kernel": (0, [[1], [INF], [2]])}, layout)
    kernel = layout.variables[-1].path

    assert name_unbounded(box, layout) == f"1 of 12 have none: {kernel}[1] in [0, inf]"


def test_of_many_parameters_without_a_finite_limit_the_first_are_named():
    box = flat_bounds((0, None), 5)

    assert name_unbounded(box) == (
        "5 of 5 have none: parameter 0 in [0, inf], parameter 1 in [0, inf], "
        "parameter 2 in [0, inf], ..."
    )


@pytest.mark.parametrize("bounds", [None, (-1, 1)])
def test_nothing_is_named_where_all_is_finite_or_there_is_no_box(bounds):
    assert not name_unbounded(flat_bounds(bounds, 3))
