"""What a quasi-Newton method of TensorFlow Probability is, as the common part sees it.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from kormos_core.options import NONNEGATIVE, optional, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.loop import State

__all__ = ["RULES", "TOLERANCE", "Iteration", "Point", "Search"]

TOLERANCE: Final = 1e-8
"""Largest component of a gradient that counts as zero, where nothing else is asked for."""

RULES: Final = {
    "tolerance": NONNEGATIVE,
    "x_tolerance": NONNEGATIVE,
    "f_relative_tolerance": NONNEGATIVE,
    "f_absolute_tolerance": NONNEGATIVE,
    "max_line_search_iterations": whole(1),
    "tol": optional(NONNEGATIVE),
}
"""Rules for the options that both methods have."""


class Point(NamedTuple):
    """Where an iteration begins.

    Attributes
    ----------
    x, f, g : tensor
        Parameters, loss and gradient.
    num_iterations : tensor, scalar, int32
        Iterations so far.
    num_steps : tensor, scalar, int32
        Iterations to make: 1, or 0 where there is nothing left to do.
    """

    x: Any
    f: Any
    g: Any
    num_iterations: Any
    num_steps: Any


class Iteration(NamedTuple):
    """What an iteration of TensorFlow Probability's minimizer has given.

    Attributes
    ----------
    results : namedtuple
        Its results.
    num_fg : tensor, scalar, int32
        Evaluations that it made.
    gain : tensor, scalar, float64
        Decrease of the loss that the estimate of the curvature had promised.
    curvature : dict of str to tensor
        The new estimate, as a part of the state.
    """

    results: Any
    num_fg: Any
    gain: Any
    curvature: State


class Search(Protocol):
    """A quasi-Newton method with its options, as both have them."""

    @property
    def tolerance(self) -> float:
        """Largest component of a gradient that counts as zero."""
        ...

    @property
    def x_tolerance(self) -> float:
        """Largest component of a step that counts as none."""
        ...

    @property
    def f_relative_tolerance(self) -> float:
        """Change of the loss that counts as none, as a share of its size."""
        ...

    @property
    def f_absolute_tolerance(self) -> float:
        """Change of the loss that counts as none."""
        ...

    @property
    def max_line_search_iterations(self) -> int:
        """Most iterations of one line search."""
        ...

    @property
    def tol(self) -> float | None:
        """What replaces the default of `tolerance`."""
        ...

    def iterate(self, evaluate: Callable[[Any], Any], at: Point, state: State, /) -> Iteration:
        """Iterate once by TensorFlow Probability; traced.

        Parameters
        ----------
        evaluate : callable
            Gives loss and gradient at a point.
        at : Point
            Where the iteration begins.
        state : dict of str to tensor
            The state, which holds the estimate of the curvature.

        Returns
        -------
        Iteration
            What it has given.
        """
        ...
