"""What an optimizer keeps from step to step, in files, in copies; what it refuses."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from kormos_core.errors import (
    KormosError,
    UnknownOptionError,
    UnknownSolverError,
    UnsupportedError,
)
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")


def weight(value=3.0):
    return torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))


def through_a_file(state):
    """Save and load as torch advises to: without code in the file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_state_is_kept_through_a_file():
    w, other = weight(), weight()
    asked = {"options": {"maxcor": 4}, "maxiter": 7, "tol": 1e-8, "hvp": "finite-difference"}
    optimizer = SolverOptimizer([w], "l-bfgs-b", bounds=(0.5, None), **asked)
    optimizer.step(lambda: 1.0 * (w**2).sum())
    fresh = SolverOptimizer([other], "scipy:cg")

    fresh.load_state_dict(through_a_file(optimizer.state_dict()))
    fresh.step(lambda: 1.0 * (other**2).sum())

    assert fresh.counts["steps"] == 2
    assert fresh.counts["fg_evals"] > optimizer.counts["fg_evals"]
    assert fresh.result.solver == "scipy:l-bfgs-b"
    assert other.item() == 0.5
    assert repr(fresh) == repr(optimizer)


def test_the_state_of_another_optimizer_is_refused():
    w = weight()
    state = torch.optim.SGD([w], lr=0.1).state_dict()

    with pytest.raises(UnsupportedError, match="not the state of a SolverOptimizer: it holds"):
        SolverOptimizer([w]).load_state_dict(state)


def test_a_state_with_a_solver_that_is_not_there_changes_nothing():
    w = weight()
    optimizer = SolverOptimizer([w])
    state = optimizer.state_dict()
    state["kormos"]["solver"] = "scipy:simulated-annealing"

    with pytest.raises(UnknownSolverError, match="simulated-annealing"):
        optimizer.load_state_dict(state)

    assert "l-bfgs-b" in repr(optimizer)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_has_parameters_and_counts_of_its_own(copied):
    w = weight()
    optimizer = SolverOptimizer([w], "scipy:bfgs", maxiter=3)
    optimizer.step(lambda: 1.0 * (w**4).sum())

    twin = copied(optimizer)
    (own,) = twin.param_groups[0]["params"]
    before = w.item()
    twin.step(lambda: 1.0 * (own**4).sum())

    assert w.item() == before
    assert abs(own.item()) < abs(before)
    assert (twin.counts["steps"], optimizer.counts["steps"]) == (2, 1)


def test_torch_s_hooks_and_zero_grad_work():
    w, called = weight(), []
    optimizer = SolverOptimizer([w])
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))

    optimizer.step(lambda: 1.0 * (w**2).sum())
    optimizer.zero_grad()

    assert called == ["before", "after"]
    assert w.grad is None


def test_a_group_may_be_added():
    w, added = weight(), weight(7.0)
    optimizer = SolverOptimizer([w], bounds=(0.0, None))

    optimizer.add_param_group({"params": [added], "bounds": (2.0, None)})
    optimizer.step(lambda: 1.0 * (w**2 + added**2).sum())

    assert (w.item(), added.item()) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"solver": "scipy:lbfgs"}, UnknownSolverError, "Did you mean 'scipy:l-bfgs-b'"),
        ({"solver": "adam>scipy:bfgs"}, UnsupportedError, "is a chain"),
        ({"options": {"maxcors": 5}}, UnknownOptionError, "Did you mean 'maxcor'"),
        ({"options": {"disp": True}}, UnknownOptionError, "unknown option 'disp'"),
        ({"maxiter": 0}, UnsupportedError, "maxiter=0 is not usable"),
        ({"maxiter": 5, "options": {"maxiter": 6}}, UnsupportedError, "two iteration limits"),
        ({"solver": "scipy:bfgs", "bounds": (0, 1)}, UnsupportedError, "bounds"),
        ({"solver": "scipy:bfgs", "constraints": {"type": "eq"}}, UnsupportedError, "constraints"),
        ({"solver": "scipy:least-squares-trf"}, UnsupportedError, "needs residuals"),
    ],
)
def test_what_a_solver_cannot_do_is_refused_when_it_is_made(arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        SolverOptimizer([weight()], **arguments)

    assert isinstance(caught.value, KormosError)


def test_the_option_maxiter_is_the_iteration_limit():
    w = weight()
    optimizer = SolverOptimizer([w], "scipy:cg", options={"maxiter": 2})

    optimizer.step(lambda: 1.0 * (w**4).sum())

    assert optimizer.result.num_iterations == 2


def test_tolerances_and_options_reach_the_solver():
    w = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))

    def closure():
        return 100.0 * (w[1] - w[0] ** 2) ** 2 + (1.0 - w[0]) ** 2

    norms = {}
    for tol in (1e-2, 1e-10):
        with torch.no_grad():
            w.copy_(torch.tensor([-1.2, 1.0]))
        optimizer = SolverOptimizer([w], "scipy:trust-exact", tol=tol)
        optimizer.step(closure)
        norms[tol] = optimizer.result.grad_norm

    assert norms[1e-10] <= 1e-10 < norms[1e-2] <= 1e-2


@pytest.mark.backends("tensorflow")
def test_solvers_in_the_graph_are_refused_beside_another_backend_with_the_cure():
    with pytest.raises(UnsupportedError, match="KERAS_BACKEND=torch before Keras is imported"):
        SolverOptimizer([weight()], "native:lbfgs")


def test_no_keras_is_loaded_for_a_solver_on_the_host():
    program = (
        "import sys, torch\n"
        "from kormos_torch import SolverOptimizer\n"
        "w = torch.nn.Parameter(torch.ones(2))\n"
        "for solver in ('scipy:newton-cg', 'torch:lbfgs'):\n"
        "    SolverOptimizer([w], solver).step(lambda: 1.0 * (w**2).sum())\n"
        "print([name for name in ('keras', 'tensorflow', 'jax') if name in sys.modules])"
    )

    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert process.stdout.strip() == "[]"


def test_the_module_has_no_other_names():
    import kormos_torch

    with pytest.raises(AttributeError, match="no attribute 'Solver'"):
        kormos_torch.Solver  # noqa: B018 - looking is the test


def test_the_result_is_kormos_s(logistic):
    optimizer = SolverOptimizer(logistic.module.parameters(), "scipy:newton-cg")
    assert optimizer.result is None

    loss = optimizer.step(logistic.loss)

    result = optimizer.result
    f, g = logistic.oracle(logistic.weights)
    assert result.converged
    assert result.loss == pytest.approx(f, rel=1e-14)
    assert float(loss) == result.loss
    assert result.grad_norm == pytest.approx(np.linalg.norm(g), abs=1e-14)
    assert result.hessp_evals > 0
    np.testing.assert_array_equal(result.x, logistic.weights)
