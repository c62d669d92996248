"""Global solvers on torch modules: a function with many minima in a box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kormos_core.errors import UnsupportedError
from kormos_core.registry import installed
from kormos_torch import SolverOptimizer

pytestmark = pytest.mark.backends("tensorflow", "torch")

GLOBAL = [solver for solver in installed().solvers() if solver.spec.kind == "global"]
BOXED = [solver.name for solver in GLOBAL if getattr(solver.spec, "requires_bounds", False)]
OPTIONS = {"scipy:shgo": {"sampling_method": "sobol"}}  # SciPy's default finds the next best one
TARGET = torch.tensor([0.5, -0.3])


class Waves:
    """Rastrigin's function, moved: some twenty minima in the box, and the least at `TARGET`."""

    def __init__(self, dtype):
        self.w = torch.nn.Parameter(torch.tensor([1.4, -1.3], dtype=dtype))

    def __call__(self):
        z = self.w - TARGET.to(self.w.dtype)
        return (z**2 + 1.0 - torch.cos(2.0 * torch.pi * z)).sum()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("solver", [solver.name for solver in GLOBAL])
def test_a_global_solver_finds_the_least_of_many_minima(solver, dtype):
    waves = Waves(dtype)
    optimizer = SolverOptimizer(
        [waves.w], solver, options=OPTIONS.get(solver), bounds=(-2.0, 2.0), maxiter=150
    )

    optimizer.step(waves)

    # a grid ends between its points, and the next best minimum is 1 away
    np.testing.assert_allclose(waves.w.detach(), TARGET, atol=0.05)
    assert optimizer.result.loss < 0.05


@pytest.mark.parametrize("solver", BOXED)
def test_a_search_of_a_box_needs_one(solver):
    with pytest.raises(UnsupportedError, match="needs finite bounds on every parameter"):
        SolverOptimizer([Waves(torch.float64).w], solver)
