"""The loss of a closure as a function of one flat vector.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); all float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np

from kormos_core import Counts
from kormos_core.curvature import (
    AUTO,
    FINITE_DIFFERENCE,
    CheckedHVP,
    Kinds,
    dense_hessian,
)
from kormos_core.errors import UnsupportedError, nearest
from kormos_core.run import Recent
from kormos_torch.closure import multiply

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from kormos_core import Bounds
    from kormos_torch.closure import Closure, Slope
    from kormos_torch.layout import Layout

__all__ = ["REVERSE", "ClosureObjective", "kinds_of"]

REVERSE: Final = "reverse-over-reverse"
_KINDS: Final = (AUTO, REVERSE, FINITE_DIFFERENCE)


def kinds_of(hvp: str) -> Kinds:
    """Return the kinds of Hessian products to try.

    Parameters
    ----------
    hvp : {"auto", "reverse-over-reverse", "finite-difference"}
        The one asked for.

    Returns
    -------
    Kinds
        It, and finite differences.

    Raises
    ------
    UnsupportedError
        If it is another one.
    """
    if hvp not in _KINDS:
        message = (
            f"unknown kind of Hessian product of a torch module: hvp={hvp!r}."
            f"{nearest(str(hvp), _KINDS)} Allowed: {', '.join(_KINDS)}."
        )
        raise UnsupportedError(message)
    exact = () if hvp == FINITE_DIFFERENCE else (REVERSE,)
    return Kinds((*exact, FINITE_DIFFERENCE))


class _Recorded(NamedTuple):
    """A point whose gradient can be differentiated, as long as no parameter is written to."""

    x: NDArray[np.float64]
    slope: Slope


@final
class ClosureObjective:
    """The loss of a closure (`kormos_core.Objective`); it moves the parameters.

    Parameters
    ----------
    closure : Closure
        The loss at the parameters' present values.
    layout : Layout
        The parameters.
    bounds : Bounds or None
        Box on them.
    constraints : tuple
        General constraints in the solver library's form.
    kinds : Kinds
        Kinds of Hessian products to try.
    records : bool
        Whether gradients are recorded as they are made: for solvers that take products.
    """

    def __init__(
        self,
        closure: Closure,
        layout: Layout,
        *,
        bounds: Bounds | None,
        constraints: tuple[Any, ...],
        kinds: Kinds,
        records: bool,
    ) -> None:
        self.layout = layout
        self.bounds = bounds
        self.constraints = constraints
        self.counts = Counts()
        self.size = layout.size
        self.dtype = layout.dtype
        self.closure = closure
        self._records = records
        self._recent = Recent()
        self._recorded: _Recorded | None = None
        self._at: NDArray[np.float64] | None = None
        self._hvp = CheckedHVP(
            self._product,
            lambda x: self._slope(x, record=False)[1],
            kinds=kinds,
            dtype=layout.dtype,
            unusable={},
        )

    def value(self, x: NDArray[np.float64]) -> float:
        """Return the loss at ``x``, shape (n,)."""
        self.move(x)
        self.counts.value += 1
        return self.closure.value()

    def value_and_grad(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient, shape (n,), at ``x``, shape (n,)."""
        return self._slope(x, record=self._records and self._hvp.current == REVERSE)

    def hvp(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian at ``x`` times ``v``, both of shape (n,)."""
        self.counts.hvp += 1
        return self._hvp(x, v)

    def hessian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dense Hessian, shape (n, n), from n products."""
        return dense_hessian(self.hvp, x)

    def diagnose(self, x: NDArray[np.float64]) -> str:
        """Say which parameter's gradient at ``x``, shape (n,), is not finite.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            A point with a NaN or infinite loss or gradient.

        Returns
        -------
        str
            A phrase; empty where only the loss is known, whose inside is the closure's.
        """
        known = self._recent.recall(x)
        if known is None or known.g is None or not np.isfinite(known.f):
            return ""
        for index, place in enumerate(self.layout.slices()):
            if not np.isfinite(known.g[place]).all():
                shape = tuple(self.layout.parameters[index].shape)
                return f"the first is that of parameter {index}, of shape {shape}"
        return ""

    def move(self, x: NDArray[np.float64]) -> None:
        """Set the parameters to ``x``, shape (n,), as far as their dtypes go."""
        self._recorded = None  # before the memory of another point is asked for
        self.layout.write(x)
        self._at = np.array(x)

    def show(self, x: NDArray[np.float64]) -> None:
        """Set the parameters to ``x``, shape (n,), unless that is where they were set last."""
        if self._at is None or not np.array_equal(self._at, x):
            self.move(x)

    def leave(self, x: NDArray[np.float64]) -> None:
        """Set the parameters to ``x``, shape (n,), and their ``.grad`` to the gradient there.

        Parameters
        ----------
        x : ndarray, shape (n,), float64
            A point whose gradient is not known any more gets no ``.grad``.
        """
        known = self._recent.recall(x)
        self.move(x)
        if known is None or known.g is None:
            return
        gradients = self.layout.scatter(known.g)
        for parameter, gradient in zip(self.layout.parameters, gradients, strict=True):
            parameter.grad = gradient

    def knows(self, x: NDArray[np.float64]) -> bool:
        """Tell whether the gradient at ``x``, shape (n,), is still known."""
        known = self._recent.recall(x)
        return known is not None and known.g is not None

    def choose_hvp(self, x: NDArray[np.float64]) -> str:
        """Check Hessian products at ``x``, shape (n,), and return the kind to use."""
        return self._hvp.choose(x)

    def compile(self, function: Callable[..., Any], key: Hashable) -> Callable[..., Any]:
        """Let a function of a `GraphObjective` and tensors run on this one, eagerly.

        Parameters
        ----------
        function : callable
            Written in `keras.ops`; takes a `GraphObjective` and structures of tensors.
        key : hashable
            What it does; nothing is compiled, so that nothing is kept.

        Returns
        -------
        callable
            The function of the tensors alone.
        """
        del key
        from kormos_torch.graph import eager

        return eager(function, self, self._hvp.current)

    def _slope(self, x: NDArray[np.float64], *, record: bool) -> tuple[float, NDArray[np.float64]]:
        self.move(x)
        self.counts.value_and_grad += 1
        slope = self.closure.slope(record=record)
        g = self.layout.gather(slope.gradients)
        if record:
            self._recorded = _Recorded(np.array(x), slope)
        self._recent.keep(np.array(x), slope.f, g)
        return slope.f, g.copy()

    def _product(
        self, kind: str
    ) -> Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
        del kind  # there is one
        return self._differentiate

    def _differentiate(
        self, x: NDArray[np.float64], v: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self._recorded is not None and np.array_equal(self._recorded.x, x):
            try:
                return self._times(self._recorded.slope, v)
            except RuntimeError:  # a callback may have written to a parameter: record once more
                self._recorded = None
        self._slope(x, record=True)
        assert self._recorded is not None  # noqa: S101 - just made
        return self._times(self._recorded.slope, v)

    def _times(self, slope: Slope, v: NDArray[np.float64]) -> NDArray[np.float64]:
        gradients, directions = slope.to_multiply(), self.layout.scatter(v)
        return self.layout.gather(multiply(gradients, self.layout.parameters, directions))
