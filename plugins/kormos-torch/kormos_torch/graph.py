"""A closure as the objective of solvers in the graph, written in `keras.ops` or in `ops`.

They run eagerly here, on Keras's torch backend: the parameters are set to the tensor in hand
before the closure is called. An evaluation that only makes products ready is not counted, as
in a compiled graph.

Symbols: ``x`` parameters (n,), ``f`` loss, ``g`` gradient (n,), ``v`` direction (n,),
``hv`` Hessian-vector product (n,); float64 tensors.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, final

import torch

from kormos_core.backends import current_backend
from kormos_core.curvature import FINITE_DIFFERENCE, STEPS
from kormos_core.errors import UnsupportedError
from kormos_torch.closure import multiply

if TYPE_CHECKING:
    from collections.abc import Callable

    from kormos_torch.objective import ClosureObjective

__all__ = ["ClosureGraph", "eager"]


def eager(
    function: Callable[..., Any], objective: ClosureObjective, kind: str
) -> Callable[..., Any]:
    """Put a function of a `GraphObjective` on a closure.

    Parameters
    ----------
    function : callable
        Takes a `GraphObjective` and structures of tensors.
    objective : ClosureObjective
        What the closure's objective is to be.
    kind : str
        Kind of Hessian products.

    Returns
    -------
    callable
        The function of the tensors alone.
    """
    graph = ClosureGraph(objective, kind)

    uses_keras = getattr(function, "uses_keras", True)

    def call(*arguments: Any) -> Any:
        exactly = current_backend().computing_in("float64") if uses_keras else nullcontext()
        with torch.no_grad(), exactly:
            return function(graph, *arguments)

    return call


@final
class ClosureGraph:
    """A closure as `kormos_core.loop.GraphObjective`.

    Parameters
    ----------
    objective : ClosureObjective
        The closure, its parameters and their layout.
    kind : str
        Kind of Hessian products.

    Attributes
    ----------
    size : int
        Number of parameters n.
    epsilon : float
        Relative rounding error of the parameters' dtype.
    """

    def __init__(self, objective: ClosureObjective, kind: str) -> None:
        self.size = objective.size
        double = objective.dtype == "float64"
        self.epsilon = float(torch.finfo(torch.float64 if double else torch.float32).eps)
        self._step = STEPS["float64" if double else "float32"]
        self._objective = objective
        self._layout = objective.layout
        self._closure = objective.closure
        self._kind = kind

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """Return the loss, scalar, at ``x``, shape (n,)."""
        self._objective.move(_host(x))
        return torch.as_tensor(self._closure.value(), dtype=x.dtype, device=x.device)

    def value_and_grad(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss, scalar, and its gradient, shape (n,), at ``x``, shape (n,)."""
        self._objective.move(_host(x))
        slope = self._closure.slope(record=False)
        f = torch.as_tensor(slope.f, dtype=x.dtype, device=x.device)
        return f, self._layout.join(slope.gradients, x)

    def hvp_at(
        self, x: torch.Tensor, *, fraction: float = 1.0, part: Any = 0
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function from ``v`` to ``hv`` at one point; see `GraphObjective`.

        Parameters
        ----------
        x : torch.Tensor, shape (n,)
            The point.
        fraction : float
            Share of the samples; a closure's are not known, so all.
        part : torch.Tensor, scalar
            Which share; without meaning here.

        Returns
        -------
        callable
            The product.

        Raises
        ------
        UnsupportedError
            If `fraction` is not 1.
        """
        del part
        if fraction != 1.0:
            message = (
                f"hvp_fraction={fraction!r} cannot be honored: a closure has its data to itself. "
                "Allowed is 1.0. Leave the option out."
            )
            raise UnsupportedError(message)
        if self._kind == FINITE_DIFFERENCE:
            return lambda v: self._difference(x, v)
        self._objective.move(_host(x))
        gradients = self._closure.slope(record=True).to_multiply()

        def product(v: torch.Tensor) -> torch.Tensor:
            parameters = self._layout.parameters
            found = multiply(gradients, parameters, self._layout.cut(v))
            return self._layout.join(found, v)

        return product

    def _difference(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        norm = torch.linalg.vector_norm(v)
        if not norm:
            return torch.zeros_like(v)
        h = self._step * torch.clamp(torch.linalg.vector_norm(x), min=1.0) / norm
        ahead, behind = (self.value_and_grad(x + side * h * v)[1] for side in (1.0, -1.0))
        found: torch.Tensor = (ahead - behind) / (2.0 * h)
        return found


def _host(x: torch.Tensor) -> Any:
    return x.detach().cpu().numpy()
