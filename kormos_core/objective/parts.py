"""Compiled parts of an objective, for loops that no compiler takes.

Symbols: ``x`` parameters (n,), ``v`` direction (n,), ``hv`` product (n,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from kormos_core.backends import current_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kormos_core.backends import Forward, Product
    from kormos_core.errors import KormosError
    from kormos_core.objective.graph import Traceable
    from kormos_core.objective.sweep import Inputs

__all__ = ["CompiledParts"]


@final
class CompiledParts:
    """What one batch contributes, each part compiled by itself (`Traceable`).

    Parameters
    ----------
    batch : Traceable
        The same, uncompiled.
    """

    def __init__(self, batch: Traceable) -> None:
        self._batch = batch
        self._compiled: dict[Hashable, Callable[..., Any]] = {}
        self.faults = batch.faults

    def loss(self, x: Any, inputs: Inputs) -> Any:
        """Return the part of the loss at `x` that a batch `inputs` gives."""
        return self._run("loss", self._batch.loss, x, inputs)

    def slope(self, x: Any, inputs: Inputs) -> tuple[Any, Any]:
        """Return that part, and the part of the gradient that `inputs` gives."""
        f, g = self._run("slope", self._batch.slope, x, inputs)
        return f, g

    def product(self, kind: str, x: Any, inputs: Inputs) -> Product:
        """Return the function of a `kind` from ``v`` to the part of ``H(x) v`` of `inputs`."""

        def product(x: Any, v: Any, inputs: Inputs) -> Any:
            return self._batch.product(kind, x, inputs)(v)

        return lambda v: self._run(("product", kind), product, x, v, inputs)

    def alone(self, x: Any, inputs: Inputs) -> Inputs:
        """Return `inputs` that count as if they were the whole data at `x`."""
        return self._batch.alone(x, inputs)

    def forward(self, inputs: Inputs) -> Forward:
        """Return what the loss of `inputs` is a sum of squares of, uncompiled."""
        return self._batch.forward(inputs)

    def unusable(self, error: Exception) -> KormosError:
        """Return what to raise from an `error`."""
        return self._batch.unusable(error)

    def _run(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
        if key not in self._compiled:
            self._compiled[key] = current_backend().compile(function, jit=True, eager=False)
        return self._compiled[key](*arguments)
