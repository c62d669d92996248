from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from scipy.optimize import Bounds

import kormos
from kormos_core import Result, Status
from kormos_core.errors import (
    BoundsError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)
from kormos_core.optimizer import BatchOptimizer, get
from kormos_core.request import SolverRequest, as_constraints, overridden

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

# --- the carrier -------------------------------------------------------------------------


def test_a_carrier_is_an_optimizer_of_keras():
    assert isinstance(BatchOptimizer(), keras.optimizers.Optimizer)


def test_a_carrier_holds_what_was_asked():
    optimizer = BatchOptimizer(
        "scipy:l-bfgs-b", options={"maxcor": 20}, bounds=(0, 1), tol=1e-3, epochs=7, batch_size=4
    )

    assert optimizer.request == SolverRequest(
        solver="scipy:l-bfgs-b",
        options={"maxcor": 20},
        bounds=(0, 1),
        tol=1e-3,
        epochs=7,
        batch_size=4,
    )


def test_options_are_copied():
    options = {"maxcor": 20}
    optimizer = BatchOptimizer("l-bfgs-b", options=options)

    options["maxcor"] = 1

    assert optimizer.request.options == {"maxcor": 20}


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"solver": "lbfgs"}, UnknownSolverError, r"unknown solver 'lbfgs'\. Did you mean"),
        ({"options": {"maxcors": 3}}, UnknownOptionError, r"'maxcors'.*Did you mean 'maxcor'"),
        ({"options": {"maxcor": 0}}, UnsupportedError, r"option maxcor=0 of LBFGSB is not usable"),
        ({"tol": -1.0}, UnsupportedError, r"option tol=-1\.0 of LBFGSB is not usable"),
        ({"epochs": 0}, UnsupportedError, r"iteration limit .* is not usable: 0"),
        ({"options": {"maxiter": "9"}}, UnsupportedError, r"iteration limit .* not usable: '9'"),
        ({"epochs": 2, "options": {"maxiter": 3}}, UnsupportedError, r"two iteration limits"),
        ({"solver": ["cg", "bfgs"]}, UnsupportedError, r"not a solver's name: \['cg', 'bfgs'\]"),
        ({"solver": None}, UnsupportedError, r"not a solver's name: None"),
    ],
)
def test_what_makes_no_sense_is_refused_at_construction(arguments, error, match):
    with pytest.raises(error, match=match):
        BatchOptimizer(**arguments)


def test_results_are_kept_and_cannot_be_changed_from_outside():
    optimizer = BatchOptimizer()
    result = Result(x=np.zeros(1), loss=0.0, status=Status.F_TOL, message="", num_iterations=1)

    optimizer.add_result(result)
    optimizer.results.clear()

    assert optimizer.results == [result]


def test_a_minibatch_step_is_refused_with_a_cure():
    variable = keras.Variable(np.ones(2))

    with pytest.raises(UnsupportedError, match=r"'cg' is a batch solver.*kormos\.fit\(model"):
        BatchOptimizer("cg").apply_gradients([(keras.ops.ones(2), variable)])


# --- configuration -----------------------------------------------------------------------


BOUNDS = {
    "none": (None, None),
    "pair": ((0, None), [0, None]),
    "numpy pair": ((np.float32(0.5), np.float64(1.0)), [0.5, 1.0]),
    "pairs": ([(0, 1), (None, 2)], [[0, 1], [None, 2]]),
    "array": (np.array([[0, 1], [2, 3]]), [[0, 1], [2, 3]]),
    "Bounds of numbers": (Bounds(0, 2), [0.0, 2.0]),
    "Bounds of arrays": (Bounds([0, -np.inf], [1, 2]), [[0.0, 1.0], [-np.inf, 2.0]]),
    "mapping": (
        {"d/kernel": (np.zeros((2, 1)), None), "e": (None, 3)},
        {"d/kernel": [[[0.0], [0.0]], None], "e": [None, 3]},
    ),
}


@pytest.mark.parametrize("form", BOUNDS)
def test_bounds_survive_as_json(form):
    given, plain = BOUNDS[form]

    config = BatchOptimizer(bounds=given).get_config()
    restored = BatchOptimizer.from_config(json.loads(json.dumps(config)))

    assert config["bounds"] == plain
    assert restored.request.bounds == plain


def test_bounds_that_cannot_be_saved_are_refused():
    with pytest.raises(BoundsError, match="bounds cannot be saved: 3"):
        BatchOptimizer(bounds=3).get_config()


