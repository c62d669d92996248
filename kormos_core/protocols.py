"""The seams of kormos: what a solver is given, and what it must give back.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); all float64 NumPy arrays on this side of the seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kormos_core.result import Result, Status

__all__ = [
    "HVP",
    "BatchOptimizer",
    "Bounds",
    "Callback",
    "Counts",
    "LeastSquaresObjective",
    "Objective",
    "StopSolve",
]


@final
@dataclass(frozen=True, slots=True)
class Bounds:
    """Box on the parameters.

    Attributes
    ----------
    lower, upper : ndarray, shape (n,), float64
        Lower and upper limits; ``-inf`` and ``inf`` where there is none.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@final
@dataclass(slots=True)
class Counts:
    """Honest counts of the sweeps over the data.

    Attributes
    ----------
    value : int
        Evaluations of the loss alone.
    value_and_grad : int
        Evaluations of the loss together with its gradient.
    hvp : int
        Hessian-vector products.
    """

    value: int = 0
    value_and_grad: int = 0
    hvp: int = 0

    @property
    def fg(self) -> int:
        """Evaluations of the loss, with or without the gradient."""
        return self.value + self.value_and_grad


@final
class StopSolve(Exception):  # noqa: N818 - a request, not an error
    """Ask a running solver to end now.

    The objective and the callback raise it; a solver lets it pass. The runner turns it
    into a `Result` that holds the best accepted point.

    Parameters
    ----------
    status : Status
        Why the solve is to end.
    message : str
        The reason in words; the sentence of `status` where it is left out.
    """

    def __init__(self, status: Status, message: str = "") -> None:
        self.status = status
        self.message = message or status.value
        super().__init__(self.message)


class HVP(Protocol):
    """Product of the Hessian at ``x`` with a direction.

    Laws: linear in ``v``; symmetric, ``u @ H(x) v == v @ H(x) u``; equal to the
    directional difference of the gradient.
    """

    def __call__(self, x: NDArray[np.float64], v: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return ``H(x) v``, shape (n,), float64."""
        ...


@runtime_checkable
class Objective(Protocol):
    """The whole training loss as a function of one flat float64 vector.

    Laws: deterministic, the same ``x`` gives the same bits; a value and a gradient at
    one ``x`` cost one evaluation; counts are honest; an evaluation may raise
    `StopSolve`, which a solver lets pass.
    """

    @property
    def size(self) -> int:
        """Number of parameters n."""
        ...

    @property
    def bounds(self) -> Bounds | None:
        """Box that every evaluated point should respect, or None."""
        ...

    @property
    def constraints(self) -> tuple[Any, ...]:
        """General constraints in the solver library's own form; usually empty."""
        ...

    @property
    def counts(self) -> Counts:
        """Evaluations so far."""
        ...

    def value(self, x: NDArray[np.float64], /) -> float:
        """Return the loss at ``x``, shape (n,)."""
        ...

    def value_and_grad(self, x: NDArray[np.float64], /) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        ...

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,)."""
        ...

    def hessian(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the dense Hessian, shape (n, n), from n products; small n only."""
        ...


@runtime_checkable
class LeastSquaresObjective(Objective, Protocol):
    """A loss that is half a sum of squares, ``f(x) = 0.5 * ||r(x)||**2``.

    Further symbols: ``r`` residuals (m,), ``J`` their Jacobian (m, n), ``u`` a vector of
    their length (m,).

    Laws: those of `Objective`; ``value(x) == 0.5 * residuals(x) @ residuals(x)`` and the
    gradient is ``vjp(x, residuals(x))``, to rounding; residuals are in one order at every
    ``x``. An evaluation of residuals counts as one of the loss, of the Jacobian as one of
    loss and gradient, and a product with ``J``, its transpose or ``J' J`` as a Hessian
    product.
    """

    @property
    def num_residuals(self) -> int:
        """Number of residuals m; zeros that have no weight included."""
        ...

    def residual_scale(self) -> NDArray[np.float64]:
        """Return what raw residuals are multiplied by, shape (m,): weights and means."""
        ...

    def residuals(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the residuals, shape (m,), at ``x``, shape (n,)."""
        ...

    def jacobian(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return the Jacobian, shape (m, n), at ``x``; small m times n only."""
        ...

    def jvp(self, x: NDArray[np.float64], v: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return ``J(x) v``, shape (m,)."""
        ...

    def vjp(self, x: NDArray[np.float64], u: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return ``J(x)' u``, shape (n,)."""
        ...

    def ggn_vp(self, x: NDArray[np.float64], v: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return ``J(x)' J(x) v``, shape (n,): the Gauss-Newton product."""
        ...


class Callback(Protocol):
    """What a solver calls once for each accepted iterate."""

    def __call__(self, x: NDArray[np.float64], /) -> None:
        """Take the accepted iterate, shape (n,).

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            The accepted iterate; it is copied.

        Raises
        ------
        StopSolve
            When the solve is to end; a solver lets it pass.
        """
        ...


class BatchOptimizer(Protocol):
    """A solver: an immutable dataclass whose fields are its options.

    Laws: `minimize` calls `callback` exactly once for each accepted iterate, in order,
    and not for ``x0``; it makes at most `maxiter` iterations; it evaluates only through
    `objective`, so that counts are honest; it lets `StopSolve` pass; it never changes
    the arrays it is given; the same call gives the same result.
    """

    def minimize(
        self,
        objective: Objective,
        x0: NDArray[np.float64],
        *,
        maxiter: int,
        callback: Callback,
    ) -> Result:
        """Minimize `objective` from `x0`.

        Parameters
        ----------
        objective : Objective
            What to minimize, its bounds and constraints.
        x0 : ndarray, shape (n,), float64
            Starting point, inside the bounds.
        maxiter : int
            Most iterations to make, at least 1.
        callback : Callback
            Called once for each accepted iterate.

        Returns
        -------
        Result
            ``x``, ``loss``, ``status``, ``message``, ``num_iterations`` and ``raw``;
            the caller measures the rest.
        """
        ...
