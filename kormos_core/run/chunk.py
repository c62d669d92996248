"""What one call of the compiled loop leaves behind, and who takes it.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); float64 NumPy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.protocols import Bounds

__all__ = ["Chunk", "LoopHost", "Point"]


@final
@dataclass(frozen=True, slots=True)
class Point:
    """A point with its loss and gradient.

    Attributes
    ----------
    x : ndarray, shape (n,), float64
        The parameters.
    f : float
        The loss; NaN where it has not been evaluated.
    g : ndarray, shape (n,), float64
        The gradient; NaN for methods that take none.
    """

    x: NDArray[np.float64]
    f: float
    g: NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some iterations that ran in one call.

    Attributes
    ----------
    losses : ndarray, shape (k,), float64
        Loss after each of the k iterations.
    grad_norms : ndarray, shape (k,), float64
        Euclidean norm of the (projected) gradient there.
    fg_evals, hessp_evals : ndarray, shape (k,), int64
        Evaluations and products of this chunk up to and with each iteration.
    num_fg, num_hvp : int
        Evaluations and products of the whole chunk, those of an iteration that is not
        done yet included.
    last : Point
        The latest accepted point.
    best : Point
        The best accepted point of the solve so far.
    ends : bool
        Whether the solve ends here.
    memory : callable
        Gives all that the solve goes on from, as named arrays.
    """

    losses: NDArray[np.float64]
    grad_norms: NDArray[np.float64]
    fg_evals: NDArray[np.int64]
    hessp_evals: NDArray[np.int64]
    num_fg: int
    num_hvp: int
    last: Point
    best: Point
    ends: bool
    memory: Callable[[], Mapping[str, NDArray[Any]]]


@runtime_checkable
class LoopHost(Protocol):
    """What a loop needs of the run that it is part of."""

    @property
    def bounds(self) -> Bounds | None:
        """Box on the parameters."""
        ...

    @property
    def memory(self) -> Mapping[str, NDArray[Any]] | None:
        """What an earlier solve left behind for this one to go on from, or None."""
        ...

    def prepare(self, x: NDArray[np.float64], /) -> int:
        """Get ready for a chunk.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The point that it goes on from.

        Returns
        -------
        int
            Most iterations that may run before the next report.

        Raises
        ------
        StopSolve
            When the solve is to end.
        """
        ...

    def compile(self, function: Callable[..., Any], key: Hashable, /) -> Callable[..., Any]:
        """Compile a traceable function of the objective and tensors.

        Parameters
        ----------
        function : callable
            Takes a `GraphObjective` and structures of tensors, and gives such. An attribute
            ``uses_keras`` that is False tells that it calls `kormos_core.loop.ops` and no other
            functions of Keras.
        key : hashable
            What it does; equal keys, equal functions.

        Returns
        -------
        callable
            The function of the tensors alone.
        """
        ...

    def report(self, chunk: Chunk, /) -> None:
        """Take what a chunk left behind; raises `StopSolve` when the solve is to end."""
        ...
