"""Memory: as many matrices as are declared, and none that grows with the data.

Symbols: n number of parameters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any, Final

from kormos_core.testing.check import Check
from kormos_core.testing.law import CannotRunError, demand

if TYPE_CHECKING:
    from kormos_core.testing.case import Case

__all__ = ["MEMORY"]

_BYTES: Final = 8
_LEAST: Final = 50  # parameters from which on a matrix is more than what surrounds it
_SLACK: Final = 0.75  # of a matrix: at n = 400 that is room for 300 vectors
_LOOSE: Final = 0.1  # of what is declared: what is left of rows that are not n long
_MANY: Final = 20  # matrices from which on a small n will do
_BATCHES: Final = 36
_GROWTH: Final = 0.5  # of the added data: one that keeps them adds all, the allocator a quarter


def check_matrices(case: Case) -> None:
    """Check that `case` keeps no more matrices of n x n numbers than it declares."""
    from kormos_core.testing.wide import Wide

    declared = case.spec.dense_matrices
    needs = case.spec.needs
    size = 400 if "grad" in needs else 150  # direct searches take n evaluations a step
    if "hessian" in needs:
        size = 200  # and these n products
    if declared >= _MANY:
        size = 100
    if case.spec.max_parameters is not None:
        size = min(size, case.spec.max_parameters)
    is_quick = "grad" in needs and case.spec.kind != "global"  # those take n and more a step
    wide = Wide(case, size, maxiter=3 if is_quick else 1)
    wide.solve()  # what is imported and traced at first is no matrix
    tracemalloc.start()
    try:
        chunks = wide.solve()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    state = max((_size_of(chunk) for chunk in chunks), default=0)
    held = max(peak, state) / (_BYTES * size**2)
    demand(
        held <= (1.0 + _LOOSE) * declared + _SLACK,
        "A solver keeps no more n x n matrices than it declares in dense_matrices.",
        seen=f"{max(peak, state) / 2**20:.1f} MiB for n = {size}, which is {held:.1f} matrices, "
        f"and {declared} declared",
        do="Declare them, so that kormos can refuse a model that would not fit into memory.",
    )


def check_data(case: Case) -> None:
    """Check that the memory of a fit by `case` does not grow with the number of batches."""
    process = subprocess.run(  # noqa: S603 - our own module
        [
            *(sys.executable, "-m", "kormos_core.testing.stream", case.name),
            *(json.dumps(case.options), str(_BATCHES)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    law = "The memory of a fit does not grow with the data."
    do = "Keep nothing of a sweep but its sums."
    demand(not process.returncode, law, seen=process.stderr[-400:], do=do)
    told = json.loads(process.stdout.splitlines()[-1])
    if "cannot" in told:
        raise CannotRunError(told["cannot"])
    demand(
        told["growth"] <= _GROWTH * told["data"],
        law,
        seen=f"{told['growth'] / 2**20:.0f} MiB more for a stream that is "
        f"{told['data'] / 2**20:.0f} MiB longer",
        do=do,
    )


def _size_of(chunk: Any) -> int:
    return sum(int(array.nbytes) for array in chunk.memory().values())


def _takes_all_residuals(case: Case) -> str:
    if case.takes_residuals and not case.in_graph:
        return "it takes all residuals and their Jacobian at once, as many as there are samples"
    return ""


def _holds_other_matrices(case: Case) -> str:
    from kormos_core.testing.trial import is_compiled

    if not is_compiled():
        return "what is not compiled makes many Python objects, which are not told from matrices"
    most = case.spec.max_parameters
    if most is not None and most < _LEAST:
        return f"with at most {most} parameters matrices are small"
    return _takes_all_residuals(case)


MEMORY: Final = (
    Check(
        name="dense_matrices",
        law="It keeps no more n x n matrices than it declares.",
        run=check_matrices,
        exception=_holds_other_matrices,
    ),
    Check(
        name="memory",
        law="The memory of a fit does not grow with the data.",
        run=check_data,
        exception=_takes_all_residuals,
        is_heavy=True,
    ),
)
"""Checks of memory."""
