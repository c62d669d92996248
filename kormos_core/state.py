"""Where a solve stands, as data that a file can keep.

Symbols: ``x`` parameters (n,); float64.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from kormos_core.errors import RestartWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["SolverState"]

_FACTS: Final = "kormos_facts"
_WEIGHTS: Final = "kormos_weights"
_MEMORY: Final = "kormos_memory_"
_NOISE: Final = "kormos_noise_"
_VERSION: Final = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SolverState:
    """Where a solve stands.

    Attributes
    ----------
    solver : str
        Full name of the solver.
    method : str
        The solver with all its options, as it prints.
    num_iterations : int
        Number of the latest iteration; those of earlier fits that it went on from count.
    weights : ndarray, shape (n,), float64
        What the model's trainable weights were set to then.
    memory : mapping of str to ndarray, or None
        All that the solver itself goes on from; None where it cannot.
    noise : tuple of ndarray, shape (2,)
        Seeds of the noise that the loss was computed with, one for each generator.
    """

    solver: str
    method: str
    num_iterations: int
    weights: NDArray[np.float64]
    memory: Mapping[str, NDArray[Any]] | None = None
    noise: tuple[NDArray[Any], ...] = ()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Turn the state into named arrays.

        Returns
        -------
        dict of str to ndarray
            What `from_arrays` reads; the names are fit for HDF5.
        """
        facts = {
            "version": _VERSION,
            "solver": self.solver,
            "method": self.method,
            "num_iterations": self.num_iterations,
            "resumes": self.memory is not None,
        }
        arrays: dict[str, NDArray[Any]] = {
            _FACTS: np.frombuffer(json.dumps(facts).encode(), np.uint8),
            _WEIGHTS: self.weights,
        }
        arrays |= {f"{_MEMORY}{name}": array for name, array in (self.memory or {}).items()}
        return arrays | {f"{_NOISE}{index}": seeds for index, seeds in enumerate(self.noise)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SolverState | None:
        """Read a state.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `to_arrays` gave; other arrays may be among them.

        Returns
        -------
        SolverState or None
            None where there is none; and, with a `RestartWarning`, where it is of a version
            that is not known.
        """
        if _FACTS not in arrays:
            return None
        facts = json.loads(bytes(np.asarray(arrays[_FACTS], np.uint8)))
        if facts["version"] != _VERSION:
            message = (
                f"the solver's state in this file is of version {facts['version']!r}, and this "
                f"kormos reads version {_VERSION}: the next fit starts afresh from the model's "
                "weights. To go on where it stood, load it with the kormos that saved it."
            )
            warnings.warn(message, RestartWarning, stacklevel=2)
            return None
        memory = {
            name.removeprefix(_MEMORY): np.asarray(array)
            for name, array in arrays.items()
            if name.startswith(_MEMORY)
        }
        num_seeds = sum(name.startswith(_NOISE) for name in arrays)
        return cls(
            solver=facts["solver"],
            method=facts["method"],
            num_iterations=facts["num_iterations"],
            weights=np.asarray(arrays[_WEIGHTS], np.float64),
            memory=memory if facts["resumes"] else None,
            noise=tuple(np.asarray(arrays[f"{_NOISE}{index}"]) for index in range(num_seeds)),
        )

    @staticmethod
    def owns(name: str) -> bool:
        """Tell whether an array of this `name` is part of a state."""
        return name in {_FACTS, _WEIGHTS} or name.startswith((_MEMORY, _NOISE))
