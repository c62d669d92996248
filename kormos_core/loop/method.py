"""What a solver that runs inside the compiled graph is made of.

Such a solver is a state and a function that advances it. The state is a dictionary of
tensors of fixed shapes and dtypes, the function is written in `keras.ops`, or in
`kormos_core.loop.ops`, which are the same where they are compiled, and kormos
puts the loop around it: it is compiled once, runs many iterations a call, leaves a trace
of every iteration, and returns to Python between calls.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); all float64 tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from kormos_core.result import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.objective import Rows, Squares
    from kormos_core.protocols import Bounds

__all__ = ["RUNNING", "GraphObjective", "LoopMethod", "Progress", "State", "code_of", "status_of"]

State: TypeAlias = dict[str, Any]
"""Tensors by name; their shapes and dtypes never change."""

RUNNING: Final = 0
"""Status code of a solve that goes on."""

_STATUSES = tuple(Status)


def code_of(status: Status) -> int:
    """Return the code of a status inside the graph.

    Parameters
    ----------
    status : Status
        Why a solve ends.

    Returns
    -------
    int
        A number above `RUNNING`.
    """
    return 1 + _STATUSES.index(status)


def status_of(code: int) -> Status:
    """Return the status that a `code` from the graph means.

    Parameters
    ----------
    code : int
        A number that `code_of` gave.

    Returns
    -------
    Status
        The status.
    """
    return _STATUSES[int(code) - 1]


class Progress(NamedTuple):
    """How far a state is; scalars are tensors, int32 where not said otherwise.

    Attributes
    ----------
    iteration : tensor, scalar
        Accepted iterations.
    x : tensor, shape (n,), float64
        The latest accepted point; ``x0`` at first.
    f : tensor, scalar, float64
        The loss there; NaN before the first evaluation.
    g : tensor, shape (n,), float64
        The gradient there.
    num_fg : tensor, scalar
        Evaluations of loss and gradient so far.
    num_hvp : tensor, scalar
        Hessian-vector products so far.
    status : tensor, scalar
        `RUNNING`, or the code of the reason to end.
    """

    iteration: Any
    x: Any
    f: Any
    g: Any
    num_fg: Any
    num_hvp: Any
    status: Any


class GraphObjective(Protocol):
    """The objective inside a trace: tensors in, tensors out.

    Attributes
    ----------
    size : int
        Number of parameters n.
    epsilon : float
        Relative rounding error of the dtype that the loss is computed in: 2.2e-16 or
        1.2e-7.
    """

    size: int
    epsilon: float

    def value(self, x: Any, /) -> Any:
        """Return the loss alone, scalar, at ``x``, shape (n,)."""
        ...

    def value_and_grad(self, x: Any, /) -> tuple[Any, Any]:
        """Return the loss, scalar, and its gradient, shape (n,), at ``x``, shape (n,)."""
        ...

    def hvp_at(self, x: Any, /, *, fraction: float = 1.0, part: Any = 0) -> Callable[[Any], Any]:
        """Return the function that multiplies directions with the Hessian at one point.

        Parameters
        ----------
        x : tensor, shape (n,)
            The point. What does not depend on the direction is computed here, once.
        fraction : float
            Share of the samples that the Hessian is estimated from.
        part : tensor, scalar, int32
            Which samples these are: part 0, 1, 2, ... of the data, taken in turn.

        Returns
        -------
        callable
            Gives ``hv``, shape (n,), for a direction of shape (n,).
        """
        ...

    def normal_equations(self, x: Any, /) -> Squares:
        """Return loss, gradient and ``J' J`` of a sum of squares at ``x``, shape (n,)."""
        ...

    def triangle(self, x: Any, /) -> Squares:
        """Return loss, gradient and a triangular ``R`` with ``R' R == J' J`` at ``x``, (n,)."""
        ...

    def gauss_newton_at(self, x: Any, /) -> Callable[[Any], Any]:
        """Return the function from ``v`` to ``J' J v`` at ``x``, all of shape (n,)."""
        ...

    def residuals_and_jacobian(self, x: Any, num_residuals: int, /) -> Rows:
        """Return all residuals at ``x``, `num_residuals` in number, and their Jacobian."""
        ...


class LoopMethod(Protocol):
    """An algorithm as a state and a function that advances it.

    Laws: it is hashable, and equal methods do the same, because what was compiled for
    one is used for the other; `advance` evaluates the objective in one place of its code
    (line search trials are calls of their own), so that it is traced once; it makes at
    most one iteration a call; a state that is not running is never advanced; an accepted
    point is never changed afterwards, other than by the next one.

    A method may have a further attribute, ``uses_keras``, a bool. False says that it is written
    in `kormos_core.loop.ops` alone and calls no other function of Keras; nothing then keeps
    Keras from rounding its float64 tensors on torch, which has a price for every call. Said
    of a method that calls others, it costs their results half of the digits there.
    """

    def init(self, x0: NDArray[np.float64], bounds: Bounds | None, /) -> dict[str, Any]:
        """Return the state before the first evaluation, in NumPy arrays and scalars.

        Parameters
        ----------
        x0 : ndarray, shape (n,), float64
            Starting point, inside the bounds.
        bounds : Bounds or None
            Box on the parameters; None for methods that do not support it.

        Returns
        -------
        dict of str to ndarray
            The state.
        """
        ...

    def advance(self, graph: GraphObjective, state: State, /) -> State:
        """Return the `state` after one more evaluation of `graph`; traced: no side effects."""
        ...

    def progress(self, state: State, /) -> Progress:
        """Tell how far a `state` is; traced."""
        ...
