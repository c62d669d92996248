"""How much memory a fit takes over streams of some batches and of many, in its own process.

    python -m kormos_core.testing.stream SOLVER OPTIONS BATCHES

It writes the growth of the peak and the size of what data are added, in bytes, as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, final

import keras
import numpy as np

from kormos_core.peak_memory import peak_memory_bytes
from kormos_core.testing.case import Case
from kormos_core.training import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batches", "main", "measure"]

_NUMBERS: Final = 2**19  # of the inputs of a batch: 4 MiB
_COLUMNS: Final = {False: 4, True: 64}  # by residuals: one for each row is little beside 64
_FEW: Final = 12  # batches of the shorter stream: some wait for the garbage collector
_ITERATIONS: Final = 1


@final
class Batches(keras.utils.PyDataset):
    """Batches that are made when they are asked for, and kept by nobody.

    Parameters
    ----------
    number : int
        How many.
    num_columns : int
        Columns of the inputs.
    dtype : str
        Of the arrays.
    """

    def __init__(self, number: int, num_columns: int, dtype: str) -> None:
        super().__init__()
        self._number, self._num_columns, self._dtype = number, num_columns, dtype

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return batch `index`: inputs and targets."""
        t = np.linspace(0.0, 1.0, _NUMBERS // self._num_columns, dtype=self._dtype)
        x = np.outer(t, np.arange(1, self._num_columns + 1, dtype=self._dtype) + 0.1 * index)
        np.mod(x, 1.0, out=x)
        return x, np.square(x[:, :1])


def measure(case: Case, num_batches: int) -> dict[str, int]:
    """Measure the peaks of two fits.

    Parameters
    ----------
    case : Case
        The solver.
    num_batches : int
        Batches of the longer stream.

    Returns
    -------
    dict of str to int
        ``growth`` of the peak, and size of the ``data`` that the longer stream has more, in
        bytes.
    """
    dtype, num_columns = max(case.spec.dtypes), _COLUMNS[case.takes_residuals]
    if case.spec.kind == "global":
        num_columns = 1  # an iteration takes a multiple of n sweeps, or a power of it
    unit = keras.layers.Dense(1, kernel_initializer="zeros", dtype=dtype)
    model = keras.Sequential([keras.Input((num_columns,), dtype=dtype), unit])
    model.compile(loss=keras.losses.MeanSquaredError(dtype=dtype), optimizer="sgd")
    peaks = []
    for number in (_FEW, num_batches):
        fit(
            model,
            Batches(number, num_columns, dtype),
            solver=case.name,
            options=case.options,
            bounds=(-1.0, 1.5) if case.spec.requires_bounds else None,
            epochs=_ITERATIONS,
            verbose=0,
        )
        peaks.append(peak_memory_bytes() or 0)
    data = (num_batches - _FEW) * _NUMBERS * np.dtype(dtype).itemsize
    return {"growth": peaks[1] - peaks[0], "data": data}


def main() -> None:
    """Measure the solver that the command line names, and write what was found."""
    solver, options, num_batches = sys.argv[1:]
    told: dict[str, Any] = {"cannot": "this system does not tell a process's peak of memory"}
    if peak_memory_bytes() is not None:
        told = measure(Case.of(solver, json.loads(options)), int(num_batches))
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
