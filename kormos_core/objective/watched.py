"""The objective for a loop that does without what keeps Keras from rounding float64.

Symbols: ``x`` parameters (n,), ``v`` direction (n,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, final

from kormos_core.backends import current_backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_core.backends import Product
    from kormos_core.objective.graph import Graph
    from kormos_core.objective.rows import Rows, Squares

__all__ = ["on_watched"]

P = ParamSpec("P")
R = TypeVar("R")


def on_watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function have its objective evaluated in float64, and itself be left alone.

    Parameters
    ----------
    function : callable
        Takes a `GraphObjective` and further tensors.

    Returns
    -------
    callable
        The function of a `Graph` and these tensors.
    """
    return lambda graph, *arguments: function(_Watched(graph), *arguments)


def _exactly(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    with current_backend().computing_in("float64"):
        return function(*arguments, **keywords)


@final
class _Watched:
    """A graph whose evaluations round no float64 (`kormos_core.loop.GraphObjective`)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.size, self.epsilon = graph.size, graph.epsilon

    def value(self, x: Any) -> Any:
        """Return the loss, scalar, at ``x``."""
        return _exactly(self._graph.value, x)

    def value_and_grad(self, x: Any) -> tuple[Any, Any]:
        """Return the loss, scalar, and its gradient, shape (n,), at ``x``."""
        return _exactly(self._graph.value_and_grad, x)

    def hvp_at(self, x: Any, *, fraction: float = 1.0, part: Any = 0) -> Product:
        """Return the Hessian product at ``x``; see `GraphObjective` for `fraction`, `part`."""
        product = _exactly(self._graph.hvp_at, x, fraction=fraction, part=part)
        return lambda v: _exactly(product, v)

    def gauss_newton_at(self, x: Any) -> Product:
        """Return the Gauss-Newton product at ``x``."""
        product = _exactly(self._graph.gauss_newton_at, x)
        return lambda v: _exactly(product, v)

    def normal_equations(self, x: Any) -> Squares:
        """Return loss, gradient and ``J' J`` at ``x``."""
        return _exactly(self._graph.normal_equations, x)

    def triangle(self, x: Any) -> Squares:
        """Return loss, gradient and the triangular factor of ``J' J`` at ``x``."""
        return _exactly(self._graph.triangle, x)

    def residuals_and_jacobian(self, x: Any, num_residuals: int) -> Rows:
        """Return `num_residuals` residuals at ``x`` and their Jacobian."""
        return _exactly(self._graph.residuals_and_jacobian, x, num_residuals)
