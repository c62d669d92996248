"""Each capability that is declared is real; what is not declared is refused."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, Final, get_args

from kormos_core.capabilities import Need
from kormos_core.check import check_request
from kormos_core.errors import MemoryLimitError, UnsupportedError
from kormos_core.testing.check import Check
from kormos_core.testing.law import demand
from kormos_core.testing.problem import ROSENBROCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.testing.case import Case

__all__ = ["CAPABILITIES"]

_OF: Final = {
    "value": "value",
    "value_and_grad": "grad",
    "hvp": "hvp",
    "hvp_at": "hvp",
    "hessian": "hessian",
    **dict.fromkeys(
        (
            *("residuals", "jacobian", "jvp", "vjp", "ggn_vp"),
            *("normal_equations", "triangle", "gauss_newton_at", "residuals_and_jacobian"),
        ),
        "residuals",
    ),
}
"""What is needed for each request to the objective."""

_EXPENSIVE: Final = ("hvp", "hessian", "residuals")
_REQUEST: Final = {"size": 3, "available_memory_bytes": 2**40}


def check_needs(case: Case) -> None:
    """Check that `case` asks the objective for what it declares, and for nothing else."""
    asked = {_OF[name] for name in case.whole.asked | case.quadratic.asked if name in _OF}
    declared = case.spec.needs
    allowed = declared | {"value"}
    demand(
        asked <= allowed,
        "A solver asks for what it declares that it needs, and for nothing else.",
        seen=f"it asks for {_words(asked - allowed)}, and declares {_words(declared)}",
        do="Declare all of it in needs.",
    )
    unused = {need for need in _EXPENSIVE if need in declared} - asked
    demand(
        not unused,
        "What a solver declares that it needs, it uses.",
        seen=f"it never asks for {_words(unused)}",
        do="Leave it out of needs: kormos prepares and checks it for every solve.",
    )


def check_in_graph(case: Case) -> None:
    """Check that `case` runs in the graph if it says so, and only then."""
    trial = case.whole
    law = "A solver that declares 'in-graph' iterates in compiled calls alone."
    if case.in_graph:
        demand(
            trial.log.chunks and trial.num_graph and not trial.log.asked,
            law,
            seen=f"{len(trial.log.chunks)} compiled calls, and {len(trial.log.asked)} requests "
            "from Python",
            do="Write it as a LoopMethod and run it by minimize_in_graph, or drop 'in-graph'.",
        )
    else:
        demand(
            not trial.log.num_compiled,
            "A solver that iterates in compiled calls declares 'in-graph'.",
            seen=f"{trial.log.num_compiled} requests for compiled functions",
            do="Add 'in-graph' to supports.",
        )


def check_tracing(case: Case) -> None:
    """Check that `case` traces nothing that has been traced."""
    case.solve(ROSENBROCK, maxiter=5)
    for what, maxiter in (("A second solve", 5), ("A solve of more iterations", 10)):
        trial = case.solve(ROSENBROCK, maxiter=maxiter)
        demand(
            not trial.num_traces,
            f"{what} by an equal solver traces nothing.",
            seen=f"{trial.num_traces} traces of the loss",
            do="Let equal solvers be equal and hashable (a frozen dataclass), pass equal keys to "
            "objective.compile(), and only tensors to what it gives.",
        )


def check_refusals(case: Case) -> None:
    """Check that kormos refuses what `case` does not declare, before the first step."""
    spec = case.spec
    asked: list[tuple[str, str, dict[str, Any]]] = [
        (what, f"does not honor {what}", {f"has_{what}": True})
        for what in ("bounds", "constraints")
        if what not in spec.supports
    ]
    dtype = min({"float32", "float64", "float16"} - spec.dtypes)
    asked.append((dtype, f"does not take parameters in {dtype}", {"dtype": dtype}))
    if spec.backends:
        asked.append(("another backend", "does not run on", {"backend": "none"}))
    if spec.requires_bounds:
        for what, changes in (
            ("no bounds", {"has_bounds": False}),
            ("infinite bounds", {"unbounded": "1 of 3 have none"}),
        ):
            asked.append((what, "needs finite bounds", changes))
    if spec.max_parameters is not None:
        size = spec.max_parameters + 1
        asked.append((f"n = {size}", "takes at most", {"size": size}))
    for what, words, changes in asked:
        _is_refused(case, what, words, functools.partial(_request, case, **changes))
    if spec.dense_matrices:
        need = spec.dense_matrices * 8 * _REQUEST["size"] ** 2
        _is_refused(
            case,
            "less memory than dense_matrices",
            "dense matri",
            lambda: _request(case, available_memory_bytes=need - 1),
            MemoryLimitError,
        )
    if "chunk" not in spec.supports:
        from kormos_core.request import SolverRequest

        _is_refused(
            case,
            "steps_per_execution=2",
            "cannot honor steps_per_execution",
            lambda: SolverRequest(solver=case.name).check_steps(2),
        )


def _request(case: Case, **changes: Any) -> None:
    spec = case.spec
    backend = min(spec.backends, default="tensorflow")
    dtype = max(spec.dtypes, default="float64")
    given = {
        **_REQUEST,
        "has_bounds": spec.requires_bounds,
        "backend": backend,
        "dtype": dtype,
        **changes,
    }
    check_request(case.registered, **given)


def _is_refused(
    case: Case,
    what: str,
    words: str,
    request: Callable[[], None],
    kind: type[UnsupportedError] = UnsupportedError,
) -> None:
    law = f"What a solver does not declare is refused: {what}."
    do = "Declare what it can do in its SolverSpec, and nothing else."
    try:
        request()
    except kind as error:
        demand(case.name in str(error) and words in str(error), law, seen=f"{error}", do=do)
    else:
        demand(holds=False, law=law, seen="no error", do=do)


def check_resume_refused(case: Case) -> None:
    """Check that kormos refuses to go on by `case`, which does not declare it, and says so."""
    fitting = case.fitting
    fitting.fit(epochs=1)
    law = "A solver that does not declare 'resume' starts afresh, and kormos says so."
    do = "Add 'resume' to supports if the solver keeps all that it goes on from."
    try:
        fitting.fit(epochs=2, resume=True, again=False)
    except UnsupportedError as error:
        demand("cannot go on" in str(error), law, seen=str(error), do=do)
    else:
        demand(holds=False, law=law, seen="no error with resume=True", do=do)


def check_save_and_load(case: Case) -> None:
    """Check that a model file keeps `case` with its options, and that the model trains on."""
    from kormos_core.testing.fitting import weights_of

    fitting = case.fitting
    fitting.fit(epochs=2)
    loaded = fitting.saved_and_loaded()
    law = "A .keras file keeps the solver and its options."
    found = loaded.optimizer.request
    demand(
        found.solver == case.name and found.create() == case.create(),
        law,
        seen=f"{found.solver} with {found.create()!r} in place of {case.create()!r}",
        do="Take options of JSON's types, and let equal solvers be equal.",
    )
    x, y = fitting.data
    before = weights_of(loaded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fresh start, which is told
        history = loaded.fit(x, y, epochs=4, initial_epoch=2, verbose=0)
    best, start = history.result.loss, fitting.model.evaluate(x, y, verbose=0)
    demand(
        best <= start * (1.0 + 1e-6),
        "A loaded model trains on from its weights.",
        seen=f"a loss of {best}, and {start} in the file, whose weights are {before}",
        do="Keep nothing of a solve but what is in its state.",
    )


def _words(names: Any) -> str:
    return ", ".join(sorted(names, key=get_args(Need).index)) or "nothing"


def _no_traces(case: Case) -> str:
    from kormos_core.testing.trial import is_compiled

    del case
    return "" if is_compiled() else "the kit's problems are not compiled on this backend"


def _resumes(case: Case) -> str:
    return "it declares 'resume'" if "resume" in case.spec.supports else ""


CAPABILITIES: Final = (
    Check(
        name="needs",
        law="It asks for what it declares that it needs, and for nothing else.",
        run=check_needs,
    ),
    Check(name="in_graph", law="It iterates in the graph if it says so.", run=check_in_graph),
    Check(
        name="tracing",
        law="What has been traced is not traced again.",
        run=check_tracing,
        exception=_no_traces,
    ),
    Check(
        name="refusals",
        law="What is not declared is refused.",
        run=check_refusals,
        solves=False,
    ),
    Check(
        name="resume_refused",
        law="Going on is refused where it is not declared.",
        run=check_resume_refused,
        exception=_resumes,
    ),
    Check(
        name="save_and_load",
        law="A saved model keeps the solver, and trains on.",
        run=check_save_and_load,
    ),
)
"""Checks of capabilities."""
