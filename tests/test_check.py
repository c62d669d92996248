from __future__ import annotations

from typing import Any

import pytest

from kormos_core.capabilities import SolverSpec
from kormos_core.check import check_request
from kormos_core.errors import KormosError, MemoryLimitError, UnsupportedError
from kormos_core.registry import Plugin, Registry

GIB = 2**30


def spec(name: str, needs: str = "grad", supports: str = "", **declared: Any) -> SolverSpec:
    fields: dict[str, Any] = {
        "needs": frozenset({"value", *needs.split()}),
        "supports": frozenset(supports.split()),
        "dtypes": frozenset({"float32", "float64"}),
    }
    return SolverSpec(name=name, factory="nowhere:X", **fields | declared)


def registry(**solvers: list[SolverSpec]) -> Registry:
    return Registry(
        Plugin(
            namespace=namespace,
            distribution=f"kormos-{namespace}",
            version="1.0",
            target="x",
            solvers=tuple(specs),
        )
        for namespace, specs in solvers.items()
    )


REGISTRY = registry(
    scipy=[
        spec("bfgs", dense_matrices=4),
        spec("cg"),
        spec("newton-cg", "grad hvp"),
        spec("l-bfgs-b", supports="bounds", default=True),
        spec("slsqp", supports="bounds constraints", dense_matrices=1),
        spec("dogleg", "grad hessian", dense_matrices=2, max_parameters=1000),
        spec("single", dtypes=frozenset({"float32"})),
    ],
    tfp=[spec("l-bfgs", backends=frozenset({"tensorflow"}))],
    odd=[
        spec("gauss-newton", "residuals", kind="least-squares"),
        spec("sgd", kind="stochastic"),
        spec("annealing", "", "bounds", kind="global"),
        spec("swarm", "", kind="global"),
    ],
)
PLAIN: dict[str, Any] = {
    "backend": "tensorflow",
    "size": 500,
    "dtype": "float64",
    "available_memory_bytes": GIB,
    "registry": REGISTRY,
}


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("scipy:bfgs", {}),
        ("scipy:dogleg", {"size": 1000}),
        ("scipy:l-bfgs-b", {"has_bounds": True, "size": 10**9}),
        ("scipy:slsqp", {"has_bounds": True, "has_constraints": True}),
        ("scipy:single", {"dtype": "float32"}),
        ("tfp:l-bfgs", {}),
        ("scipy:cg", {"backend": "jax"}),
        ("odd:annealing", {"has_bounds": True}),
        ("odd:gauss-newton", {}),
    ],
)
def test_what_a_solver_declares_is_accepted(name: str, request_: dict[str, Any]) -> None:
    check_request(REGISTRY.resolve(name), **PLAIN | request_)


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        (
            "odd:gauss-newton",
            {"has_bounds": True},
            r"^odd:gauss-newton does not honor bounds.*; none that is installed can do all",
        ),
        (
            "odd:sgd",
            {},
            (
                r"a stochastic solver, and training takes batch, least-squares or global ones.*"
                r"Compile with a Keras optimizer, or use a batch solver: scipy:l"
            ),
        ),
        (
            "tfp:l-bfgs",
            {"backend": "jax"},
            (
                r"^tfp:l-bfgs does not run on the Keras backend 'jax'\. It runs on "
                r"tensorflow\. Set KERAS_BACKEND=tensorflow before Keras is imported, or use a "
                r"solver that runs here: "
            ),
        ),
        (
            "scipy:single",
            {},
            (
                r"^scipy:single does not take parameters in float64\. It takes float32\. Build "
                r"the model with the dtype policy 'float32', or use a solver that takes it: scipy"
            ),
        ),
        (
            "scipy:cg",
            {"has_bounds": True},
            (
                r"^scipy:cg does not honor bounds, and bounds are given\. Leave them out, or use "
                r"a solver that honors them: scipy:l-bfgs-b, scipy:slsqp\.$"
            ),
        ),
        ("odd:swarm", {"has_bounds": True}, r"honors them: odd:annealing\.$"),
        (
            "scipy:l-bfgs-b",
            {"has_constraints": True},
            r"does not honor constraints, .* or use a solver that honors them: scipy:slsqp\.$",
        ),
        (
            "scipy:cg",
            {"has_constraints": True, "size": 10**6},
            r"honors them; none that is installed can do all of this\.$",
        ),
        (
            "scipy:dogleg",
            {"size": 34_826},
            (
                r"^scipy:dogleg takes at most 1,000 parameters: it needs the full Hessian, n "
                r"products and n² numbers an iteration\. This model has n = 34,826\. Use a solver "
                r"for more: "
            ),
        ),
    ],
)
def test_what_a_solver_cannot_honor_is_refused_with_what_can(
    name: str, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        check_request(REGISTRY.resolve(name), **PLAIN | request_)


def test_dense_matrices_that_do_not_fit_are_refused_before_the_first_step() -> None:
    memory = int(12.3 * GIB)
    message = (
        "scipy:bfgs keeps 4 dense matrices of n² numbers for n = 34,826 parameters: 36.1 GiB, of "
        "which 12.3 GiB are free. Use a solver of linear memory: scipy:l-bfgs-b, scipy:cg, "
        "scipy:newton-cg, tfp:l-bfgs."
    )

    with pytest.raises(MemoryLimitError, match="dense matrices") as caught:
        check_request(
            REGISTRY.resolve("scipy:bfgs"),
            **PLAIN | {"size": 34_826, "available_memory_bytes": memory},
        )

    assert str(caught.value) == message


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
def test_the_memory_limit_is_exact(size: int, fits: bool) -> None:
    solver = REGISTRY.resolve("scipy:slsqp")
    asked = PLAIN | {"size": size, "available_memory_bytes": 8 * 1000**2}

    if fits:
        check_request(solver, **asked)
        return
    with pytest.raises(MemoryLimitError, match=r"1 dense matrix of n² numbers for n = 1,001"):
        check_request(solver, **asked)


def test_the_free_memory_is_measured_where_it_is_not_given() -> None:
    asked = PLAIN | {"size": 10**9, "available_memory_bytes": None}

    with pytest.raises(
        MemoryLimitError, match=r"29802322387\.7 GiB, of which \d+\.\d GiB are free"
    ):
        check_request(REGISTRY.resolve("scipy:bfgs"), **asked)


def test_many_solvers_that_could_do_it_are_not_all_named() -> None:
    crowd = registry(
        a=[spec("dense", dense_matrices=1), *(spec(f"s{i}") for i in range(9))],
    )

    with pytest.raises(KormosError, match=r"memory: a:s0, a:s1, a:s2, a:s3, a:s4, a:s5 and 3 mo"):
        check_request(crowd.resolve("a:dense"), **PLAIN | {"size": 10**6, "registry": crowd})


BOXES = registry(
    odd=[
        spec("grid", "", "bounds", kind="global", requires_bounds=True),
        spec("hops", "", kind="global"),
    ]
)


def test_a_box_that_is_finite_is_accepted() -> None:
    check_request(BOXES.resolve("odd:grid"), **PLAIN | {"registry": BOXES, "has_bounds": True})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"has_bounds": False},
            (
                r"^odd:grid searches a box and needs finite bounds on every parameter, and no "
                r"bounds are given\. Give bounds=\(lower, upper\), one pair for all parameters or "
                r"one for each, or use a solver of its kind that needs none: odd:hops\.$"
            ),
        ),
        (
            {"has_bounds": True, "unbounded": "1 of 2 have none: parameter 1 in [0, inf]"},
            r"on every parameter, and 1 of 2 have none: parameter 1 in \[0, inf\]\. Give bounds",
        ),
    ],
)
def test_a_box_that_is_missing_or_infinite_is_refused(
    request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        check_request(BOXES.resolve("odd:grid"), **PLAIN | {"registry": BOXES} | request_)