@pytest.mark.parametrize(
    ("solver", "options", "plain"),
    [
        ("l-bfgs-b", {"maxcor": np.int64(3), "gtol": np.float32(0.5)}, {"maxcor": 3, "gtol": 0.5}),
        ("bfgs", {"hess_inv0": np.eye(2)}, {"hess_inv0": [[1.0, 0.0], [0.0, 1.0]]}),
        (
            "nelder-mead",
            {"initial_simplex": [np.zeros(2), (np.float64(1.0), 0), [0, 1]]},
            {"initial_simplex": [[0.0, 0.0], [1.0, 0], [0, 1]]},
        ),
        ("bfgs", {"norm": np.inf, "maxiter": np.int32(4)}, {"norm": np.inf, "maxiter": 4}),
    ],
)
def test_options_with_nested_numpy_values_survive_as_json(solver, options, plain):
    config = BatchOptimizer(solver, options=options).get_config()

    restored = BatchOptimizer.from_config(json.loads(json.dumps(config)))

    assert restored.request.options == plain


def test_everything_else_survives_as_json():
    optimizer = BatchOptimizer(
        "SciPy:BFGS",
        tol=np.float64(1e-3),
        epochs=9,
        batch_size=16,
        hvp="finite-difference",
        training=False,
        name="mine",
    )

    restored = BatchOptimizer.from_config(json.loads(json.dumps(optimizer.get_config())))

    assert restored.request == optimizer.request
    assert restored.name == "mine"


def test_keras_serializes_a_carrier():
    optimizer = BatchOptimizer("bfgs", options={"gtol": 1e-3}, bounds={"d": (0, None)})

    config = keras.optimizers.serialize(optimizer)
    restored = keras.optimizers.deserialize(config)

    assert config["registered_name"] == "kormos>BatchOptimizer"
    assert restored.request.options == {"gtol": 1e-3}
    assert restored.request.bounds == {"d": [0, None]}


@pytest.mark.parametrize(
    ("name", "value"), [("constraints", {"type": "eq", "fun": len}), ("pretrain_fn", print)]
)
def test_functions_cannot_be_saved_and_say_so(name, value):
    optimizer = BatchOptimizer("slsqp", **{name: value})

    with pytest.raises(UnsupportedError, match=f"{name} hold.*cannot keep.*pass them to fit"):
        optimizer.get_config()


# --- requests ----------------------------------------------------------------------------


def test_get_returns_a_carrier_as_it_is():
    optimizer = BatchOptimizer("cg")

    assert get(optimizer) is optimizer


def test_get_makes_a_carrier_of_a_name():
    assert get("Newton-CG").request.registered.name == "scipy:newton-cg"


@pytest.mark.parametrize("identifier", [None, 3, keras.optimizers.Adam()])
def test_get_refuses_anything_else(identifier):
    with pytest.raises(
        UnsupportedError, match=r"not a solver: .* Allowed are the name of a solver"
    ):
        get(identifier)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ()), ([], ()), ((1, 2), (1, 2)), ([3], (3,)), ({"type": "eq"}, ({"type": "eq"},))],
)
def test_constraints_become_a_tuple(given, expected):
    assert as_constraints(given) == expected


def test_what_is_not_given_stays():
    request = SolverRequest(solver="cg", tol=1.0, bounds=(0, 1), options={"gtol": 0.1})

    assert overridden(request, solver=None, tol=None, options=None) == request


def test_what_is_given_goes_first_and_options_are_merged():
    request = SolverRequest(solver="cg", tol=1.0, options={"gtol": 0.1, "c1": 0.2})

    changed = overridden(request, solver="bfgs", tol=2.0, options={"gtol": 0.3})

    assert changed == SolverRequest(solver="bfgs", tol=2.0, options={"gtol": 0.3, "c1": 0.2})


@pytest.mark.parametrize(
    ("own", "given", "limit"),
    [
        ({}, {}, None),
        ({"epochs": 4}, {}, 4),
        ({"options": {"maxiter": 4}}, {}, 4),
        ({"epochs": 4}, {"epochs": 2}, 2),
        ({"epochs": 4}, {"options": {"maxiter": 2}}, 2),
        ({"options": {"maxiter": 4}}, {"epochs": 2}, 2),
        ({"options": {"maxiter": 4}}, {"options": {"maxiter": 2}}, 2),
        ({"epochs": 4}, {"options": {"maxiter": None}}, 4),
    ],
)
def test_the_limit_that_is_given_goes_first(own, given, limit):
    assert overridden(SolverRequest(**own), **given).maxiter == limit


def test_the_limit_is_no_option_of_the_solver():
    solver = SolverRequest(solver="cg", options={"maxiter": 3, "gtol": 0.1}).create()

    assert solver.gtol == 0.1
    assert not hasattr(solver, "maxiter")


def test_steps_per_execution_is_refused_outside_of_the_graph():
    request = SolverRequest(solver="cg")

    request.check_steps(1)
    with pytest.raises(UnsupportedError, match="scipy:cg cannot honor steps_per_execution=8"):
        request.check_steps(8)


def test_the_face_exports_the_carrier():
    assert kormos.BatchOptimizer is BatchOptimizer


def test_a_kind_of_hessian_product_that_there_is_not_is_refused_at_once():
    with pytest.raises(UnsupportedError, match=r"hvp='forward'.*Allowed: "):
        kormos.BatchOptimizer("newton-cg", hvp="forward")
